"""What a DAU learns that is maximised over its inputs (Section 3.1, Fig. 3, supplement D).

Without a bias, and in the limit of large norms for SQ, a unit computes `o(x) = ||x|| cos(x, ABx)`.
With P the projection onto the columns of A, `o(x) <= ||P x||`, and AB = P reaches it for all x at
once. So what it can reach at best is a subspace of r dimensions with the largest mean `||P x||`,
whereas PCA takes that with the largest mean `||P x||^2`.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.layers.dau import DAUConv2D

Array = np.ndarray


def maximise(
    layer: DAUConv2D,
    inputs: Array,
    epochs: int = 50,
    learning_rate: float = 0.03,
    batch_size: int = 256,
) -> list[float]:
    """Maximises the mean output of all units over all inputs, by Adam.

    Args:
        layer: a `DAUConv2D`; its weights change.
        inputs: `(N, H, W, C)`.
        epochs: int, passes over the inputs. The rate falls to 0 by a cosine.
        learning_rate: positive number.
        batch_size: int.

    Returns:
        The mean output in every epoch.
    """
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
    steps = epochs * math.ceil(len(inputs) / batch_size)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    # On a CPU XLA takes longer to compile such a step than TensorFlow to run it.
    jit_compile = backend.NAME == "jax"
    model.compile(keras.optimizers.Adam(rate), _negated_mean, jit_compile=jit_compile)
    targets = np.zeros((len(inputs), 1), "float32")
    record = model.fit(inputs, targets, batch_size, epochs=epochs, verbose=0)
    return [-loss for loss in record.history["loss"]]


def _negated_mean(_: Any, outputs: Any) -> Any:
    return -ops.mean(outputs, axis=(1, 2, 3))


def matrices(layer: DAUConv2D, unit: int = 0) -> tuple[Array, Array]:
    """The matrices A `(d, r)` of a unit and B `(r, d)` of a built layer, float64."""
    kernel = ops.convert_to_numpy(layer.kernel)[..., unit, :].reshape(-1, layer.rank)
    projection = ops.convert_to_numpy(layer.projection).reshape(-1, layer.rank)
    return kernel.astype("float64"), projection.T.astype("float64")


def eigenvectors(layer: DAUConv2D, unit: int = 0) -> tuple[Array, Array]:
    """The eigenvectors of AB that do not belong to the eigenvalue 0, what a unit reproduces.

    AB is not symmetric, so they need not be orthogonal. The two of a pair of complex ones are
    replaced by their real and imaginary part, which span the same plane.

    Args:
        layer: a built `DAUConv2D`.
        unit: int, number of the unit.

    Returns:
        `(values, vectors)`: eigenvalues `(r,)`, those of largest magnitude first, and vectors of
        length 1 `(r, d)`.
    """
    a, b = matrices(layer, unit)
    # With (BA) y = v y also (AB) A y = v A y: a small matrix has them all.
    values, small = np.linalg.eig(b @ a)
    order = np.argsort(-np.abs(values), kind="stable")
    values = values[order]
    vectors = (a @ small[:, order]).T
    vectors = np.where(np.imag(values)[:, None] < 0, np.imag(vectors), np.real(vectors))
    return values, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def principal_subspace(inputs: Array, rank: int) -> Array:
    """Orthonormal rows `(rank, d)` with the largest sum of `||P x||^2`: PCA without centring.

    Args:
        inputs: `(N, d)`.
        rank: int.
    """
    _, _, directions = np.linalg.svd(np.asarray(inputs, "float64"), full_matrices=False)
    return directions[:rank]


def aligned_subspace(
    inputs: Array, rank: int, steps: int = 1000, tolerance: float = 1e-12
) -> Array:
    """Orthonormal rows `(rank, d)` with the largest sum of `||P x||`, what a DAU can reach.

    The sum is a convex function of the rows. Every step maximises its tangent, so that it never
    falls; where it stays, a local maximum is reached. The first rows are those of PCA.

    Args:
        inputs: `(N, d)`.
        rank: int.
        steps: int, at most so many.
        tolerance: relative growth of the sum below which it stays.
    """
    inputs = np.asarray(inputs, "float64")
    rows, before = principal_subspace(inputs, rank), 0.0
    for _ in range(steps):
        codes = inputs @ rows.T
        norms = np.linalg.norm(codes, axis=1, keepdims=True)
        if norms.sum() <= before * (1 + tolerance):
            break
        before = norms.sum()
        units = np.divide(codes, norms, out=np.zeros_like(codes), where=norms > 0)
        left, _, right = np.linalg.svd(units.T @ inputs, full_matrices=False)
        rows = left @ right
    return rows


def reached(inputs: Array, rows: Array) -> float:
    """Sum of `||P x||` over the sum of `||x||`, what of the largest conceivable output is reached.

    >>> reached(np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[1.0, 0.0]]))
    0.6666666666666666
    """
    inputs = np.asarray(inputs, "float64")
    projected = np.linalg.norm(inputs @ rows.T, axis=1).sum()
    return float(projected / np.linalg.norm(inputs, axis=1).sum())


def kept(inputs: Array, rows: Array) -> float:
    """Sum of `||P x||^2` over the sum of `||x||^2`, what PCA maximises.

    >>> kept(np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[1.0, 0.0]]))
    0.38461538461538464
    """
    inputs = np.asarray(inputs, "float64")
    return float(np.sum((inputs @ rows.T) ** 2) / np.sum(inputs**2))


def cosines(weights: Array, inputs: Array) -> Array:
    """Cosines of the angles between weights and the inputs that they are applied to.

    Args:
        weights: `(..., H, W, C)`.
        inputs: an array that broadcasts to the weights.

    Returns:
        `(...)`, float64 in [-1, 1]; 0 where either vanishes.
    """
    weights, inputs = np.asarray(weights, "float64"), np.asarray(inputs, "float64")
    axes = (-3, -2, -1)
    products = np.sum(weights * inputs, axis=axes)
    norms = np.sqrt(np.sum(weights**2, axis=axes) * np.sum(inputs**2, axis=axes))
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
