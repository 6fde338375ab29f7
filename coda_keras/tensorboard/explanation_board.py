"""How a net explains some images while it learns, in TensorBoard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy.special import expit

from coda_keras import figures
from coda_keras.explanation.channels import strongest_channels
from coda_keras.explanation.display import explanation_view
from coda_keras.explanation.explanation import Explanation
from coda_keras.explorer.storage import room
from coda_keras.figures import Column
from coda_keras.layers.encoding import encode
from coda_keras.tensorboard.summaries import MAX_BYTES, WEIGHTS, EpochBoard, write_view

TAG = "contributions"
# Of every layer, for the tab.
CHANNELS = 3

# Full colour is a contribution of so many logits over the number of pixels: what the strongest
# pixels of a confident image have, and the same in every epoch.
FULL_COLOUR = 100.0

DESCRIPTIONS = {
    "contribution_maps": "Validation images, the contributions of their pixels to the logit of "
    "their class and of the strongest other class, with the probabilities of both, and the weights "
    "of their class as colours. Red speaks for the class, blue against it, on one scale in all "
    "epochs.",
    "completeness_residual": "What the contributions leave unexplained of a logit less its bias, "
    "relative to that; the largest of the classes shown. Rounding, as long as it is small.",
    "layer_alignment": "Mean of |cos| between the weights w(x) and their patch x, over images, "
    "positions and units of a layer: what training drives up.",
    "layer_cosines": "All cosines between the weights w(x) and their patch x, by layer.",
    "last_layer_alignment/true_class": "Mean cosine between w(x) and x in the last layer, of the "
    "unit of the image's class.",
    "last_layer_alignment/other_classes": "The same of the units of all other classes.",
}


class ExplanationBoard(EpochBoard):
    """How the net explains a fixed set of images, after every epoch.

    Writes `contribution_maps` (every image beside the maps of its class and of the strongest other
    class, and the weights of its class as `figures.weights_rgba` colours them; a card for every
    few images), the contributions to all their logits as numbers for the tab Explanations
    (`ExplanationTensors`), `completeness_residual` (the largest
    `Explanation.completeness_error` of the classes with maps), and for every layer the cosines
    between w(x) and the patch: `layer_cosines/<layer>` as histogram over images, positions and
    units, the mean of their magnitudes as
    `layer_alignment/<layer>`, and the mean of those of the last layer apart for the image's class
    and all others, `last_layer_alignment`.

    Args:
        log_dir: path of the run's folder.
        images: `(N, H, W, 3)` in [0, 1], a few validation images.
        labels: `(N,)` integers.
        class_names: names of the classes, by class id.
        rows: int, images on a card.
        scale: positive number, contribution in logits that has full colour in all epochs; None for
            100 over the number of pixels.

    Raises:
        ValueError: if images, labels and class names do not fit.
    """

    def __init__(
        self,
        log_dir: str | Path,
        images: ArrayLike,
        labels: ArrayLike,
        class_names: Sequence[str],
        rows: int = 4,
        scale: float | None = None,
    ) -> None:
        super().__init__(log_dir)
        self.images = np.asarray(images)
        self.labels = np.asarray(labels)
        self.class_names = list(class_names)
        self.rows = rows
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                "Expected images (N, height, width, 3) and a label for each. "
                f"Received shapes {self.images.shape} and {self.labels.shape}."
            )
        if not all(0 <= label < len(self.class_names) for label in self.labels):
            raise ValueError(
                f"Expected labels in 0 to {len(self.class_names) - 1}, one for each class name. "
                f"Received {self.labels}."
            )
        self.scale = FULL_COLOUR / np.prod(self.images.shape[1:3]) if scale is None else scale

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)

        @tf.function(autograph=False)
        def explain(images, labels):
            logits = model(images, training=False)
            own = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False, dtype=bool)
            other = tf.argmax(tf.where(own, logits.dtype.min, logits), axis=-1, output_type="int32")
            explanation = model.explain(images, tf.stack([labels, other], axis=1))
            alignments, outputs = {}, encode(images)
            for layer in model.body:
                if hasattr(layer, "alignment"):
                    alignments[layer.name] = layer.alignment(outputs)
                outputs = layer(outputs)
            return vars(explanation), alignments

        self._explain = explain
        self._tensors = ExplanationTensors(model, self.images, self.labels, self.class_names)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        fields, alignments = self._explain(self.images, self.labels.astype("int32"))
        explanation = Explanation(**fields).numpy()
        with self.writer("explanations").as_default(step=epoch):
            self._write_maps(explanation)
            self._tensors.write(explanation.logits, epoch)
            error = explanation.completeness_error.max()
            _scalar("completeness_residual", error, "completeness_residual")
            for name, cosines in alignments.items():
                tag, description = f"layer_cosines/{name}", DESCRIPTIONS["layer_cosines"]
                tf.summary.histogram(tag, cosines, description=description)
                mean = tf.reduce_mean(tf.abs(cosines))
                _scalar(f"layer_alignment/{name}", mean, "layer_alignment")
            last = alignments.get(self.model.body[-1].name)
            if last is not None:
                self._write_last_layer(last.numpy())
        self.flush()

    def _write_maps(self, explanation):
        """A card for every `rows` images; all have as many, so that cards have one size."""
        logits = explanation.logits.astype("float64")
        chances = np.take_along_axis(expit(logits), explanation.class_ids, axis=1)
        names = [[self.class_names[label] for label in row] for row in explanation.class_ids]
        for card, start in enumerate(range(0, len(self.images), self.rows), start=1):
            part = slice(start, start + self.rows)
            columns = [
                Column(
                    title,
                    explanation.contribution_map[part, which],
                    [f"{n[which]}, {c[which]:.2f}" for n, c in zip(names[part], chances[part])],
                )
                for which, title in enumerate(["true class", "strongest other"])
            ]
            weights = figures.weights_rgb(explanation.weights[part, 0])
            columns.append(Column("weights", weights, pictures=True))
            figure = figures.map_table(self.images[part], columns, scale=self.scale, panel=0.95)
            picture = figures.figure_rgb(figure)[None]
            tag, description = f"contribution_maps/{card}", DESCRIPTIONS["contribution_maps"]
            tf.summary.image(tag, picture, description=description)

    def _write_last_layer(self, cosines):
        by_class = cosines.mean(axis=(1, 2))
        own = np.arange(by_class.shape[1]) == self.labels[:, None]
        for name, chosen in (("true_class", own), ("other_classes", ~own)):
            if chosen.any():
                tag = f"last_layer_alignment/{name}"
                _scalar(tag, by_class[chosen].mean(), tag)


class ExplanationTensors:
    """Writes how a net explains a fixed set of images, for the tab "Explanations".

    Args:
        net: a `CoDANet`.
        images: `(N, H, W, 3)` in [0, 1].
        labels: `(N,)` integers.
        class_names: names of the classes.
        max_bytes: int, bound on a step, as for `write_view`.
    """

    def __init__(
        self,
        net: Any,
        images: np.ndarray,
        labels: np.ndarray,
        class_names: Sequence[str],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        images = np.asarray(images, "float32")
        pixels = int(np.prod(images.shape[1:3]))
        channels = CHANNELS * len(net.body)
        self.room = room(max_bytes, len(images), len(class_names), pixels, channels, WEIGHTS)
        self.net, self.class_names, self.max_bytes = net, class_names, max_bytes
        self.images, self.labels = images[: self.room.images], labels[: self.room.images]
        self._explain = tf.function(lambda i, c: vars(net.explain(i, c)), autograph=False)

    def write(self, logits: np.ndarray, step: int) -> None:
        """Explains and writes a step with the default writer.

        Args:
            logits: `(N, classes)`, those of the images.
            step: int.
        """
        logits = logits[: self.room.images]
        ids = ranked_classes(logits, self.labels)[:, : self.room.classes]
        explanation = Explanation(**self._explain(self.images, tf.constant(ids, tf.int32)))
        layers = []
        if self.room.layers:
            layers = [strongest_channels(self.net, self.images, logits.argmax(axis=1), CHANNELS)]
        view = explanation_view(
            explanation, self.images, self.class_names, labels=self.labels, layers=layers, title=TAG
        )
        write_view(TAG, view, step, self.max_bytes)


def ranked_classes(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the classes of every image `(N, classes)`: the true one, then by falling logit.

    Example:

    >>> ranked_classes(np.array([[0.5, 2.0, 1.0]]), np.array([0])).tolist()
    [[0, 1, 2]]
    """
    raised = np.array(logits, "float64")
    np.put_along_axis(raised, np.asarray(labels)[:, None], np.inf, axis=1)
    return np.argsort(-raised, axis=1, kind="stable")


def _scalar(tag, value, described):
    tf.summary.scalar(tag, value, description=DESCRIPTIONS[described])
