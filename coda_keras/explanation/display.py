"""How explanations show themselves: in a line of text, and as pictures in notebooks."""

from typing import Any

import numpy as np

from coda_keras import backend

MOST_IMAGES, MOST_CLASSES, MOST_IDS = 4, 5, 8


def text(explanation: Any) -> str:
    """An `Explanation` or `LayerExplanation` in a line.

    Args:
        explanation: fields may be None, or tensors without values.
    """
    name = type(explanation).__name__
    fields = {key: value for key, value in vars(explanation).items() if value is not None}
    if not all(backend.is_known(value) for value in fields.values()):
        return f"{name}({', '.join(f'{key}: {tuple(fields[key].shape)}' for key in fields)})"
    found = explanation.numpy()
    parts = [_of_what(found)]
    if getattr(found, "class_ids", None) is not None:
        ids = np.array2string(found.class_ids, threshold=MOST_IDS, edgeitems=2, separator=", ")
        parts.append(f"class_ids={' '.join(ids.split())}")
    if getattr(found, "activation", None) is not None:
        shown = np.array2string(found.activation, threshold=MOST_IDS, edgeitems=2, precision=4)
        parts.append(f"activation={shown}")
    if {"logits", "class_ids", "bias", "residual"} <= fields.keys() and found.residual.size:
        parts.append(f"completeness error at most {found.completeness_error.max():.1e}")
    return f"{name}({'; '.join(part for part in parts if part)})"


def png(explanation: Any) -> bytes | None:
    """The first images of an explanation with their maps and weights, as PNG.

    Returns:
        None if the fields `contributions` and `weights` of six channels are not there.
    """
    fields = [value for value in vars(explanation).values() if value is not None]
    if not all(backend.is_known(value) for value in fields):
        return None
    found = explanation.numpy()
    if found.contributions is None or found.weights is None or found.weights.shape[-1] != 6:
        return None
    # Only where a picture is asked for: matplotlib takes its time.
    from coda_keras import figures

    contributions, weights = found.contributions[:MOST_IMAGES], found.weights[:MOST_IMAGES]
    if contributions.ndim == 4:
        contributions, weights = contributions[:, None], weights[:, None]
    if not contributions.size:
        return None
    columns = []
    for which in range(min(contributions.shape[1], MOST_CLASSES)):
        maps = contributions[:, which].sum(axis=-1)
        columns.append(figures.Column("contributions", maps, _captions(found, which, len(maps))))
    columns.append(figures.Column("weights", figures.weights_rgb(weights[:, 0]), pictures=True))
    images = images_of(contributions[:, 0], weights[:, 0])
    figure = figures.map_table(images, columns, scale="all")
    return figure._repr_png_()


def images_of(contributions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The images that contributions and weights are of: their quotient.

    Args:
        contributions, weights: `(..., 6)`, of r, g, b, 1-r, 1-g, 1-b.

    Returns:
        `(..., 3)` in [0, 1]; 0.5 where both weights of a colour vanish.
    """
    own, complement = weights[..., :3].astype("float64"), weights[..., 3:].astype("float64")
    # By the larger weight of both, whose quotient is the more exact.
    by_own = np.abs(own) >= np.abs(complement)
    larger = np.where(by_own, own, complement)
    values = np.where(by_own, contributions[..., :3], contributions[..., 3:])
    values = np.divide(values, larger, out=np.full_like(larger, 0.5), where=larger != 0)
    return np.clip(np.where(by_own, values, 1 - values), 0, 1)


def _of_what(found):
    maps = found.contribution_map
    if maps is None:
        return ""
    images = f"{len(maps)} image{'s' * (len(maps) != 1)} of {maps.shape[-2]}x{maps.shape[-1]}"
    return images if maps.ndim == 3 else f"{images}, {maps.shape[1]} classes each"


def _captions(found, which, count):
    if getattr(found, "class_ids", None) is None:
        if found.activation is None:
            return None
        return [f"activation {value:.3g}" for value in found.activation[:count]]
    ids = found.class_ids.reshape(len(found.class_ids), -1)[:count, which]
    if found.logits is None:
        return [f"class {each}" for each in ids]
    return [f"class {each}: {row[each]:.2f}" for each, row in zip(ids, found.logits)]
