"""How a net explains some images while it learns, in TensorBoard."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy.special import expit

from coda_keras import figures
from coda_keras.explanation.channels import strongest_channels
from coda_keras.explanation.display import explanation_view
from coda_keras.explorer.storage import room
from coda_keras.figures import Column
from coda_keras.layers.encoding import encode
from coda_keras.tensorboard.drawing import Pace
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
    """How the net explains a fixed set of images, while it learns.

    Writes `contribution_maps` (every image beside the maps of its class and of the strongest other
    class, and the weights of its class as `figures.weights_rgba` colours them; a card for every
    few images) and the contributions to all their logits as numbers for the tab Explanations, both
    after the first epoch, the last, and others as long as they take little time (see `EpochBoard`).
    After every epoch `completeness_residual` (the largest
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
        pace: as for `EpochBoard`.

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
        pace: Pace | None = None,
    ) -> None:
        super().__init__(log_dir, pace)
        self.images = np.asarray(images, "float32")
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
        pixels = int(np.prod(self.images.shape[1:3]))
        channels = CHANNELS * len(model.body)
        names = self.class_names
        # Of how many images and classes the tab gets maps.
        self._room = room(MAX_BYTES, len(self.images), len(names), pixels, channels, WEIGHTS)

        @tf.function(autograph=False, reduce_retracing=True)
        def explain(images, labels, count):
            logits = model(images, training=False)
            own = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False, dtype=bool)
            ranked = tf.argsort(-tf.where(own, logits.dtype.max, logits), axis=-1, stable=True)
            explanation = model.explain(images, ranked[:, :count])
            alignments, outputs = {}, encode(images)
            for layer in model.body:
                if hasattr(layer, "alignment"):
                    alignments[layer.name] = layer.alignment(outputs)
                outputs = layer(outputs)
            return explanation, alignments

        self._explain = explain

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        # Their own class and the strongest other.
        self._explanation, cosines = self._explained(slice(None), 2)
        # Made here: a thread must not.
        self.writer("explanations")
        self.draw_if_due(epoch)
        self._drawing.begin(self._write_numbers, self._explanation, cosines, epoch)

    def draw(self, epoch: int) -> None:
        part = slice(0, self._room.images)
        images, labels = self.images[part], self.labels[part]
        explanation, _ = self._explained(part, self._room.classes)
        layers = []
        if self._room.layers:
            predicted = explanation.logits.argmax(axis=1)
            layers = [strongest_channels(self.model, images, predicted, CHANNELS)]
        view = explanation_view(
            explanation, images, self.class_names, labels=labels, layers=layers, title=TAG
        )
        self.in_thread(self._write_pictures, self._explanation, view, epoch)

    def _explained(self, part, count):
        """The explanation of some images, `count` classes each, the true one first; cosines."""
        labels = self.labels[part].astype("int32")
        explanation, alignments = self._explain(self.images[part], labels, tf.constant(count))
        cosines = {name: values.numpy() for name, values in alignments.items()}
        return explanation.numpy(), cosines

    def _write_numbers(self, explanation, cosines, epoch):
        with self.writer("explanations").as_default(step=epoch):
            error = explanation.completeness_error.max()
            _scalar("completeness_residual", error, "completeness_residual")
            for name, values in cosines.items():
                tag, description = f"layer_cosines/{name}", DESCRIPTIONS["layer_cosines"]
                tf.summary.histogram(tag, values, description=description)
                _scalar(f"layer_alignment/{name}", np.abs(values).mean(), "layer_alignment")
            last = cosines.get(self.model.body[-1].name)
            if last is not None:
                self._write_last_layer(last)
        self.flush()

    def _write_pictures(self, explanation, view, epoch):
        with self.writer("explanations").as_default(step=epoch):
            self._write_maps(explanation)
            write_view(TAG, view, epoch)
        self.flush()

    def _write_maps(self, explanation):
        """A card for every `rows` images; all have as many, so that cards have one size."""
        logits = explanation.logits.astype("float64")
        chances = np.take_along_axis(expit(logits), explanation.class_ids, axis=1)
        names = [[self.class_names[label] for label in row] for row in explanation.class_ids]
        # A net of one class has no other.
        titles = ["true class", "strongest other"][: logits.shape[1]]
        for card, start in enumerate(range(0, len(self.images), self.rows), start=1):
            part = slice(start, start + self.rows)
            columns = [
                Column(
                    title,
                    explanation.contribution_map[part, which],
                    [f"{n[which]}, {c[which]:.2f}" for n, c in zip(names[part], chances[part])],
                )
                for which, title in enumerate(titles)
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


def _scalar(tag, value, described):
    tf.summary.scalar(tag, value, description=DESCRIPTIONS[described])
