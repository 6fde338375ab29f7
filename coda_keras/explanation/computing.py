"""The tensors of an explanation, computed as they are or by code compiled once for a net."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.backend.value_checks import unchecked
from coda_keras.explanation.class_ids import ClassIds, standardize
from coda_keras.layers.offset import Pullback, pull
from coda_keras.utils.labels import checked_class_ids

FIELDS = (
    "logits",
    "class_ids",
    "weights",
    "contributions",
    "contribution_map",
    "bias",
    "residual",
    "offset",
)

# Of every net, as long as it lives.
_compiled: WeakKeyDictionary[Any, dict[Any, Callable[..., Any]]] = WeakKeyDictionary()


def computed(net: Any, encoded: Tensor, class_ids: ClassIds) -> dict[str, Tensor]:
    """The tensors of an `Explanation`, by name.

    Args:
        net: a built `CoDANet`.
        encoded: `(B, H, W, 6)`.
        class_ids: as `coda_keras.explain` takes them.
    """
    linear, pullback = net.linearize(encoded)
    bias = logit_bias(net)
    logits = linear + bias
    class_ids, valid = standardize(class_ids, logits)
    return explained(encoded, logits, bias, pullback, class_ids, valid)


def explained(
    encoded: Tensor,
    logits: Tensor,
    bias: float,
    pullback: Pullback,
    class_ids: Tensor,
    valid: Tensor | None,
) -> dict[str, Tensor]:
    """The tensors of an `Explanation`, by name, of logits that are there already.

    Args:
        encoded: `(B, H, W, 6)`.
        logits: `(B, classes)`.
        bias: b_0.
        pullback: maps `(B, classes)` to `(B, H, W, 6)`, as `net.linearize` returns it.
        class_ids: `(B,)` or `(B, n)`, int32.
        valid: booleans of their shape: what is explained, all else is NaN; None for everything.
    """
    classes = logits.shape[-1]
    # Ids out of range, which are NaN in the end, torch would refuse by an error of its own.
    within = class_ids if valid is None else ops.clip(class_ids, 0, classes - 1)
    one_hot = ops.one_hot(within, classes, dtype=logits.dtype)

    def rows(cotangent):
        weights, offset = pull(pullback, cotangent)
        offset = ops.cast(offset, logits.dtype) + ops.zeros_like(cotangent[..., 0])
        return ops.cast(weights, logits.dtype), offset

    if len(class_ids.shape) == 1:
        weights, offset = rows(one_hot)
        inputs, scores = ops.cast(encoded, logits.dtype), logits
    else:
        # One class after the other keeps the memory that of a single class.
        weights, offset = ops.map(rows, ops.swapaxes(one_hot, 0, 1))
        weights, offset = ops.swapaxes(weights, 0, 1), ops.swapaxes(offset, 0, 1)
        inputs, scores = ops.cast(encoded, logits.dtype)[:, None], logits[:, None]
    if valid is not None:
        weights = ops.where(valid[..., None, None, None], weights, float("nan"))
    contributions = weights * inputs
    explained_logits = ops.sum(scores * one_hot, axis=-1) - bias - offset
    return {
        "logits": logits,
        "class_ids": class_ids,
        "weights": weights,
        "contributions": contributions,
        "contribution_map": ops.sum(contributions, axis=-1),
        "bias": ops.convert_to_tensor(bias, logits.dtype),
        "residual": explained_logits - ops.sum(contributions, axis=(-3, -2, -1)),
        "offset": offset,
    }


def logit_bias(net: Any) -> float:
    """What a net adds to all logits: its b_0, and 0 where it has none."""
    return getattr(net, "logit_bias", 0.0)


def computed_by_compiled(
    net: Any,
    encoded: Tensor,
    class_ids: ClassIds,
    fields: Sequence[str] = FIELDS,
    as_numpy: bool = False,
) -> dict[str, Any]:
    """Does what `computed` does, by code that is compiled at the first call for a net.

    It is compiled anew where a shape, the form of the class ids, the fields or a setting of a layer
    is another; new values of weights are seen. The net is not kept alive by it.

    Args:
        net, encoded, class_ids: as for `computed`; `encoded` has values.
        fields: names of the tensors to compute.
        as_numpy: bool, whether to return NumPy arrays, for which no gradients are tracked.

    Raises:
        ValueError: if the class ids do not fit the images, or are known to be out of range.
    """
    named, ids = class_ids if isinstance(class_ids, str) else None, []
    if class_ids is not None and named is None:
        given, _ = checked_class_ids(class_ids, encoded.shape[0], net.classes)
        if len(given.shape) == 0:
            given = ops.broadcast_to(given, (encoded.shape[0],))
        elif isinstance(given, np.ndarray):
            given = ops.convert_to_tensor(given)
        ids = [given]

    def step(net, encoded, ids=None):
        tensors = computed(net, encoded, named if ids is None else ids)
        return {name: tensors[name] for name in fields}

    key = (named, tuple(fields), tuple(len(given.shape) for given in ids))
    return compiled_for(net, key, step, as_numpy)(encoded, *ids)


def computed_in_parts(
    compute: Callable[[Any, Tensor, ClassIds], dict[str, Tensor]],
    net: Any,
    encoded: Tensor,
    class_ids: ClassIds,
    size: int,
) -> dict[str, Tensor]:
    """The tensors of an `Explanation`, by name, of so many images at a time.

    Args:
        compute: `computed` or `computed_by_compiled`.
        net, encoded, class_ids: as for these; the number of images is known.
        size: int, how many images at a time.
    """
    count = encoded.shape[0]
    starts = range(0, count, size)
    if class_ids is not None and not isinstance(class_ids, str):
        checked, _ = checked_class_ids(class_ids, count, net.classes)
        several = len(checked.shape) > 0
        ids = [checked[first : first + size] if several else checked for first in starts]
    else:
        ids = [class_ids] * len(starts)
    parts = [compute(net, encoded[first : first + size], some) for first, some in zip(starts, ids)]
    return {
        name: value if name == "bias" else ops.concatenate([part[name] for part in parts])
        for name, value in parts[0].items()
    }


def compiled_for(
    net: Any, key: tuple[Any, ...], step: Callable[..., Any], as_numpy: bool = True
) -> Callable[..., Any]:
    """Compiles a step at the first call for a net; the same code is returned later.

    Args:
        net: a built `CoDANet`.
        key: what tells steps of a net from each other, but for shapes.
        step: `step(net, *tensors)`, which looks at no values and does not hold the net.
        as_numpy: bool, whether NumPy arrays are returned, for which no gradients are tracked.

    Returns:
        A function of the tensors.
    """
    steps = _compiled.setdefault(net, {})
    key = (as_numpy, *key, *constants(net))
    if key not in steps:
        # Functions of one code would share TensorFlow's count of how often that is traced.
        run = partial(_run, step, ref(net))
        steps[key] = (backend.compiled if as_numpy else backend.jit)(run, net)
    return steps[key]


def constants(net: Any) -> tuple[Any, ...]:
    """What code compiled for a net takes for constants, and the variables that it reads."""
    return (
        logit_bias(net),
        *(id(variable) for variable in net.variables),
        *(
            value
            for part in getattr(net, "chain", [net])
            for layer in part._flatten_layers()
            for name, value in vars(layer).items()
            if name[0] != "_" and isinstance(value, (bool, int, float, str, tuple))
        ),
    )


def _run(step, net, *tensors):
    with unchecked():
        return step(net(), *tensors)
