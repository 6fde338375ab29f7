"""The figures and tables of `coda-keras mnist`: what DAUs align with, Fig. 2 and 3."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from coda_keras.figures import Column, contribution_rgb, map_table, save_figure, shared_scale
from coda_keras.utils.text import markdown_table

if TYPE_CHECKING:
    import coda_keras

# A single layer's logit is at most the norm of its input over T, and that of a digit is about 45.
TEMPERATURES = {"single layer": 10.0, "five layers": 50.0}
# Fig. 2 has the first test image of each of these, Fig. 3 the first training image.
SHOWN = (2, 4, 7)


def draw_figure2(
    images: np.ndarray, rows: Sequence[tuple[str, "coda_keras.Explanation"]], names: Sequence[str]
) -> Figure:
    """A row for every net and image: weights for brighter pixels, and contributions."""
    columns = []
    for which, role in enumerate(("label", "strongest other")):
        weights, maps, captions = [], [], []
        for _, explanation in rows:
            # What the images' grey meets: the weights of r, g, b less those of 1-r, 1-g, 1-b.
            applied = explanation.weights
            grey = applied[..., :3].sum(-1) - applied[..., 3:].sum(-1)
            weights += [contribution_rgb(pair[which], shared_scale(pair)) for pair in grey]
            maps += list(explanation.contribution_map[:, which])
            winners = zip(explanation.class_ids[:, which], explanation.logits)
            captions += [f"{names[i]}: {logits[i]:.1f}" for i, logits in winners]
        columns += [
            Column(f"weights,\n{role}", weights, pictures=True),
            Column(f"contributions,\n{role}", maps, captions),
        ]
    titles = [name for name, explanation in rows for _ in explanation.logits]
    explained = "the class; in weights, for bright pixels"
    return map_table([*images] * len(rows), columns, titles, scale="row", explained=explained)


def draw_figure3(
    digits: np.ndarray,
    noise: np.ndarray,
    eigen: tuple[np.ndarray, np.ndarray],
    singular: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """A row for every digit: a noisy sample, and the vectors nearest to it.

    Args:
        digits, noise: `(N, H, W)`.
        eigen, singular: vectors `(N, H W)` and their cosines `(N,)` with the digits.
    """
    columns = [Column("a noisy sample", rgb(np.clip(noise, 0, 1)), pictures=True)]
    for title, (vectors, cosine) in (
        ("eigenvector\nof AB", eigen),
        ("singular vector\nof samples", singular),
    ):
        columns.append(Column(title, vectors.reshape(digits.shape), captioned(cosine)))
    return map_table(
        rgb(digits), columns, scale="all", explained="entries", ends=("negative", "positive")
    )


def captioned(cosine: ArrayLike) -> list[str]:
    return [f"cosine {value:.3f}" for value in cosine]


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def table_figure2(nets: dict[str, Any]) -> list[str]:
    """The lines of a table in Markdown: a row for each net."""
    return markdown_table(
        ["", "T", "parameters", "test accuracy", "cosine of W(x) and x, label", "strongest other"],
        (
            (
                name,
                f"{TEMPERATURES[name]:g}",
                f"{row['parameters']:,}",
                f"{row['test_accuracy']:.1%}",
                f"{row['cosine_of_label']:.2f}",
                f"{row['cosine_of_strongest_other']:.2f}",
            )
            for name, row in nets.items()
        ),
    )


def table_figure3(results: dict[str, Any]) -> list[str]:
    """The lines of a table in Markdown: how near the digits the vectors come."""
    return markdown_table(
        ["", *map(str, SHOWN)],
        (
            [f"cosine of digit and {kind}vector", *map("{:.3f}".format, results[key])]
            for kind, key in (
                ("eigen", "cosine_of_eigenvectors"),
                ("singular ", "cosine_of_singular_vectors"),
            )
        ),
    )


def save(figure: Figure, path: Path) -> None:
    save_figure(figure, [path.with_suffix(f".{suffix}") for suffix in ("png", "pdf")])
