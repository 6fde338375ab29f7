"""Convolutions of zero-padded inputs and their transposes, in two ways of the same result.

`by_convolution` takes the backend's own. `by_product` cuts the inputs into patches and multiplies
these by the kernel as one matrix; the transpose is one product too, and shifted additions. Patches
need memory, so that this pays where a window has many more outputs than inputs.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from coda_keras.backend.types import Tensor

# Transposes spread their inputs by the strides, and average pooling pads by its windows.
MAX_STRIDES = 512


class Windows(NamedTuple):
    """What can be done with the windows of inputs.

    Attributes:
        convolve: `(k, k, C, n)` to `(B, h, w, n)`, the inputs' convolution with a kernel.
        fold: `(B, h, w, n)` and `(k, k, C, n)` to `(B, H, W, C)`, its transpose.
    """

    convolve: Callable[[Tensor], Tensor]
    fold: Callable[[Tensor, Tensor], Tensor]


def by_convolution(inputs: Tensor, kernel_size: int, strides: int) -> Windows:
    """Windows of `(B, H, W, C)` with convolutions of the backend."""
    height, width = ops.shape(inputs)[1:3]
    padded = zero_pad(inputs, kernel_size)

    def convolve(kernel):
        return ops.conv(padded, kernel, strides, "valid", "channels_last")

    def fold_by_convolution(values, kernel):
        return fold(values, kernel, strides, height, width)

    return Windows(convolve, fold_by_convolution)


def by_product(inputs: Tensor, kernel_size: int, strides: int) -> Windows:
    """Windows of `(B, H, W, C)` with matrix products."""
    height, width = ops.shape(inputs)[1:3]
    unfolded = unfold(inputs, kernel_size, strides)
    rows, columns, depth = ops.shape(unfolded)[1:]
    flat = ops.reshape(unfolded, (-1, depth))

    def convolve(kernel):
        products = ops.matmul(flat, ops.reshape(kernel, (depth, -1)))
        return ops.reshape(products, (-1, rows, columns, kernel.shape[-1]))

    def fold_by_product(values, kernel):
        matrix = ops.reshape(kernel, (depth, -1))
        products = ops.matmul(ops.reshape(values, (-1, matrix.shape[1])), ops.transpose(matrix))
        products = ops.reshape(products, (-1, rows, columns, depth))
        return fold_patches(products, kernel_size, strides, height, width)

    return Windows(convolve, fold_by_product)


def output_size(length: int | None, kernel_size: int, strides: int) -> int | None:
    """How many windows there are along an axis, with `(kernel_size - 1) // 2` zeros on each side.

    >>> output_size(7, kernel_size=3, strides=2), output_size(None, 3, 2)
    (4, None)
    """
    if length is None:
        return None
    return (length + 2 * ((kernel_size - 1) // 2) - kernel_size) // strides + 1


def zero_pad(inputs: Tensor, kernel_size: int, value: float = 0.0) -> Tensor:
    """Adds `(kernel_size - 1) // 2` zeros on each side of `(B, H, W, C)`, or another value."""
    pad = (kernel_size - 1) // 2
    widths = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    return ops.pad(inputs, widths, constant_values=value) if pad else inputs


def unfold(inputs: Tensor, kernel_size: int, strides: int, value: float = 0.0) -> Tensor:
    """Patches `(B, h, w, k*k*C)` of padded `(B, H, W, C)`, ordered row, column, channel."""
    if kernel_size == strides == 1:
        return inputs
    padded = zero_pad(inputs, kernel_size, value)
    rows, columns = (size - kernel_size + 1 for size in ops.shape(padded)[1:3])
    shifted = [
        padded[:, row : row + rows : strides, column : column + columns : strides]
        for row in range(kernel_size)
        for column in range(kernel_size)
    ]
    return ops.concatenate(shifted, axis=-1)


def fold_patches(
    patches: Tensor, kernel_size: int, strides: int, height: int | Tensor, width: int | Tensor
) -> Tensor:
    """Transposes `unfold`: adds up patches `(B, h, w, k*k*C)` where they came from.

    Returns:
        `(B, height, width, C)`.
    """
    if kernel_size == strides == 1:
        return patches
    shape = ops.shape(patches)
    channels = shape[-1] // kernel_size**2
    sums = ops.reshape(patches, (*shape[:3], kernel_size, kernel_size * channels))
    sums = _add_shifted([sums[..., i, :] for i in range(kernel_size)], 1, strides)
    sums = ops.reshape(sums, (*ops.shape(sums)[:3], kernel_size, channels))
    sums = _add_shifted([sums[..., i, :] for i in range(kernel_size)], 2, strides)
    return _without_padding(sums, kernel_size, height, width)


def fold_equal(
    values: Tensor, kernel_size: int, strides: int, height: int | Tensor, width: int | Tensor
) -> Tensor:
    """Does what `fold_patches` does, of patches that have one value `(B, h, w, C)` everywhere."""
    for axis in (1, 2):
        values = _add_shifted([values] * kernel_size, axis, strides)
    return _without_padding(values, kernel_size, height, width)


def _without_padding(sums, kernel_size, height, width):
    pad = (kernel_size - 1) // 2
    return sums[:, pad : pad + height, pad : pad + width]


def _add_shifted(parts, axis, strides):
    """Adds up tensors `(B, h, w, C)`, each moved one further along `axis`."""
    last = len(parts) - 1
    moved = [_shifted(part, axis, strides, i, last - i) for i, part in enumerate(parts)]
    return sum(moved[1:], moved[0])


def _shifted(values, axis, strides, before, after):
    if strides > 1:
        shape = ops.shape(values)
        spread = ops.pad(ops.expand_dims(values, axis + 1), _on_axis(axis + 1, 5, 0, strides - 1))
        merged = (*shape[:axis], shape[axis] * strides, *shape[axis + 1 :])
        values = ops.reshape(spread, merged)
    return ops.pad(values, _on_axis(axis, 4, before, after))


def _on_axis(axis, rank, before, after):
    return tuple((before, after) if one == axis else (0, 0) for one in range(rank))


def fold(
    values: Tensor, kernel: Tensor, strides: int, height: int | Tensor, width: int | Tensor
) -> Tensor:
    """Transposes a convolution whose input `(height, width)` was zero-padded on each side.

    Args:
        values: `(B, h, w, n)`, a cotangent of the convolution's output.
        kernel: `(k, k, C, n)`, the kernel of that convolution.
        strides: int.
        height, width: size of the convolution's input before padding.

    Returns:
        `(B, height, width, C)`.
    """
    pad = (kernel.shape[0] - 1) // 2
    if strides == 1:
        # As many zeros on each side: nothing is cut off afterwards.
        return ops.conv_transpose(values, kernel, 1, "same", None, "channels_last")
    spread = ops.conv_transpose(values, kernel, strides, "valid", None, "channels_last")
    # Rows that the strides skipped at the far end took part in no output.
    spread = ops.pad(spread, ((0, 0), (0, strides - 1), (0, strides - 1), (0, 0)))
    return spread[:, pad : pad + height, pad : pad + width, :]
