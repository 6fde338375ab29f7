"""What a teacher says of the training images, stored once, for nets that learn it (distillation).

A file of `save` holds the logits of every training image in all views that a student is shown:
flipped or not, shifted by a few pixels. A step of the student then costs nothing for its teacher.
"""

import os
from typing import Any, NamedTuple

import keras
import numpy as np

from coda_keras.data.batches import cropped
from coda_keras.training.settings import Settings
from coda_keras.utils.files import replacing
from coda_keras.utils.inflating import read_npz
from coda_keras.utils.progress import tracked

# Images whose views are computed at once: 200 MB of floats, for 32x32 pixels.
PART = 2000


class Teacher(NamedTuple):
    """A teacher's answers.

    Attributes:
        logits: float16 `(N, 2, S, S, classes)`: of every image as it is or flipped, shifted by
            `-(S // 2)` to `S // 2` rows and columns, reflected at its edges.
        labels: int `(N,)`, of the images in the same order.
    """

    logits: np.ndarray
    labels: np.ndarray


def views(images: np.ndarray, flip: int, row: int, column: int, padding: int) -> np.ndarray:
    """Images as a student sees them: reflected by `padding` on each side, then cut at a corner,
    then flipped if `flip` is 1. The same as `TrainBatches` with `targets` does to single images.

    >>> views(np.arange(8).reshape(1, 2, 4, 1), flip=1, row=1, column=2, padding=1)[0, 0, :, 0]
    array([2, 3, 2, 1])
    """
    shifted = cropped(np, images, (row, column), padding)
    return shifted[:, :, ::-1] if flip else shifted


def view_logits(model: keras.Model, images: np.ndarray, padding: int = 1) -> np.ndarray:
    """The logits of a model for all views of images.

    Args:
        model: from float images `(B, H, W, 3)` in [0, 1] to logits `(B, classes)`.
        images: uint8 `(N, H, W, 3)`.
        padding: int from 0 up, the largest shift in pixels.

    Returns:
        float16 `(N, 2, 2 padding + 1, 2 padding + 1, classes)`.
    """
    shifts = range(2 * padding + 1)
    parts = []
    for start in tracked(range(0, len(images), PART), "a teacher's logits", "part"):
        part = images[start : start + PART]
        logits = [
            [
                [logits_of_view(model, part, flip, row, column, padding) for column in shifts]
                for row in shifts
            ]
            for flip in (0, 1)
        ]
        parts.append(np.moveaxis(np.asarray(logits, "float16"), 3, 0))
    return np.concatenate(parts)


def logits_of_view(
    model: keras.Model, images: np.ndarray, flip: int, row: int, column: int, padding: int
) -> np.ndarray:
    """The logits `(N, classes)` of a model for one view of images; arguments as of `views`."""
    shown = views(images, flip, row, column, padding).astype("float32") / 255.0
    return model.predict(shown, batch_size=250, verbose=0)


def save(teacher: Teacher, path: str | os.PathLike) -> None:
    """Writes a teacher's answers as an `.npz` file."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **teacher._asdict())


def load(path: str | os.PathLike, labels: np.ndarray) -> Teacher:
    """Reads what `save` has written.

    Args:
        path: an `.npz` file.
        labels: int `(N,)`, of the images to train on, to which the answers must belong: all that
            the teacher has answers for, or the first of them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is another file, damaged, or of other images.
    """
    arrays = read_npz(path, Teacher._fields)
    if len(arrays) < len(Teacher._fields):
        raise ValueError(
            f"{path} holds no answers of a teacher. Expected a file that `coda-keras train "
            "teacher` has written."
        )
    logits, known = Teacher(**arrays)
    shifts = logits.shape[2:4]
    if logits.ndim != 5 or logits.shape[1] != 2 or shifts[0] != shifts[1] or shifts[0] % 2 == 0:
        raise ValueError(
            f"{path}: expected logits (N, 2, S, S, classes), S odd. Received {logits.shape}."
        )
    if not np.isfinite(logits).all():
        raise ValueError(f"{path}: some logits are not finite.")
    count = len(labels)
    if len(known) != len(logits) or not np.array_equal(known[:count], labels):
        raise ValueError(
            f"{path} has answers for {len(known)} images, which are not the {count} to train on, "
            "in their order. Write them anew for this data, by `coda-keras train teacher`."
        )
    return Teacher(logits[:count], known[:count])


def targets(settings: Settings, labels: np.ndarray) -> np.ndarray | None:
    """The targets of `settings.teacher` for one-vs-all classification; None without a teacher.

    Args:
        settings: with `teacher`, `teacher_targets`, `teacher_scale`, `teacher_shift` and
            `label_weight`.
        labels: int `(N,)`, of the images to train on.

    Returns:
        float16 `(N, 2, S, S, classes)` in [0, 1].
    """
    if not settings.teacher:
        return None
    teacher = load(settings.teacher, labels)
    logits = settings.teacher_scale * teacher.logits.astype("float32")
    if settings.teacher_targets == "softmax":
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        soft: Any = exponentials / exponentials.sum(axis=-1, keepdims=True)
    else:
        # Without an overflow for large negative logits.
        soft = 0.5 * (1.0 + np.tanh(0.5 * (logits - settings.teacher_shift)))
    hard = np.eye(logits.shape[-1], dtype="float32")[labels][:, None, None, None]
    return ((1.0 - settings.label_weight) * soft + settings.label_weight * hard).astype("float16")
