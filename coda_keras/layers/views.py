"""Views of an image, as linear maps: flips and shifts, with their transposes.

They act on encoded images. What comes in at a border is six zeros, "no evidence", or reflected;
black would be an added constant. The transpose folds what was reflected back to where it was.
"""

from keras import ops

from coda_keras.backend.types import Tensor

ROWS, COLUMNS = 1, 2
FILLS = ("reflect", "zeros")


def flip(values: Tensor) -> Tensor:
    """Swaps left and right of `(B, H, W, C)`; its own transpose."""
    return ops.flip(values, axis=COLUMNS)


def shift(values: Tensor, rows: int, columns: int, fill: str) -> Tensor:
    """Moves `(B, H, W, C)` down and to the right, or up and left where negative.

    Args:
        values: `(B, H, W, C)`.
        rows, columns: int, by how many pixels; less than there are.
        fill: `"reflect"` about the border pixel, or `"zeros"`.

    Raises:
        ValueError: if there are no more pixels than that.
    """
    for axis, steps in ((ROWS, rows), (COLUMNS, columns)):
        values = _along(values, axis, steps, fill, _moved)
    return values


def shift_transposed(cotangent: Tensor, rows: int, columns: int, fill: str) -> Tensor:
    """The transpose of `shift` with the same arguments."""
    for axis, steps in ((ROWS, rows), (COLUMNS, columns)):
        cotangent = _along(cotangent, axis, steps, fill, _moved_back)
    return cotangent


def _along(values, axis, steps, fill, move):
    """Applies `move` with positive steps, to the flipped values where they are negative."""
    if steps == 0:
        return values
    length = values.shape[axis]
    if length is not None and abs(steps) >= length:
        raise ValueError(
            f"Expected a shift by less than the {length} pixels that images have. Received {steps}."
        )
    if steps > 0:
        return move(values, axis, steps, fill)
    return ops.flip(move(ops.flip(values, axis=axis), axis, -steps, fill), axis=axis)


def _moved(values, axis, steps, fill):
    first = _part(values, axis, 1, steps + 1)
    first = ops.flip(first, axis=axis) if fill == "reflect" else ops.zeros_like(first)
    return ops.concatenate([first, _part(values, axis, None, -steps)], axis=axis)


def _moved_back(cotangent, axis, steps, fill):
    first, rest = _part(cotangent, axis, None, steps), _part(cotangent, axis, steps, None)
    back = ops.concatenate([rest, ops.zeros_like(first)], axis=axis)
    if fill == "zeros":
        return back
    before = ops.zeros_like(_part(cotangent, axis, None, 1))
    after = ops.zeros_like(_part(cotangent, axis, steps + 1, None))
    return back + ops.concatenate([before, ops.flip(first, axis=axis), after], axis=axis)


def _part(values, axis, start, stop):
    return values[:, start:stop] if axis == ROWS else values[:, :, start:stop]
