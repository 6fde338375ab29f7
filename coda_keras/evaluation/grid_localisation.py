"""The localisation metric (Section 4.2, eq. 11 and supplement C.4).

Several images of different classes are put together to one; a good attribution of a class puts
its positive values into that class's cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import uniform_filter

from coda_keras.evaluation.calls import signed_maps
from coda_keras.evaluation.chart import Chart, Curve, Summary, distribution, score_box
from coda_keras.evaluation.grids import Grids
from coda_keras.evaluation.metric import Attribute, Metric, Rows, Subject
from coda_keras.evaluation.registry import GRID_RULES
from coda_keras.utils.arguments import one_of, positive_int
from coda_keras.utils.progress import ProgressBar


@dataclass(frozen=True, eq=False)
class Localisation:
    """Localisation scores.

    Results of several parts join as `Localisation(np.concatenate([a.scores, b.scores]))`.

    Attributes:
        scores: `(G, n*n)` in [0, 1], for every grid and cell the fraction of the positive
            attribution of the cell's class that lies in the cell (eq. 11).
        averaged: dict from a window size K to the scores `(G, n*n)` of the maps averaged over
            windows of K×K pixels.
    """

    scores: np.ndarray
    averaged: dict[Any, np.ndarray] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def percentiles(self) -> list[float]:
        """The 25th, 50th and 75th percentile over all cells of all grids."""
        return distribution(self.scores)["percentiles_25_50_75"]

    @property
    def chance(self) -> float:
        """The score of a uniform attribution: one cell of n*n."""
        return 1 / self.scores.shape[1]

    def summary(self) -> Summary:
        """Returns the figures as a dict of plain numbers, named as in the published data."""
        n = round(self.scores.shape[1] ** 0.5)
        windows = {str(size): float(scores.mean()) for size, scores in self.averaged.items()}
        return {
            "images": len(self.scores),
            "grid": f"{n}x{n}",
            **distribution(self.scores),
            "chance": self.chance,
            **({"mean_by_window": {"1": self.mean, **windows}} if windows else {}),
        }


def localisation(
    model: Any,
    grids: Grids,
    attribute: Attribute,
    windows: Sequence[int] = (),
    grids_per_call: int = 1,
    progress: bool = True,
) -> Localisation:
    """Scores an attribution method on grids of images.

    Methods differ in resolution: occlusion sees windows, contributions single pixels. To compare
    them at one resolution, the maps can be scored once more after averaging over windows, which
    lets positive and negative values of neighbours cancel before they are clipped at 0.

    Args:
        model: passed on to `attribute`; it must accept images of the grids' size.
        grids: `Grids`, or a slice of them.
        attribute: `attribute(model, images, class_ids) -> maps`, from `(B, n*H, n*W, C)` and
            `(B, n*n)` to signed maps `(B, n*n, n*H, n*W)`, where B is `grids_per_call` or less.
        windows: odd integers K, the sizes of windows to score the averaged maps for as well.
        grids_per_call: int, grids in one call of `attribute`; bounds the memory.
        progress: bool, whether to show a progress bar.

    Returns:
        `Localisation`. A map without any positive value scores 0.

    Raises:
        ValueError: if the maps have another shape or are not finite, or a window is not odd.
    """
    scores, averaged = [], {size: [] for size in windows}
    with ProgressBar("localisation", "grid", len(grids), shown=progress) as bar:
        for start in range(0, len(grids), grids_per_call):
            part = grids[start : start + grids_per_call]
            images = np.stack([part.compose(grid) for grid in range(len(part))])
            maps = signed_maps(attribute, model, images, part.class_ids)
            scores.extend(positive_fraction(of_grid, grids.n) for of_grid in maps)
            for size, fractions in averaged.items():
                fractions.extend(
                    positive_fraction(window_mean(of_grid, size), grids.n) for of_grid in maps
                )
            bar.update(len(part))
    shape = (len(grids), grids.n**2)
    return Localisation(
        np.reshape(scores, shape),
        {size: np.reshape(fractions, shape) for size, fractions in averaged.items()},
    )


def positive_fraction(maps: np.ndarray, n: int) -> np.ndarray:
    """Returns for every cell the fraction of its map's positive values that lie in it (eq. 11).

    Args:
        maps: `(n*n, n*H, n*W)`, map k being that of the class in cell k, counted row by row.
        n: int, cells a side.

    Returns:
        `(n*n,)` in [0, 1]; 0 for a map without any positive value.
    """
    height, width = maps.shape[1] // n, maps.shape[2] // n
    cells = np.maximum(maps, 0).reshape(n * n, n, height, n, width).sum(axis=(2, 4))
    cells = cells.reshape(n * n, n * n)
    total = cells.sum(axis=1)
    return np.diagonal(cells) / np.where(total > 0, total, 1)


def window_mean(maps: np.ndarray, size: int) -> np.ndarray:
    """Averages maps over the window of size×size pixels around each; beyond the border is 0.

    Args:
        maps: `(..., H, W)`.
        size: odd int.

    Returns:
        An array of the same shape.

    Raises:
        ValueError: if `size` is not odd and positive.
    """
    checked_window(size)
    return uniform_filter(maps, (1,) * (maps.ndim - 2) + (size, size), mode="constant")


def checked_window(size: int) -> int:
    """Returns the size of a window; raises ValueError unless it is odd and positive."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"Expected an odd window size, so that it has a centre. Received {size}.")
    return size


def _by_window(summary: Summary) -> Curve | None:
    means = summary.get("mean_by_window")
    return means and Curve(tuple(int(size) for size in means), tuple(means.values()))


_chart = partial(
    Chart,
    "attribution in the right cell",
    y_label="localisation",
    reference=lambda summary: summary.get("chance"),
)


class GridLocalisation(Metric):
    """`localisation` as a metric of studies, an item a multi-image (Section 4.2, Fig. 6).

    Args:
        grid_size: int n, images a side of a multi-image.
        windows: odd integers, see `localisation`; those of more than half an image are left out:
            they would see more of a cell's neighbours than of itself.
        rule: how the images of the multi-images are chosen, see `make_grids`. Only with
            `"published"` do the authors' results stand beside.
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.

    Raises:
        ValueError: for an unknown rule.
    """

    name = "localisation"
    unit = "grid"
    items_per_slice = 5
    most_items = 500
    few_items = 25
    charts: ClassVar = {
        "localisation": _chart(score_box),
        "windows": _chart(
            _by_window, x_label="maps averaged over windows of KxK pixels, K", markers=True
        ),
    }
    figure = ("windows",)
    legend: ClassVar = {
        "localisation": "Localisation: mean over all cells of all grids; chance is one cell.",
        "9x9 means": "9x9 means: the same for maps averaged over windows of 9x9 pixels.",
        "published localisation": "Published: S-CoDA-SQ, T = 1000, after 200 epochs, released by "
        "the authors (least important first, 500 grids).",
    }

    def __init__(
        self,
        grid_size: int = 3,
        windows: Sequence[int] = (3, 5, 9, 15),
        rule: str = "blocks",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grid_size = positive_int("grid_size", grid_size)
        self.windows = [checked_window(size) for size in windows]
        self.rule = one_of("rule", rule, GRID_RULES)

    def prepare(self, subject: Subject, count: int) -> int:
        return len(self.grids(subject, count))

    def rows(self, subject: Subject, method: str, start: int, stop: int) -> Rows:
        part = self.grids(subject, stop)[start:]
        result = localisation(
            subject.grid_model,
            part,
            subject.method(method, images_a_call=self.grid_size**2),
            [size for size in self.windows if size <= subject.images.shape[1] // 2],
            grids_per_call=self.batch_size,
            progress=False,
        )
        averaged = {str(size): scores for size, scores in result.averaged.items()}
        return {"scores": result.scores, **averaged}

    def summary(self, rows: Rows) -> Summary:
        averaged = {name: scores for name, scores in rows.items() if name != "scores"}
        return {**Localisation(rows["scores"], averaged).summary(), "rule": self.rule}

    def score(self, summary: Summary) -> float:
        return summary["mean"]

    def in_short(self, summary: Summary) -> str:
        return f"{summary['mean']:.3f} ({summary['images']} grids, chance {summary['chance']:.3f})"

    def cells(self, summary: Summary) -> dict[str, str]:
        means = summary.get("mean_by_window", {})
        return {
            "localisation": f"{summary['mean']:.3f}",
            "25 / 50 / 75 %": " / ".join(f"{v:.2f}" for v in summary["percentiles_25_50_75"]),
            **({"9x9 means": f"{means['9']:.3f}"} if "9" in means else {}),
            "grids": f"{summary['images']} of {summary['grid']}",
        }

    def published_cells(self, summary: Summary) -> dict[str, str]:
        return {"published localisation": f"{summary['mean']:.3f}"}

    def published_summary(self, results: dict[str, Any], ours: Summary) -> Summary | None:
        published = results["localisation"]
        # A study stored before there were rules has none: its grids are blocks.
        alike = ours["grid"] == published["grid"] and ours.get("rule") == "published"
        return published if alike else None

    def grids(self, subject: Subject, count: int) -> Grids:
        """Returns the first multi-images that are scored."""
        return subject.grids(count, self.grid_size, self.seed, self.activation, self.rule)
