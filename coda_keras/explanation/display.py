"""How explanations show themselves: a line of text, pictures in notebooks, the explorer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from coda_keras import backend, explorer, figures
from coda_keras.explanation.channels import strongest_channels
from coda_keras.explanation.tensors import Tensors

MOST_IMAGES, MOST_CLASSES, MOST_IDS = 4, 5, 8
EXPLORED_CLASSES = 20
# Values of the maps of images that are explained at once.
MAPS_AT_ONCE = 2**20
EXPLORED_FIELDS = ("logits", "class_ids", "contribution_map", "bias")


def text(explanation: Tensors) -> str:
    """An `Explanation` or `LayerExplanation` in a line.

    Args:
        explanation: fields may be None, or tensors without values.
    """
    name, fields = type(explanation).__name__, explanation.arrays()
    if not _are_known(fields):
        shapes = {key: getattr(value, "shape", ()) for key, value in fields.items()}
        return f"{name}({', '.join(f'{key}: {tuple(shape)}' for key, shape in shapes.items())})"
    arrays = explanation.numpy()
    parts = [_of_what(arrays)]
    if "class_ids" in fields:
        ids, named = arrays.class_ids, arrays.class_names is not None
        shown = np.array2string(
            np.array(arrays.names, object).reshape(ids.shape) if named else ids,
            threshold=MOST_IDS,
            edgeitems=2,
            separator=", ",
            formatter={"object": str},
        )
        parts.append(f"{'classes' if named else 'class_ids'}={' '.join(shown.split())}")
    if getattr(arrays, "activation", None) is not None:
        shown = np.array2string(arrays.activation, threshold=MOST_IDS, edgeitems=2, precision=4)
        parts.append(f"activation={shown}")
    if {"logits", "class_ids", "bias", "residual"} <= fields.keys() and arrays.residual.size:
        parts.append(f"completeness error at most {arrays.completeness_error.max():.1e}")
    return f"{name}({'; '.join(part for part in parts if part)})"


def png(explanation: Tensors) -> bytes | None:
    """The first images of an explanation with their maps and weights, as PNG.

    Returns:
        None if the fields `contributions` and `weights` of six channels are not there.
    """
    if not _are_known(explanation.arrays()):
        return None
    arrays = explanation.numpy()
    if arrays.contributions is None or arrays.weights is None or arrays.weights.shape[-1] != 6:
        return None
    contributions, weights = arrays.contributions[:MOST_IMAGES], arrays.weights[:MOST_IMAGES]
    if contributions.ndim == 4:
        contributions, weights = contributions[:, None], weights[:, None]
    if not contributions.size:
        return None
    columns = []
    for which in range(min(contributions.shape[1], MOST_CLASSES)):
        maps = contributions[:, which].sum(axis=-1)
        columns.append(figures.Column("contributions", maps, _captions(arrays, which, len(maps))))
    columns.append(figures.Column("weights", figures.weights_rgb(weights[:, 0]), pictures=True))
    images = images_of(contributions[:, 0], weights[:, 0])
    of = "the class" if getattr(arrays, "class_ids", None) is not None else "the channel"
    return figures.figure_png(figures.map_table(images, columns, scale="all", explained=of))


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


def show(
    explanation: Any,
    images: ArrayLike,
    class_names: Sequence[str] | None = None,
    net: Any = None,
    title: str = "Explanations",
    height: int = explorer.HEIGHT,
    **more: Any,
) -> Any:
    """Returns the explorer of an explanation. See `Explanation.show`.

    With a net, the strongest channels inside it are shown too.
    """
    pictures = np.asarray(ops.convert_to_numpy(images))
    if net is not None:
        predicted = ops.convert_to_numpy(explanation.logits).argmax(axis=1)
        floats = explorer.as_floats(pictures)
        more = {"layers": _layers(net, floats, predicted), **more}
    view = explanation_view(explanation, pictures, class_names, **more)
    predict = None if net is None else explorer.without_pixels(net)
    return explorer.show(view, predict, title, height)


def explanation_view(
    explanation: Any,
    images: ArrayLike,
    class_names: Sequence[str] | None = None,
    **more: Any,
) -> explorer.View:
    """Makes a `View` for the explorer of an explanation.

    Args:
        explanation: an `Explanation` of one class or several an image.
        images: the images explained, `(B, H, W, 3)` or `(B, H, W, 6)`.
        class_names: names of the classes, by class id; None for those of the explanation, and
            without them for numbers.
        **more: `labels`, `names`, `layers`, `title`, `step` of `View`.

    Raises:
        ValueError: if logits, class ids, maps or bias were not computed, or arrays do not fit.
    """
    arrays = explanation.numpy()
    missing = [name for name in EXPLORED_FIELDS if getattr(arrays, name) is None]
    if missing:
        raise ValueError(
            f"The explanation lacks {', '.join(missing)}, which the explorer needs; add them to "
            "`fields` of `explain_dataset`."
        )
    named = ("class_ids", "contribution_map", "weights", "offset")
    values: list[Any] = [getattr(arrays, name) for name in named]
    if arrays.class_ids.ndim == 1:
        values = [None if array is None else array[:, None] for array in values]
    class_ids, maps, weights, offsets = values
    return explorer.View(
        images=np.asarray(images),
        logits=arrays.logits,
        class_ids=class_ids,
        maps=maps,
        class_names=arrays.class_names if class_names is None else class_names,
        bias=float(arrays.bias),
        weights=weights,
        # Nets of `DAUConv2D` have none to show.
        offsets=offsets if offsets is not None and np.any(offsets) else None,
        **more,
    )


def net_view(
    net: Any, images: np.ndarray, classes: int = EXPLORED_CLASSES, **more: Any
) -> explorer.View:
    """Explains images for the explorer, as many at a time as take little memory.

    Args:
        net: a `CoDANet`.
        images: `(B, H, W, 3)`, uint8 or floats in [0, 1].
        classes: int, classes of an image that get maps, the likeliest first.
        **more: `class_names`, `labels`, `names`, `title`, `step` of `View`.

    Returns:
        A `View` with weights, and with the layers, if the net is a chain of them, for the
        predicted class.
    """
    floats = explorer.as_floats(np.asarray(images))
    if not net.built:
        net.build(floats.shape)
    classes = min(classes, net.classes)
    at_once = max(1, MAPS_AT_ONCE // (classes * int(np.prod(floats.shape[1:3]))))
    explanations = []
    for start in range(0, len(floats), at_once):
        part = floats[start : start + at_once]
        logits = ops.convert_to_numpy(net(part))
        ranked = np.argsort(-logits, axis=1, kind="stable")[:, :classes]
        explanations.append(net.explain(part, ranked).numpy())
    by_image = ("logits", "class_ids", "contribution_map", "weights", "offset")
    joined = {
        name: np.concatenate([getattr(explanation, name) for explanation in explanations])
        for name in by_image
    }
    explanation = replace(explanations[0], contributions=None, residual=None, **joined)
    layers = _layers(net, floats, explanation.class_ids[:, 0])
    return explanation_view(explanation, images, layers=layers, **more)


def _layers(net: Any, images: np.ndarray, class_ids: np.ndarray) -> list[Any]:
    """The strongest channels of every layer, for nets that are chains of layers."""
    return [strongest_channels(net, images, class_ids)] if hasattr(net, "body") else []


def _are_known(fields: dict[str, Any]) -> bool:
    """Whether fields are arrays with values; while code is compiled they are not."""
    return all(
        isinstance(value, (np.ndarray, np.generic))
        or (ops.is_tensor(value) and backend.is_known(value))
        for value in fields.values()
    )


def _of_what(arrays):
    maps = arrays.contribution_map
    if maps is None:
        return ""
    images = f"{len(maps)} image{'s' * (len(maps) != 1)} of {maps.shape[-2]}x{maps.shape[-1]}"
    channels = 6 if arrays.weights is None else arrays.weights.shape[-1]
    if channels != 6 and hasattr(arrays, "logits"):
        images += f", by features of {channels} channels"
    return images if maps.ndim == 3 else f"{images}, {maps.shape[1]} classes each"


def _captions(arrays, which, count):
    if getattr(arrays, "class_ids", None) is None:
        if arrays.activation is None:
            return None
        return [f"activation {value:.3g}" for value in arrays.activation[:count]]
    ids = arrays.class_ids.reshape(len(arrays.class_ids), -1)[:count, which]
    names = np.array(arrays.names, object).reshape(len(arrays.class_ids), -1)[:count, which]
    if arrays.logits is None:
        return names.tolist()
    return [f"{name}: {row[i]:.2f}" for name, i, row in zip(names, ids, arrays.logits)]
