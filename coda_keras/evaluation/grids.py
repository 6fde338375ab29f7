"""Images of n x n images, on which localisation is measured (supplement C.4)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from coda_keras.evaluation.confidence import most_confident
from coda_keras.evaluation.registry import GRID_RULES
from coda_keras.utils.arguments import one_of

# Of the cells of a grid: indices of images, and class ids.
Cells = tuple[list[int], list[int]]


class Images(Protocol):
    """Images `(N, H, W, C)` that may be read only when a part of them is asked for: an array is."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Grids:
    """Images of n×n images, composed when they are asked for.

    `len(grids)` is G; `grids[start:stop]` is a part of them, for a caller that works in pieces.

    Attributes:
        images: `(N, H, W, C)`, the single images, of which those of a grid are read for it.
        indices: `(G, n*n)`, which image stands in which cell, row by row.
        class_ids: `(G, n*n)`, the class of every cell; distinct within a grid.
        n: int, images a side.
    """

    images: Images
    indices: np.ndarray
    class_ids: np.ndarray
    n: int

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, part: slice) -> "Grids":
        if not isinstance(part, slice):
            raise TypeError(f"Take a slice of the grids, or `compose({part!r})`.")
        return Grids(self.images, self.indices[part], self.class_ids[part], self.n)

    def compose(self, grid: int) -> np.ndarray:
        """Returns grid number `grid` as one image `(n*H, n*W, C)`."""
        cells = np.asarray(self.images[self.indices[grid]])
        height, width, channels = cells.shape[1:]
        cells = cells.reshape(self.n, self.n, height, width, channels)
        return cells.transpose(0, 2, 1, 3, 4).reshape(self.n * height, self.n * width, channels)


def make_grids(
    images: Images,
    logits: np.ndarray,
    labels: np.ndarray,
    grids: int = 500,
    n: int = 3,
    seed: int = 42,
    activation: str = "sigmoid",
    fewer: bool = False,
    rule: str = "blocks",
) -> Grids:
    """Chooses the images of the grids as supplement C.4 does.

    For each grid n*n distinct classes are drawn from those that still have an eligible image, and
    each gives its most confident image not used yet. The choice depends on the logits only, so all
    attribution methods of a model see the same grids.

    The authors' published code (`interpretability/analyses/localisation.py` of CoDA-Nets) draws
    these blocks as long as more than n*n classes have an eligible image. Its grids are others: it
    goes through the images of all blocks in a row, skips classes that the grid has already, and
    leaves out one image after each grid. So its grids use up the confident images sooner. Compare
    with the authors' numbers on grids of `rule="published"` only.

    Args:
        images: `(N, H, W, C)` float array; only the images of one grid are read at a time.
        logits: `(N, classes)`, the model's outputs for `images`.
        labels: `(N,)` integers, the true classes.
        grids: int, number of grids G.
        n: int, images a side.
        seed: int, seed of the class draws.
        activation: `"sigmoid"` or `"softmax"`, see `log_odds`.
        fewer: bool, whether fewer grids, even none, will do where there are too few images.
        rule: `"blocks"`, a grid for each block; `"published"`, as the authors' code does; or
            `"all_correct"`, blocks of all images that are classified correctly, without the
            threshold of 50%. The last one is ours, for nets that are rarely that confident.

    Returns:
        `Grids`.

    Raises:
        ValueError: if the model leaves too few confident images; the message says how many grids
            can be made.
    """
    if len(images) != len(logits):
        raise ValueError(f"Received {len(images)} images, but logits for {len(logits)}.")
    one_of("rule", rule, GRID_RULES)
    minimum = 0.0 if rule == "all_correct" else 0.5
    queues = most_confident(logits, labels, minimum=minimum, activation=activation)
    blocks = _blocks(queues, n * n, n * n + 1 if rule == "published" else n * n, seed)
    chosen = list(islice(_published(blocks, n * n) if rule == "published" else blocks, grids))
    if len(chosen) < grids and not fewer:
        more = " and another class that has one" if rule == "published" else ""
        raise ValueError(_too_few(grids, n, len(chosen), queues, minimum, more))
    cells = np.reshape(np.asarray(chosen, "int64"), (-1, 2, n * n))
    return Grids(images, cells[:, 0], cells[:, 1], n)


def _blocks(queues: Sequence[np.ndarray], size: int, least: int, seed: int) -> Iterator[Cells]:
    """Yields cells of `size` distinct classes while `least` classes have an image left."""
    used = np.zeros(len(queues), int)
    available = np.array([len(queue) for queue in queues])
    random = np.random.RandomState(seed)
    while len(eligible := np.flatnonzero(used < available)) >= least:
        chosen = random.choice(eligible, size=size, replace=False)
        yield [int(queues[class_id][used[class_id]]) for class_id in chosen], chosen.tolist()
        used[chosen] += 1


def _published(blocks: Iterable[Cells], size: int) -> Iterator[Cells]:
    """Yields the cells that the published code takes from the images of the blocks in a row."""
    cells: dict[int, int] = {}
    images = (pair for block in blocks for pair in zip(*block))
    for index, class_id in images:
        cells.setdefault(class_id, index)
        if len(cells) == size:
            yield list(cells.values()), list(cells)
            cells = {}
            # The next grid begins one image further on.
            next(images, None)


def _too_few(
    asked: int, n: int, possible: int, queues: Sequence[np.ndarray], minimum: float, more: str
) -> str:
    counts = ", ".join(f"{class_id}: {len(queue)}" for class_id, queue in enumerate(queues))
    confidence = f" with more than {minimum:.0%}" if minimum else ""
    if len(counts) > 300:
        counts = counts[:300] + ", …"
    return (
        f"{asked} grids of {n}x{n} images were asked for, but only {possible} can be made: each "
        f"needs {n * n} distinct classes with an unused image that the model classifies correctly"
        f"{confidence}{more}. Such images by class: {counts}. Ask for at most {possible} grids, "
        "for smaller ones, or give more images."
    )
