"""Explanations: rows of W_{0->L}(x) and the contributions of every pixel (eq. 7 and 8).

Only the protocol is used here, no layer in particular.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from keras import ops

from coda_keras.class_ids import ClassIds, standardize
from coda_keras.dynamic_linear import linearize
from coda_keras.encoding import encode

# A tensor of the running backend, or what converts to one.
Tensor = Any

# Logits closer to the bias than this are taken for that far, in `completeness_error`.
COMPLETENESS_FLOOR = 0.01


def completeness_error(residual: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Returns `|residual| / max(|linear|, 0.01)`, how incomplete explanations are.

    Args:
        residual: NumPy array, logits less bias less the sum of the contributions.
        linear: array of the same shape, logits less bias, in logits.
    """
    return np.abs(residual) / np.maximum(np.abs(linear), COMPLETENESS_FLOOR)


Fields = TypeVar("Fields", bound="_Tensors")


def is_inherent(model: Any) -> bool:
    """Whether a model explains itself, and so sees images in the six-channel encoding."""
    return callable(getattr(model, "explain", None))


class _Tensors:
    def numpy(self: Fields) -> Fields:
        """Returns the same with NumPy arrays instead of backend tensors; None stays None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {
            name: None if value is None else ops.convert_to_numpy(value)
            for name, value in values.items()
        }
        return type(self)(**arrays)


@dataclass(frozen=True)
class Explanation(_Tensors):
    """Logits and what every pixel contributed to them.

    Shapes are for `class_ids` of shape `(B,)`; with several classes an image all but `logits`
    and `bias` have an axis `n` after the batch.

    Attributes:
        logits: `(B, classes)`.
        class_ids: `(B,)`, the classes explained, int32.
        weights: `(B, H, W, 6)`, rows of `W_{0->L}(x)` (eq. 7).
        contributions: `(B, H, W, 6)`, weights times the encoded image (eq. 8), in logits.
        contribution_map: `(B, H, W)`, contributions summed over the channels.
        bias: scalar b_0.
        residual: `(B,)`, logit minus bias minus the sum of contributions: rounding only.
    """

    logits: Tensor
    class_ids: Tensor
    weights: Tensor
    contributions: Tensor
    contribution_map: Tensor
    bias: Tensor
    residual: Tensor

    @property
    def completeness_error(self) -> np.ndarray:
        """`|residual| / max(|logit - b_0|, 0.01)`, a NumPy array of the shape of `residual`.

        Needs `logits`, `class_ids`, `bias` and `residual`.
        """
        logits, class_ids = (ops.convert_to_numpy(each) for each in (self.logits, self.class_ids))
        ids = class_ids.reshape(len(logits), -1)
        explained = np.take_along_axis(logits, ids, axis=1).reshape(class_ids.shape)
        bias = ops.convert_to_numpy(self.bias)
        return completeness_error(ops.convert_to_numpy(self.residual), explained - bias)


@dataclass(frozen=True)
class LayerExplanation(_Tensors):
    """An intermediate activation and what the inputs of an earlier layer contributed to it.

    Attributes:
        activation: `(B,)`, the activation explained.
        weights: `(B, H, W, C)`, rows of `W_{l1->l2}(x)`; C is 6 when explained from the image.
        contributions: `(B, H, W, C)`, weights times the inputs of layer l1.
        contribution_map: `(B, H, W)`, contributions summed over the channels.
    """

    activation: Tensor
    weights: Tensor
    contributions: Tensor
    contribution_map: Tensor


def explain(net: Any, images: Tensor, class_ids: ClassIds = None) -> Explanation:
    """Explains logits of a `CoDANet`.

    Args:
        net: a `CoDANet`.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.
        class_ids: `(B,)` or `(B, n)` integers, one integer for all images, `"all"`, or None for
            the predicted class. Tensors may be unknown until compiled code runs.

    Returns:
        An `Explanation`; for every image and class
        `logits[class] = bias + sum(contributions) + residual`. Where compiled code meets a class
        id out of range, the weights, contributions and residual of that id are NaN; graphs of
        TensorFlow raise `InvalidArgumentError` unless compiled by XLA.

    Raises:
        ValueError: if the class ids do not fit the images or are out of range.
    """
    encoded = encode(ops.convert_to_tensor(images))
    linear, pullback = net.linearize(encoded)
    logits = linear + net.logit_bias
    class_ids, valid = standardize(class_ids, logits)
    one_hot = ops.one_hot(class_ids, logits.shape[-1], dtype=logits.dtype)
    if len(class_ids.shape) == 1:
        weights = ops.cast(pullback(one_hot), logits.dtype)
        inputs = ops.cast(encoded, logits.dtype)
    else:
        # One class after the other keeps the memory that of a single class.
        rows = ops.map(pullback, ops.swapaxes(one_hot, 0, 1))
        weights = ops.cast(ops.swapaxes(rows, 0, 1), logits.dtype)
        inputs = ops.cast(encoded, logits.dtype)[:, None]
    if valid is not None:
        weights = ops.where(valid[..., None, None, None], weights, float("nan"))
    contributions = weights * inputs
    explained = ops.einsum("bc,b...c->b...", logits, one_hot)
    return Explanation(
        logits=logits,
        class_ids=class_ids,
        weights=weights,
        contributions=contributions,
        contribution_map=ops.sum(contributions, axis=-1),
        bias=ops.convert_to_tensor(net.logit_bias, logits.dtype),
        residual=explained - net.logit_bias - ops.sum(contributions, axis=(-3, -2, -1)),
    )


def explain_layer(
    net: Any,
    images: Tensor,
    layer: int | str,
    channel: int | Sequence[int],
    position: tuple[int, int] | None = None,
    from_layer: int = 0,
) -> LayerExplanation:
    """Explains an activation of a layer, or a logit, by the inputs of an earlier layer.

    Args:
        net: a `CoDANet` of L layers.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.
        layer: int l2, counted from 1: the layer whose output is explained; or `"logits"`, whose
            channels are the classes.
        channel: int, the channel of that output, or `(B,)` integers, one for each image.
        position: `(row, column)` of that output; None for the sum over all positions. Logits have
            no positions.
        from_layer: int l1 < l2, up to L for logits; contributions are those of the output of layer
            l1, 0 meaning the encoded image.

    Returns:
        A `LayerExplanation`. Of logits, `activation` is the logit less b_0, to which the
        contributions of any layer sum.

    Raises:
        ValueError: if a layer, channel or position does not exist.
    """
    depth = len(net.body)
    last = depth + 1 if layer == "logits" else layer
    integers = hasattr(last, "__index__") and hasattr(from_layer, "__index__")
    if not integers or not 0 <= from_layer < last <= depth + (layer == "logits"):
        raise ValueError(
            f"Expected 0 <= from_layer < layer <= {depth}, the number of layers, or "
            f"layer='logits'. Received: layer={layer!r}, from_layer={from_layer}."
        )
    start, _ = linearize(net.body[:from_layer], encode(ops.convert_to_tensor(images)))
    rest = net.chain[from_layer:] if layer == "logits" else net.body[from_layer:layer]
    outputs, pullback = linearize(rest, start)
    chosen = _one_channel(layer, channel, outputs)
    if position is not None:
        chosen = chosen * _one_position(layer, position, outputs)
    weights = pullback(ops.broadcast_to(chosen, ops.shape(outputs)))
    contributions = weights * ops.cast(start, weights.dtype)
    return LayerExplanation(
        activation=ops.sum(outputs * chosen, axis=tuple(range(1, len(outputs.shape)))),
        weights=weights,
        contributions=contributions,
        contribution_map=ops.sum(contributions, axis=-1),
    )


def _one_channel(layer, channel, outputs):
    """1 on the chosen channel of every image, `(B or 1, 1, 1, C)` or `(B or 1, C)`, else 0."""
    channels = outputs.shape[-1]
    given = np.asarray(ops.convert_to_numpy(channel))
    if given.dtype.kind not in "iu" or given.ndim > 1:
        raise ValueError(
            f"`channel` must be an integer, or one for each image. Received: channel={channel!r}."
        )
    if given.ndim and outputs.shape[0] not in (None, len(given)):
        raise ValueError(
            f"Expected a channel for each of {outputs.shape[0]} images. Received {len(given)}."
        )
    if given.size and not (given.min() >= 0 and given.max() < channels):
        raise ValueError(
            f"Layer {layer} has channels 0 to {channels - 1}. Received: channel={channel!r}."
        )
    chosen = np.eye(channels, dtype="float32")[given.reshape(-1)]
    shape = (len(chosen), *(1,) * (len(outputs.shape) - 2), channels)
    return ops.convert_to_tensor(chosen.reshape(shape), outputs.dtype)


def _one_position(layer, position, outputs):
    """1 on the chosen position, `(1, h, w, 1)`, else 0."""
    if len(outputs.shape) != 4:
        raise ValueError(f"Logits have no positions. Received: position={tuple(position)}.")
    height, width = outputs.shape[1:3]
    row, column = position
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"Layer {layer} has {height}x{width} positions for these images. "
            f"Received: position={tuple(position)}."
        )
    chosen = np.zeros((1, height, width, 1), "float32")
    chosen[0, row, column] = 1
    return ops.convert_to_tensor(chosen, outputs.dtype)
