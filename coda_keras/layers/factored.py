"""The DAU in factored form: exact, and w(x) is never materialised.

With `z' = [B p, 1]` and `A'_j = [A_j, b_j]` the dynamic vector of unit j is `u_j = A'_j z'`,
hence

    u_j . p    = z' . (A'_j^T p)            one ordinary convolution with (r + 1) f channels
    ||u_j||^2  = z'^T (A'_j^T A'_j) z'      a Gram matrix that depends on the weights only

so a position costs `(r + 1) f` floats instead of `f d`. Everything is a convolution or a matrix
product. The units are the innermost axis of all tensors of that size: products with z' then run
along the memory, also where a backend does not fuse them (docs/speed.md has the timings).
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.windows import by_convolution, by_product

# Up to this many entries of z' the norm is computed from the products z'_i z'_k: there are few of
# them. Measured on a CPU, see docs/speed.md.
PRODUCTS_UP_TO = 17
# From so many outputs for every input of a window convolutions are matrix products with patches,
# which then take little memory beside the outputs. Measured on a CPU as well.
PRODUCTS_FROM = 5


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
    kernel_size, _, channels, filters, rank = kernel.shape
    wide = (rank + 1) * filters >= PRODUCTS_FROM * kernel_size**2 * channels
    windows = (by_product if wide else by_convolution)(inputs, kernel_size, strides)
    code = windows.convolve(ops.cast(projection, dtype))
    factors = ops.swapaxes(kernel, -1, -2)
    if bias is not None:
        code = ops.concatenate([code, ops.ones_like(code[..., :1])], axis=-1)
        factors = ops.concatenate([factors, bias[..., None, :]], axis=-2)
    rank = factors.shape[-2]
    flat = ops.reshape(factors, (kernel_size, kernel_size, channels, rank * filters))
    flat = ops.cast(flat, dtype)

    out_height, out_width = ops.shape(code)[1:3]
    matched = windows.convolve(flat)
    matched = ops.reshape(matched, (-1, out_height, out_width, rank, filters))
    if rank <= PRODUCTS_UP_TO and keras.backend.standardize_dtype(dtype) == norm_dtype:
        # Batched products of so few entries are slow, above all their gradients.
        dot = ops.sum(code[..., None] * matched, axis=-2)
    else:
        dot = ops.matmul(code[..., None, :], matched)[..., 0, :]

    def transpose(cotangent):
        weighted = code[..., :, None] * cotangent[..., None, :]
        weighted = ops.reshape(weighted, (-1, out_height, out_width, rank * filters))
        return windows.fold(weighted, flat)

    return Response(dot, _squared_norm(code, factors, norm_dtype), transpose)


def _squared_norm(code, factors, dtype):
    """`z'^T G_j z'` with `G_j = A'_j^T A'_j`, from `(B, h, w, R)` and `(k, k, C, R, f)`."""
    rank, filters = factors.shape[-2:]
    by_unit = ops.transpose(ops.reshape(ops.cast(factors, dtype), (-1, rank, filters)), (2, 1, 0))
    gram = ops.transpose(ops.matmul(by_unit, ops.swapaxes(by_unit, 1, 2)), (1, 2, 0))
    # Products of more axes than two cost Keras a dozen operations each on TensorFlow.
    height, width = ops.shape(code)[1:3]
    code = ops.reshape(ops.cast(code, dtype), (-1, rank))
    if rank <= PRODUCTS_UP_TO:
        # Selecting by matrix product, since gathering along the last axis is slow to differentiate.
        first, second = np.triu_indices(rank)
        select = np.eye(rank)
        products = ops.matmul(code, ops.cast(select[:, first], dtype)) * ops.matmul(
            code, ops.cast(select[:, second], dtype)
        )
        twice = ops.cast(np.where(first == second, 1.0, 2.0)[:, None], dtype)
        packed = ops.take(ops.reshape(gram, (rank * rank, filters)), first * rank + second, axis=0)
        norm = ops.matmul(products, twice * packed)
    else:
        spread = ops.matmul(code, ops.reshape(gram, (rank, rank * filters)))
        norm = ops.matmul(code[:, None, :], ops.reshape(spread, (-1, rank, filters)))
    return ops.reshape(norm, (-1, height, width, filters))
