"""The contract that every attribution method keeps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.attribution.registry import label_of
from coda_keras.backend import compiled
from coda_keras.backend.types import Tensor
from coda_keras.explanation.computing import constants
from coda_keras.explanation.explanation import is_inherent
from coda_keras.layers.encoding import encode
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.labels import checked_class_ids
from coda_keras.utils.progress import ProgressBar


class Attribution:
    """An attribution method: `method(model, images, class_ids)` gives signed maps.

    A subclass has two parts: `on_device`, tensors to tensors, is the computation with the model
    and is compiled once per model; `on_host`, NumPy to NumPy, cuts the work into batches, for
    which it calls `run_on_device`, the compiled `on_device`. `prepare` sees a model before its
    first use, and after a setting of it has changed. A method object keeps the compiled function of
    the model it was last called with, so use one object for many calls.

    Args:
        batch_size: positive int, how many images the model sees at once; bounds the memory.
        progress: bool, whether to show a progress bar.

    Raises:
        ValueError: if `batch_size` is no positive integer.
    """

    def __init__(self, *, batch_size: int = 32, progress: bool = True) -> None:
        self.batch_size = positive_int("batch_size", batch_size)
        self.progress = progress
        self._model, self._constants = None, ()

    def __call__(self, model: Any, images: Any, class_ids: Any) -> np.ndarray:
        """Explains the logits of classes.

        Args:
            model: a `CoDANet`, or any Keras model `(B, H, W, 3) -> (B, classes)` logits.
            images: `(B, H, W, 3)` RGB as the model takes it ([0, 1] for a `CoDANet`), or
                `(B, H, W, 6)` already encoded for a `CoDANet`.
            class_ids: `(B,)` or `(B, n)` integers, or one integer for all images.

        Returns:
            `(B, H, W)`, or `(B, n, H, W)` for several classes an image: signed float32 NumPy
            maps, in which larger means more in favour of the class.

        Raises:
            ValueError: if the images do not fit the model or the class ids do not fit the images.
        """
        images = self._images(model, images)
        if self._model is not model or self._constants != _constants(model):
            # Dropped first, so that two models are never held.
            self._model = None
            self._classes = _classes(model, images)
            self.prepare(model, images)
            self._function = compiled(partial(self.on_device, model), model)
            self._model, self._constants = model, _constants(model)
        class_ids = np.asarray(class_ids)
        rows = self._class_ids(class_ids, len(images))
        maps = np.zeros((*rows.shape, *images.shape[1:3]), "float32")
        if maps.size:
            maps[...] = self.on_host(images, rows)
        return maps if class_ids.ndim == 2 else maps[:, 0]

    def prepare(self, model: Any, images: np.ndarray) -> None:
        """Looks at a model before its first use; raises ValueError if the method cannot take it.

        Args:
            model: the model.
            images: `(B, H, W, C)` float32 NumPy array.
        """

    def on_device(self, model: Any, *tensors: Tensor) -> Tensor:
        """Computes with the model; the part that is compiled.

        Args:
            model: the model.
            *tensors: what `on_host` passes to `run_on_device`, with at most `batch_size` images
                or masks.

        Returns:
            A tensor, or a dict of tensors.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `on_device`.")

    def on_host(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        """Makes the maps batch by batch, by calls of `run_on_device`.

        Args:
            images: `(B, H, W, C)` float32 NumPy array, C = 6 for a `CoDANet`, else 3.
            class_ids: `(B, n)` int32 NumPy array.

        Returns:
            `(B, n, H, W)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `on_host`.")

    @property
    def label(self) -> str:
        """The method's name in tables and figures.

        It is that of the registry; a subclass that is not registered may override it.
        """
        return label_of(self)

    def run_on_device(self, *arrays: np.ndarray) -> Any:
        """Runs `on_device`, compiled, with the model of the call: NumPy arrays in and out."""
        return self._function(*arrays)

    def bar(self, total: int) -> ProgressBar:
        """Returns a progress bar over `total` evaluations of the model."""
        return ProgressBar(self.label, "image", total, shown=self.progress)

    def _images(self, model, images):
        images = np.asarray(ops.convert_to_numpy(images))
        channels = (3, 6) if is_inherent(model) else (3,)
        if images.ndim != 4 or images.shape[-1] not in channels:
            raise ValueError(
                "`images` must have shape (batch, height, width, 3), or for a CoDANet also "
                f"(batch, height, width, 6), already encoded. Received shape {images.shape} for "
                f"{type(model).__name__}."
            )
        if is_inherent(model) and images.dtype.kind != "f":
            raise ValueError(
                "A CoDANet takes images as floats in [0, 1]. "
                f"Received dtype {images.dtype}; divide 8-bit images by 255."
            )
        images = images.astype("float32")
        return ops.convert_to_numpy(encode(images)) if is_inherent(model) else images

    def _class_ids(self, class_ids, batch):
        checked_class_ids(class_ids, batch, self._classes)
        rows = class_ids if class_ids.ndim == 2 else class_ids[..., None]
        return np.broadcast_to(rows, (batch, rows.shape[-1])).astype("int32")


class PairwiseAttribution(Attribution):
    """A method that explains every pair of an image and a class separately.

    Its `on_device(model, images, class_ids)` takes `(b, H, W, C)` and `(b,)` and makes `(b, H, W)`.
    """

    def on_host(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        batch, classes = class_ids.shape
        pairs = class_ids.reshape(-1)
        maps = []
        with self.bar(len(pairs)) as bar:
            for start in range(0, len(pairs), self.batch_size):
                chosen = np.arange(start, min(start + self.batch_size, len(pairs)))
                maps.append(self.pair_maps(images[chosen // classes], pairs[chosen]))
                bar.update(len(chosen))
        return np.concatenate(maps).reshape(batch, classes, *images.shape[1:3])

    def pair_maps(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        """Maps of one batch, by one call of `run_on_device` or several.

        Args:
            images: `(b, H, W, C)` float32, b at most `batch_size`.
            class_ids: `(b,)` int32, the class of every image.

        Returns:
            `(b, H, W)`.
        """
        return self.run_on_device(images, class_ids)


def class_logits(model: Callable[..., Tensor], images: Tensor, class_ids: Tensor) -> Tensor:
    """Logits of one class for every image, `(B,)`, as tensors."""
    logits = model(images, training=False)
    one_hot = ops.one_hot(class_ids, logits.shape[-1], dtype=logits.dtype)
    return ops.sum(logits * one_hot, axis=-1)


def _constants(model):
    """What the compiled function takes for constants."""
    return constants(model) if isinstance(model, keras.Layer) else ()


def _classes(model, images):
    """Number of classes; one call also builds a model that is not built yet."""
    if not callable(model):
        raise ValueError(f"`model` must be a Keras model. Received: {model!r}.")
    sample = np.zeros((1, *images.shape[1:]), "float32")
    logits: Any = model(ops.convert_to_tensor(sample), training=False)
    if len(getattr(logits, "shape", ())) != 2:
        raise ValueError(
            "The model must return logits of shape (batch, classes). Received: "
            f"{getattr(logits, 'shape', type(logits))} from {getattr(model, 'name', model)!r}."
        )
    return int(logits.shape[-1])
