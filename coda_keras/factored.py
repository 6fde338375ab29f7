"""The DAU in factored form: exact, and w(x) is never materialised.

With `z' = [B p, 1]` and `A'_j = [A_j, b_j]` the dynamic vector of unit j is `u_j = A'_j z'`,
hence

    u_j . p    = z' . (A'_j^T p)            one ordinary convolution with f (r + 1) channels
    ||u_j||^2  = z'^T (A'_j^T A'_j) z'      a Gram matrix that depends on the weights only

so a position costs `f (r + 1)` floats instead of `f d`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

Tensor = Any


class Response(NamedTuple):
    """What a DAU layer knows of `u` at every position, before rescaling.

    Attributes:
        dot: `(B, h, w, f)`, the products `u . p`.
        squared_norm: `(B, h, w, f)`, `||u||^2`.
        transpose: maps `(B, h, w, f)` weights g to `sum_j g_j u_j`, folded to `(B, H, W, C)`.
    """

    dot: Tensor
    squared_norm: Tensor
    transpose: Callable[[Tensor], Tensor]


def respond(
    inputs: Tensor,
    projection: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: int,
    norm_dtype: str,
) -> Response:
    """Computes `u . p`, `||u||^2` and the transpose of `p -> u . p` for every position.

    Args:
        inputs: `(B, H, W, C)`.
        projection: `(k, k, C, r)`, the matrix B.
        kernel: `(k, k, C, f, r)`, the matrices A.
        bias: `(k, k, C, f)` or None, the vectors b.
        strides: int.
        norm_dtype: dtype in which the squared norm is computed; cancellation shows there first.

    Returns:
        A `Response`.
    """
    dtype = inputs.dtype
    kernel_size, _, channels, filters, _ = kernel.shape
    height, width = ops.shape(inputs)[1:3]
    padded = zero_pad(inputs, kernel_size)
    code = ops.conv(padded, ops.cast(projection, dtype), strides, "valid", "channels_last")
    factors = kernel
    if bias is not None:
        code = ops.concatenate([code, ops.ones_like(code[..., :1])], axis=-1)
        factors = ops.concatenate([kernel, bias[..., None]], axis=-1)
    rank = factors.shape[-1]
    flat = ops.reshape(factors, (kernel_size, kernel_size, channels, filters * rank))
    flat = ops.cast(flat, dtype)

    out_height, out_width = ops.shape(code)[1:3]
    per_unit = (-1, out_height, out_width, filters, rank)
    matched = ops.conv(padded, flat, strides, "valid", "channels_last")
    dot = ops.matmul(ops.reshape(matched, per_unit), code[..., None])[..., 0]

    exact = ops.cast(factors, norm_dtype)
    gram = ops.einsum("hwcfr,hwcfs->rfs", exact, exact)
    code_exact = ops.cast(code, norm_dtype)
    spread = ops.matmul(code_exact, ops.reshape(gram, (rank, filters * rank)))
    squared_norm = ops.matmul(ops.reshape(spread, per_unit), code_exact[..., None])[..., 0]

    def transpose(cotangent):
        weighted = cotangent[..., None] * code[..., None, :]
        weighted = ops.reshape(weighted, (-1, out_height, out_width, filters * rank))
        return fold(weighted, flat, strides, height, width)

    return Response(dot, squared_norm, transpose)


def zero_pad(inputs: Tensor, kernel_size: int) -> Tensor:
    """Adds `(kernel_size - 1) // 2` zeros on each side of `(B, H, W, C)`."""
    pad = (kernel_size - 1) // 2
    return ops.pad(inputs, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else inputs


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
    spread = ops.conv_transpose(values, kernel, strides, "valid", None, "channels_last")
    if strides > 1:
        # Rows that the strides skipped at the far end took part in no output.
        spread = ops.pad(spread, ((0, 0), (0, strides - 1), (0, strides - 1), (0, 0)))
    return spread[:, pad : pad + height, pad : pad + width, :]
