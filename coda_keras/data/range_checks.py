"""Images on their way to `fit`, `evaluate` and `predict` of Keras, looked at on the host."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import GeneratorType
from typing import Any

import keras

from coda_keras.backend.value_checks import checking
from coda_keras.utils.checks import EXPECTED, check_range

# So many images of an array at a time.
CHUNK = 256
_SENTENCE = re.compile(re.escape(EXPECTED) + r"[^\n\x1b]*")


def checked(data: Any, every: int | None = 1) -> Any:
    """Returns data that yields the same, and raises where image values are not in [0, 1].

    Arrays are looked at here and now. Other data yields batches `images`, `(images, labels)` or
    `(images, labels, weights)`; whatever is not known to have images of floats is returned as it
    is, and under `unchecked` all of it.

    Args:
        data: what Keras takes for `x`: an array, a tensor, a `tf.data.Dataset`, a generator or a
            `keras.utils.PyDataset`.
        every: int, to look at one batch of so many, from the first on; None for the first of every
            pass.

    Raises:
        ValueError: if values of an array are not in [0, 1]. What else raises it does so inside of
            `in_range_errors`.
    """
    if not checking() or data is None:
        return data
    if isinstance(data, keras.utils.PyDataset):
        return _CheckedDataset(data, every)
    if isinstance(data, GeneratorType):
        return _checked_batches(data, every)
    if hasattr(data, "element_spec") and hasattr(data, "enumerate"):
        from coda_keras.data.tf_range_checks import checked_dataset

        return checked_dataset(data, every)
    _check(data)
    return data


@contextmanager
def in_range_errors() -> Iterator[None]:
    """Makes what data pipelines raise on behalf of `checked` the ValueError that it was."""
    try:
        yield
    except Exception as error:
        sentence = _SENTENCE.search(str(error))
        if sentence is None or sentence[0] == str(error):
            raise
        raise ValueError(sentence[0]) from error


def _check(images):
    """Raises ValueError if floats of an array are not in [0, 1]."""
    dtype = getattr(images, "dtype", None)
    if dtype is None or not getattr(images, "shape", ()) or "float" not in str(dtype):
        return
    for start in range(0, len(images), CHUNK):
        check_range(images[start : start + CHUNK])


def _check_batch(batch):
    _check(keras.utils.unpack_x_y_sample_weight(batch)[0])
    return batch


def _checked_batches(batches, every):
    for number, batch in enumerate(batches):
        yield _check_batch(batch) if number % (every or sys.maxsize) == 0 else batch


class _CheckedDataset(keras.utils.PyDataset):
    """A `PyDataset` whose batches are looked at: all, or the first of every epoch."""

    def __init__(self, dataset, every):
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._every = every
        self._looked = False

    @property
    def num_batches(self) -> int | None:
        return self._dataset.num_batches

    def __getitem__(self, index):
        batch = self._dataset[index]
        if self._looked and self._every != 1:
            return batch
        self._looked = True
        return _check_batch(batch)

    def on_epoch_begin(self) -> None:
        self._looked = False
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()
