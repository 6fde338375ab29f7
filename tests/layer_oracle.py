"""The matrices W(x) of layers, entry by entry in NumPy float64: slow, and obviously right.

Every function takes one image or one list of tokens, without an axis of images, and returns a
matrix `(outputs, inputs)` of the flattened values, so that outputs are `W(x) x`.
"""

import numpy as np


def _windows(shape, size, strides):
    """For every window the places `(row, column)` of its entries; None for those of the padding."""
    pad = (size - 1) // 2
    height, width = shape[:2]
    for top in range(-pad, height + pad - size + 1, strides):
        for left in range(-pad, width + pad - size + 1, strides):
            window = {}
            for i, j in np.ndindex(size, size):
                inside = 0 <= top + i < height and 0 <= left + j < width
                window[i, j] = (top + i, left + j) if inside else None
            yield window


def _row(shape, entries):
    row = np.zeros(shape)
    for place, value in entries.items():
        row[place] = value
    return row.ravel()


def bcos_conv(image, kernel, strides, b, max_out):
    """`kernel` is `(k, k, C, filters * max_out)`."""
    rows = []
    for window in _windows(image.shape, kernel.shape[0], strides):
        inside = {where: place for where, place in window.items() if place is not None}
        norm = np.sqrt(sum(np.sum(image[place] ** 2) for place in inside.values()) + 1e-6)
        for unit in range(0, kernel.shape[-1], max_out):
            best = None
            for vector in range(unit, unit + max_out):
                weights = kernel[..., vector] / np.sqrt(np.sum(kernel[..., vector] ** 2))
                product = sum(weights[where] @ image[place] for where, place in inside.items())
                if best is None or product > best[0]:
                    best = product, weights
            product, weights = best
            factor = _factor(abs(product / norm), b)
            rows.append(
                _row(image.shape, {p: factor * weights[where] for where, p in inside.items()})
            )
    return np.array(rows)


def bcos_dense(tokens, kernel, b, max_out):
    """`tokens` is `(n, C)`, `kernel` `(C, units * max_out)`."""
    rows = []
    for index, token in enumerate(tokens):
        norm = np.sqrt(np.sum(token**2)) + 1e-12
        for unit in range(0, kernel.shape[-1], max_out):
            vectors = [
                kernel[:, n] / np.linalg.norm(kernel[:, n]) for n in range(unit, unit + max_out)
            ]
            weights = max(vectors, key=lambda vector: vector @ token)
            factor = _factor(abs(weights @ token / norm), b)
            rows.append(_row(tokens.shape, {index: factor * weights}))
    return np.array(rows)


def _factor(cosine, b):
    if b == 1:
        return 1.0
    return cosine if b == 2 else (cosine + 1e-6) ** (b - 1)


def average_pooling(image, size, strides):
    rows = []
    for window in _windows(image.shape, size, strides):
        for channel in range(image.shape[-1]):
            places = [place for place in window.values() if place is not None]
            rows.append(_row(image.shape, {(*place, channel): 1 / size**2 for place in places}))
    return np.array(rows)


def max_pooling(image, size, strides):
    rows = []
    for window in _windows(image.shape, size, strides):
        for channel in range(image.shape[-1]):
            places = [place for place in window.values() if place is not None]
            chosen = max(places, key=lambda place: image[(*place, channel)])
            rows.append(_row(image.shape, {(*chosen, channel): 1}))
    return np.array(rows)


def relu(values):
    return np.diag([1.0 if value > 0 else 0.0 for value in values.ravel()])


def max_out(values, pieces):
    flat = values.ravel()
    rows = []
    for first in range(0, len(flat), pieces):
        chosen = max(range(first, first + pieces), key=lambda index: flat[index])
        rows.append(_row(flat.shape, {chosen: 1}))
    return np.array(rows)


def batch_normalization(values, variance, gamma, epsilon):
    scale = gamma / np.sqrt(variance + epsilon)
    return np.diag([scale[place[-1]] for place in np.ndindex(values.shape)])


def layer_normalization(values, gamma, epsilon, groups, center):
    """`groups` tells of every place which others it is normalised with."""
    places = list(np.ndindex(values.shape))
    rows = []
    for place in places:
        others = [other for other in places if groups(other) == groups(place)]
        variance = np.var([values[other] for other in others])
        scale = gamma[place[-1]] / np.sqrt(variance + epsilon)
        entries = dict.fromkeys(others, -scale / len(others)) if center else {}
        entries[place] = entries.get(place, 0) + scale
        rows.append(_row(values.shape, entries))
    return np.array(rows)


def self_attention(tokens, query, key, value, heads):
    count, channels = tokens.shape
    size = query.shape[-1] // heads
    rows = np.zeros((count, heads * size, count, channels))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for one in range(count):
            products = [
                (tokens[one] @ query[:, part]) @ (tokens[other] @ key[:, part]) / np.sqrt(size)
                for other in range(count)
            ]
            weights = np.exp(products) / np.sum(np.exp(products))
            for other in range(count):
                rows[one, part, other] = weights[other] * value[:, part].T
    return rows.reshape(count * heads * size, -1)
