"""The contract that every attribution method keeps."""

from functools import partial

import numpy as np
from keras import ops
from tqdm import tqdm

from coda_keras.backend import compiled
from coda_keras.encoding import encode


class Attribution:
    """An attribution method: `method(model, images, class_ids)` gives signed maps.

    A subclass consists of two parts: `on_device`, the computation with the model, which is
    compiled once per model, and `on_host`, which runs it over batches on the host. A method
    object keeps the compiled function of the model it was last called with, so use one object
    for many calls.

    Args:
        batch_size: positive int, how many images the model sees at once; bounds the memory.
        progress: whether to show a progress bar; None shows it on a terminal only.
    """

    label = None

    def __init__(self, *, batch_size=32, progress=None):
        self.batch_size = positive_int("batch_size", batch_size)
        self.progress = progress
        self._model = None

    def __call__(self, model, images, class_ids):
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
        if self._model is not model:
            # Dropped first, so that two models are never held.
            self._model = None
            self._classes = _classes(model, images)
            self.prepare(model, images)
            self._function = compiled(partial(self.on_device, model), model)
            self._model = model
        class_ids = np.asarray(class_ids)
        rows = self._class_ids(class_ids, len(images))
        maps = np.zeros((*rows.shape, *images.shape[1:3]), "float32")
        if maps.size:
            maps[...] = self.on_host(images, rows)
        return maps if class_ids.ndim == 2 else maps[:, 0]

    def prepare(self, model, images):
        """Looks at a model before its first use; raises ValueError if the method cannot take it.

        Args:
            model: the model.
            images: `(B, H, W, C)` float32 NumPy array.
        """

    def on_device(self, model, *args):
        """The part that is compiled: backend tensors in and out."""
        raise NotImplementedError(f"{type(self).__name__} must implement `on_device`.")

    def on_host(self, images, class_ids):
        """The part on the host.

        Args:
            images: `(B, H, W, C)` float32 NumPy array, C = 6 for a `CoDANet`, else 3.
            class_ids: `(B, n)` int32 NumPy array.

        Returns:
            `(B, n, H, W)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `on_host`.")

    def describe(self, model):
        """Returns the label of the method in tables and figures about `model`."""
        return self.label

    def run_on_device(self, *arrays):
        """Runs the compiled part on NumPy arrays."""
        return self._function(*arrays)

    def bar(self, total):
        """Returns a progress bar over `total` evaluations of the model."""
        disable = None if self.progress is None else not self.progress
        return tqdm(total=total, desc=self.label, unit="img", leave=False, disable=disable)

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
        if class_ids.dtype.kind not in "iu":
            raise ValueError(f"`class_ids` must be integers. Received dtype {class_ids.dtype}.")
        if class_ids.ndim > 2 or (class_ids.ndim > 0 and len(class_ids) != batch):
            raise ValueError(
                "`class_ids` must have shape (batch,) or (batch, n), the batch that of the images. "
                f"Received shape {class_ids.shape} for {batch} images."
            )
        if class_ids.size and not (class_ids.min() >= 0 and class_ids.max() < self._classes):
            raise ValueError(
                f"`class_ids` must lie in 0 to {self._classes - 1}. "
                f"Received values from {class_ids.min()} to {class_ids.max()}."
            )
        rows = class_ids if class_ids.ndim == 2 else class_ids[..., None]
        return np.broadcast_to(rows, (batch, rows.shape[-1])).astype("int32")


class PairwiseAttribution(Attribution):
    """A method whose `on_device(model, images, class_ids)` makes `(b, H, W)`, a class an image."""

    def on_host(self, images, class_ids):
        batch, classes = class_ids.shape
        pairs = class_ids.reshape(-1)
        maps = []
        with self.bar(len(pairs)) as bar:
            for start in range(0, len(pairs), self.batch_size):
                chosen = np.arange(start, min(start + self.batch_size, len(pairs)))
                maps.append(self.pair_maps(images[chosen // classes], pairs[chosen]))
                bar.update(len(chosen))
        return np.concatenate(maps).reshape(batch, classes, *images.shape[1:3])

    def pair_maps(self, images, class_ids):
        """Maps of a batch of images with one class each, NumPy in and out."""
        return self.run_on_device(images, class_ids)


def is_inherent(model):
    """Whether the model explains itself, and so sees images in the six-channel encoding."""
    return callable(getattr(model, "explain", None))


def class_logits(model, images, class_ids):
    """Logits of one class for every image, `(B,)`, as tensors."""
    logits = model(images, training=False)
    one_hot = ops.one_hot(class_ids, logits.shape[-1], dtype=logits.dtype)
    return ops.sum(logits * one_hot, axis=-1)


def positive_int(name, value):
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return int(value)


def _classes(model, images):
    """Number of classes; one call also builds a model that is not built yet."""
    if not callable(model):
        raise ValueError(f"`model` must be a Keras model. Received: {model!r}.")
    sample = np.zeros((1, *images.shape[1:]), "float32")
    logits = model(ops.convert_to_tensor(sample), training=False)
    if len(getattr(logits, "shape", ())) != 2:
        raise ValueError(
            "The model must return logits of shape (batch, classes). Received: "
            f"{getattr(logits, 'shape', type(logits))} from {getattr(model, 'name', model)!r}."
        )
    return int(logits.shape[-1])
