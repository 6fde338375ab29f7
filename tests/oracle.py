"""Slow, obviously right reference in NumPy float64: the paper's equations as plain loops.

Works on single images `(H, W, C)` and explicit matrices, so that explanations are products of
matrices anyone can write down (eq. 7).
"""

from typing import NamedTuple

import numpy as np


class Layer(NamedTuple):
    """Parameters of a DAU layer: B `(k,k,C,r)`, A `(k,k,C,f,r)`, b `(k,k,C,f)` or None."""

    projection: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray | None
    strides: int
    rescale: str


def encode(image):
    """`(H, W, 3)` to `[r, g, b, 1-r, 1-g, 1-b]`."""
    height, width, _ = image.shape
    encoded = np.zeros((height, width, 6))
    for channel in range(3):
        encoded[..., channel] = image[..., channel]
        encoded[..., channel + 3] = 1 - image[..., channel]
    return encoded


def rescale(u, name):
    """g(u) of eq. 2 ("l2") and eq. 3 ("squash"); the zero vector stays zero."""
    norm = np.sqrt(np.sum(u * u))
    if norm == 0:
        return np.zeros_like(u)
    unit = u / norm
    return unit if name == "l2" else unit * norm**2 / (1 + norm**2)


def patches(image, layer):
    """Patches `(h, w, k, k, C)` with `(k - 1) // 2` zeros around the image."""
    size = layer.kernel.shape[0]
    pad = (size - 1) // 2
    height, width, channels = image.shape
    padded = np.zeros((height + 2 * pad, width + 2 * pad, channels))
    padded[pad : pad + height, pad : pad + width] = image
    rows = range(0, padded.shape[0] - size + 1, layer.strides)
    columns = range(0, padded.shape[1] - size + 1, layer.strides)
    return np.array([[padded[i : i + size, j : j + size] for j in columns] for i in rows])


def dynamic_weights(image, layer):
    """`w_j(p) = g(A_j B p + b_j)` for every position: `(h, w, f, k, k, C)`."""
    unfolded = patches(image, layer)
    window = layer.kernel.shape[:3]
    filters, rank = layer.kernel.shape[3:]
    matrix_b = layer.projection.reshape(-1, rank)
    weights = np.zeros((*unfolded.shape[:2], filters, *window))
    for row, column in np.ndindex(*unfolded.shape[:2]):
        p = unfolded[row, column].ravel()
        for unit in range(filters):
            u = layer.kernel[:, :, :, unit, :].reshape(-1, rank) @ (matrix_b.T @ p)
            if layer.bias is not None:
                u = u + layer.bias[:, :, :, unit].ravel()
            weights[row, column, unit] = rescale(u, layer.rescale).reshape(window)
    return weights


def forward(image, layer):
    """`o_j = w_j(p) . p` (eq. 1): `(h, w, f)`."""
    unfolded, weights = patches(image, layer), dynamic_weights(image, layer)
    outputs = np.zeros(weights.shape[:3])
    for row, column, unit in np.ndindex(*outputs.shape):
        outputs[row, column, unit] = np.sum(weights[row, column, unit] * unfolded[row, column])
    return outputs


def alignment(image, layer):
    """Cosine between w(p) and p: `(h, w, f)`, 0 where either vanishes."""
    unfolded, weights = patches(image, layer), dynamic_weights(image, layer)
    cosines = np.zeros(weights.shape[:3])
    for row, column, unit in np.ndindex(*cosines.shape):
        w, p = weights[row, column, unit], unfolded[row, column]
        norms = np.sqrt(np.sum(w * w)) * np.sqrt(np.sum(p * p))
        cosines[row, column, unit] = np.sum(w * p) / norms if norms > 0 else 0
    return cosines


def matrix(image, layer):
    """The matrix W(x) of the whole layer, `(h*w*f, H*W*C)`: `outputs = W(x) image`."""
    height, width, channels = image.shape
    size, pad = layer.kernel.shape[0], (layer.kernel.shape[0] - 1) // 2
    weights = dynamic_weights(image, layer)
    rows = []
    for row, column, unit in np.ndindex(*weights.shape[:3]):
        padded = np.zeros((height + 2 * pad, width + 2 * pad, channels))
        top, left = row * layer.strides, column * layer.strides
        padded[top : top + size, left : left + size] = weights[row, column, unit]
        rows.append(padded[pad : pad + height, pad : pad + width].ravel())
    return np.array(rows)


def activations(image, layers):
    """Input and the outputs of all layers, a list of `len(layers) + 1` arrays."""
    values = [image]
    for layer in layers:
        values.append(forward(values[-1], layer))
    return values


def matrix_between(image, layers, start, stop):
    """`W_{start->stop}` (eq. 7): the product of the layers' matrices."""
    values = activations(image, layers)
    product = np.eye(values[start].size)
    for index in range(start, stop):
        product = matrix(values[index], layers[index]) @ product
    return product


def weights_of_logits(image, layers, temperature):
    """Rows of W_{0->L} with sum pooling and temperature, `(classes, H, W, C)`."""
    classes = layers[-1].kernel.shape[3]
    product = matrix_between(image, layers, 0, len(layers))
    per_position = product.reshape(-1, classes, *image.shape)
    return per_position.sum(axis=0) / temperature


def logits(image, layers, temperature, logit_bias):
    """Logits of a net: sum over positions / T + b_0."""
    return activations(image, layers)[-1].sum(axis=(0, 1)) / temperature + logit_bias


def slope(function, layers, directions, step=1e-5):
    """Central difference of `function(layers)` along directions, three arrays for every layer."""
    ends = []
    for signed in (step, -step):
        moved = [list(layer) for layer in layers]
        for index, direction in enumerate(directions):
            number, field = divmod(index, 3)
            moved[number][field] = moved[number][field] + signed * direction
        ends.append(function([Layer(*one) for one in moved]))
    return (ends[0] - ends[1]) / (2 * step)
