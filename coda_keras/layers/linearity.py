"""What `check_dynamic_linear` looks at in one dtype: functions that yield what fails."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.layers.checked_subject import Subject, array
from coda_keras.layers.offset import pull


def same_as_call(subject: Subject) -> Iterator[str]:
    """`linearize` computes what the layer does."""
    called = array(subject.layer(subject.tensor, **_inference(subject.layer)))
    if subject.is_net:
        called = called - getattr(subject.layer, "logit_bias", 0.0)
    size = np.abs(called).max() + np.abs(subject.outputs).max()
    error = np.abs(called - subject.outputs).max()
    if not error <= subject.tolerance * size:
        yield f"`linearize` returns other outputs than the call, by {error / size:.1e} of them"


def complete(subject: Subject) -> Iterator[str]:
    """`g . outputs = pullback(g) . x` for a random g, up to the declared offset."""
    cotangent = subject.random(1)
    pulled, offset = subject.pull(cotangent)
    if pulled.shape != subject.seen.shape:
        yield f"the pullback returns shape {pulled.shape} for inputs of {subject.seen.shape}"
        return
    error = _missing(cotangent * subject.outputs, pulled * subject.seen, offset)
    if not error <= subject.tolerance:
        yield (
            f"what the pullback attributes to the inputs is not the outputs, by {error:.1e} of the "
            "magnitudes. If the layer adds a constant, declare it by `with_offset`"
        )


def rows_complete(subject: Subject) -> Iterator[str]:
    """Every output is its row of the matrix times x, up to its offset."""
    errors = {
        place: _missing(subject.outputs[(slice(None), *place)], row * subject.seen, offset)
        for place, row, offset in subject.rows
    }
    place = max(errors, key=lambda one: errors[one])
    if not errors[place] <= subject.tolerance:
        yield f"the row of output {place} does not sum to it, by {errors[place]:.1e} of it"


def linear(subject: Subject) -> Iterator[str]:
    """The pullback is linear in g."""
    one, other = subject.random(1), subject.random(2)
    parts = [subject.pull(cotangent) for cotangent in (one, other, 2 * one - 3 * other)]
    for what, (first, second, both) in zip(("pullback", "offset"), zip(*parts)):
        size = 2 * np.abs(first).max() + 3 * np.abs(second).max()
        error = np.abs(both - (2 * first - 3 * second)).max()
        if not error <= subject.tolerance * size:
            yield f"the {what} is not linear in g, by {error / size:.1e} of its magnitude"


def alone(subject: Subject) -> Iterator[str]:
    """An image's outputs and rows do not depend on the other images of a batch."""
    cotangent = subject.random(1)
    outputs, pullback = subject.layer.linearize(subject.tensor[:1])
    pairs = {
        "outputs": (array(outputs)[0], subject.outputs[0]),
        "rows": (subject.pull(cotangent[:1], pullback)[0][0], subject.pull(cotangent)[0][0]),
    }
    for what, (single, together) in pairs.items():
        size = np.abs(single).max() + np.abs(together).max()
        error = np.abs(single - together).max()
        if not error <= subject.tolerance * size:
            yield f"{what} of an image depend on the others of its batch, by {error / size:.1e}"


def own_matrix(subject: Subject) -> Iterator[str]:
    """Rows are those of the matrix that the layer hands out."""
    layer = subject.layer
    if callable(getattr(layer, "dynamic_matrix", None)):
        matrix = array(layer.dynamic_matrix(subject.tensor))
        shape = (len(matrix), *subject.outputs.shape[1:], *subject.seen.shape[1:])
        expected = matrix.reshape(shape)
    elif callable(getattr(layer, "dynamic_weights", None)):
        expected = _placed(subject)
    else:
        return
    for place, row, _ in subject.rows:
        wanted = expected[(slice(None), *place)]
        error = np.abs(row - wanted).max() / max(np.abs(wanted).max(), 1e-30)
        if not error <= subject.tolerance:
            yield f"the row of output {place} is not that of the layer's matrix, by {error:.1e}"
            return


def finite_at_zeros(subject: Subject) -> Iterator[str]:
    """Outputs, rows and gradients are finite at zeros."""
    zeros = ops.zeros_like(ops.convert_to_tensor(subject.seen.astype("float32")))
    zeros = ops.cast(zeros, subject.tensor.dtype)
    outputs, pullback = subject.layer.linearize(zeros)
    values = {
        "outputs": array(outputs),
        "rows": subject.pull(subject.random(1), pullback)[0],
        "gradients": array(
            backend.gradient(lambda x: _squares(subject.layer.linearize(x)[0]), zeros)
        ),
    }
    for what, found in values.items():
        if not np.all(np.isfinite(found)):
            yield f"{what} are not finite where inputs are zero"


def compiled_alike(subject: Subject) -> Iterator[str]:
    """Compiled code computes the same."""
    layer, cotangent = subject.layer, subject.random(1)
    given = ops.cast(
        ops.convert_to_tensor(cotangent.astype("float32")), subject.linearized[0].dtype
    )

    def step(inputs, cotangent):
        outputs, pullback = layer.linearize(inputs)
        return {"outputs": outputs, "rows": pull(pullback, cotangent)[0]}

    found = backend.jit(step, layer)(subject.tensor, given)
    wanted = {"outputs": subject.outputs, "rows": subject.pull(cotangent)[0]}
    for what, values in wanted.items():
        size = 2 * np.abs(values).max()
        error = np.abs(array(found[what]) - values).max()
        if not error <= subject.tolerance * size:
            yield f"compiled code computes other {what}, by {error / size:.1e} of them"


def announced(subject: Subject) -> Iterator[str]:
    """Outputs have the announced shape and dtype."""
    layer, shape = subject.layer, subject.outputs.shape
    dtype = keras.backend.standardize_dtype(subject.linearized[0].dtype)
    if not subject.is_net and dtype != layer.compute_dtype:
        yield f"outputs have dtype {dtype} instead of {layer.compute_dtype}"
    unknown = (*(None for _ in subject.inputs.shape[:-1]), subject.inputs.shape[-1])
    for given in (subject.inputs.shape, unknown):
        told = tuple(layer(keras.Input(batch_shape=given)).shape)
        if len(told) != len(shape) or any(n not in (None, m) for n, m in zip(told, shape)):
            yield f"inputs of shape {given} have outputs {shape}, announced are {told}"


CHECKS = (
    same_as_call,
    complete,
    rows_complete,
    linear,
    alone,
    own_matrix,
    finite_at_zeros,
    compiled_alike,
    announced,
)


def _inference(layer):
    return {"training": False} if getattr(layer, "_call_has_training_arg", False) else {}


def _missing(outputs, contributions, offset):
    """The largest part of an image's outputs that is not explained, of their magnitudes."""
    count = len(outputs)
    outputs, parts = outputs.reshape(count, -1), contributions.reshape(count, -1)
    sizes = np.abs(outputs).sum(1) + np.abs(parts).sum(1) + np.abs(offset)
    missing = np.abs(outputs.sum(1) - parts.sum(1) - offset)
    return float((missing / np.maximum(sizes, 1e-30)).max())


def _squares(outputs):
    # A gradient of a plain sum misses slopes that cancel.
    return ops.sum(outputs * (1 + outputs))


def _placed(subject):
    """`dynamic_weights` at the places of their windows, `(B, h, w, filters, H, W, C)`."""
    weights = array(subject.layer.dynamic_weights(subject.tensor))
    field, (height, width) = subject.layer.receptive_field, subject.seen.shape[1:3]
    rows, columns, size = *weights.shape[1:3], field.size
    pad = -field.offset
    reach = [
        max(n, (m - 1) * field.stride + size - pad) for n, m in ((height, rows), (width, columns))
    ]
    whole = np.zeros((*weights.shape[:4], *(n + pad for n in reach), weights.shape[-1]))
    for row, column in np.ndindex(rows, columns):
        top, left = row * field.stride, column * field.stride
        window = whole[:, row, column, :, top : top + size, left : left + size]
        window[:] = weights[:, row, column]
    return whole[..., pad : pad + height, pad : pad + width, :]
