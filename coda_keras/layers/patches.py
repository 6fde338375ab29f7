"""Algorithm 1 of the paper as printed: extract patches, build w(x), multiply.

The readable reference for the factored form; memory-bound, since `f d` floats are
materialised for every position.
"""

from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.layers.factored import Response
from coda_keras.layers.windows import fold_patches, zero_pad


def extract_patches(inputs: Tensor, kernel_size: int, strides: int) -> Tensor:
    """Unfolds `(B, H, W, C)` into `(B, h, w, k*k*C)`, patches ordered row, column, channel.

    `(k - 1) // 2` zeros are added on each side first.
    """
    return backend.extract_patches(zero_pad(inputs, kernel_size), kernel_size, strides)


def dynamic_vectors(
    patches: Tensor, projection: Tensor, kernel: Tensor, bias: Tensor | None
) -> Tensor:
    """Returns `u = A (B p) + b` for every position, `(B, h, w, d, f)`, before rescaling."""
    depth = patches.shape[-1]
    filters, rank = kernel.shape[-2:]
    # `tf.matmul` of four axes by two, as Keras 3.12 has it, overwrites memory in oneDNN.
    code = ops.tensordot(patches, ops.reshape(projection, (depth, rank)), 1)
    by_rank = ops.transpose(ops.reshape(kernel, (depth * filters, rank)))
    vectors = ops.tensordot(code, by_rank, 1)
    if bias is not None:
        vectors = vectors + ops.reshape(bias, (depth * filters,))
    return ops.reshape(vectors, (*ops.shape(patches), filters))


def respond(
    inputs: Tensor,
    projection: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: int,
    norm_dtype: str,
) -> Response:
    """Computes `u . p`, `||u||^2` and the transpose of `p -> u . p` for every position.

    Arguments and result as in `factored.respond`.
    """
    dtype = inputs.dtype
    kernel_size = kernel.shape[0]
    height, width = ops.shape(inputs)[1:3]
    patches = extract_patches(inputs, kernel_size, strides)
    projection, kernel = ops.cast(projection, dtype), ops.cast(kernel, dtype)
    bias = None if bias is None else ops.cast(bias, dtype)
    vectors = dynamic_vectors(patches, projection, kernel, bias)
    dot = ops.matmul(patches[..., None, :], vectors)[..., 0, :]
    squared_norm = ops.sum(ops.square(ops.cast(vectors, norm_dtype)), axis=-2)

    def transpose(cotangent):
        columns = ops.matmul(vectors, cotangent[..., None])[..., 0]
        return fold_patches(columns, kernel_size, strides, height, width)

    return Response(dot, squared_norm, transpose)
