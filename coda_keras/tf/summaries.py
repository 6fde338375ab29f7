"""What a training run shows in TensorBoard.

A run's folder holds, one step an epoch:

    .               the run's arguments (hparams) and the graph of the net, once
    train           epoch_loss, epoch_accuracy, epoch_learning_rate, epoch_images_per_second
    validation      epoch_loss, epoch_accuracy
    explanations    contributions, contribution_maps, completeness_residual, alignment of every
                    layer

The names are those of `keras.callbacks.TensorBoard`, whose per-batch hooks would make every
training step wait for its metrics. Epochs keep their number across an interruption; of one
that is trained again TensorBoard shows the newer values.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy.special import expit
from tensorboard.plugins.hparams import api as hp
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.summary import session_end_pb

from coda_keras import figures
from coda_keras.encoding import encode
from coda_keras.explanation import Explanation
from coda_keras.tf.explanations import ExplanationTensors

METRIC = "epoch_accuracy"


def tensorboard_callbacks(
    log_dir: str | Path,
    images: ArrayLike | None,
    labels: ArrayLike | None,
    class_names: Sequence[str],
    images_per_epoch: int,
    arguments: Mapping[str, Any],
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that fill the TensorBoard folder of a run.

    Give them to `fit` before `keras.callbacks.BackupAndRestore`: an interruption between the
    two then repeats an epoch in TensorBoard instead of losing it.

    Args:
        log_dir: path of the run's folder.
        images, labels, class_names: as for `ExplanationBoard`; `images=None` leaves explanations
            out, for classifiers that have none.
        images_per_epoch, arguments: as for `TrainingBoard`.
    """
    callbacks = [TrainingBoard(log_dir, images_per_epoch, arguments)]
    if images is not None:
        callbacks.append(ExplanationBoard(log_dir, images, labels, class_names))
    return callbacks


class _Board(keras.callbacks.Callback):
    """Writes summaries below `log_dir`; event files appear with their first summary."""

    def __init__(self, log_dir: str | Path) -> None:
        super().__init__()
        self.log_dir = Path(log_dir)
        self._writers = {}

    def writer(self, name: str) -> tf.summary.SummaryWriter:
        if name not in self._writers:
            self._writers[name] = tf.summary.create_file_writer(str(self.log_dir / name))
        return self._writers[name]

    def flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


class TrainingBoard(_Board):
    """Scalars of every epoch, and once the run's arguments and the graph of the net.

    Args:
        log_dir: path of the run's folder.
        images_per_epoch: int, training images in an epoch, for `epoch_images_per_second`; its
            time excludes validation, and includes compilation in the first epoch.
        arguments: dict of the run's arguments, shown under HPARAMS.
    """

    def __init__(
        self, log_dir: str | Path, images_per_epoch: int, arguments: Mapping[str, Any]
    ) -> None:
        super().__init__(log_dir)
        self.images_per_epoch = images_per_epoch
        self.arguments = {name: _shown(value) for name, value in arguments.items()}

    def on_train_begin(self, logs: dict | None = None) -> None:
        if any(self.log_dir.glob("events.out.tfevents.*")):
            return
        with self.writer(".").as_default(step=0):
            hp.hparams_config(
                hparams=[hp.HParam(name) for name in self.arguments],
                metrics=[
                    hp.Metric(METRIC, "validation", display_name="validation accuracy"),
                    hp.Metric("epoch_loss", "validation", display_name="validation loss"),
                ],
            )
            hp.hparams(self.arguments, trial_id=str(self.log_dir))
            tf.summary.graph(self._graph())
        self.flush()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begin = time.perf_counter()
        self._end = None

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._end = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = (self._end or time.perf_counter()) - self._begin
        series = {"train": {}, "validation": {}}
        for name, value in (logs or {}).items():
            run = "validation" if name.startswith("val_") else "train"
            series[run][name.removeprefix("val_")] = value
        learning_rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        series["train"]["learning_rate"] = learning_rate
        series["train"]["images_per_second"] = self.images_per_epoch / seconds
        for run, scalars in series.items():
            for name, value in scalars.items():
                with self.writer(run).as_default(step=epoch):
                    tf.summary.scalar(f"epoch_{name}", value)
        self.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        with self.writer(".").as_default(step=0):
            ended = session_end_pb(api_pb2.STATUS_SUCCESS)
            tf.summary.experimental.write_raw_pb(ended.SerializeToString())
        super().on_train_end(logs)

    def _graph(self):
        # A function of its own: `tf.function(net)` would cache the trace on the net.
        @tf.function(autograph=False)
        def predict(images):
            # Past `__call__`, whose name scope would hide the layers in a single box.
            return self.model.call(images)

        size = getattr(self.model, "image_size", None) or (None, None)
        return predict.get_concrete_function(tf.TensorSpec((None, *size, 3))).graph


class ExplanationBoard(_Board):
    """How the net explains a fixed set of images, after every epoch.

    Writes `contribution_maps` (every image beside the maps of its true and its predicted class,
    on one scale, and the weights of its true class as `figures.weights_rgba` colours them), the
    same as numbers for the tab Explanations (`coda_keras.tf.explanations`),
    `completeness_residual` (the largest `Explanation.completeness_error` of the true classes), and
    for every layer the cosine between w(x) and the patch, which training drives up:
    `alignment/<layer>` as histogram over images, positions and units, `mean_alignment/<layer>`.

    Args:
        log_dir: path of the run's folder.
        images: `(N, H, W, 3)` in [0, 1], a few validation images.
        labels: `(N,)` integers.
        class_names: names of the classes, by class id.
        columns: int, images in a row.

    Raises:
        ValueError: if images, labels and class names do not fit.
    """

    def __init__(
        self,
        log_dir: str | Path,
        images: ArrayLike,
        labels: ArrayLike,
        class_names: Sequence[str],
        columns: int = 2,
    ) -> None:
        super().__init__(log_dir)
        self.images = np.asarray(images)
        self.labels = np.asarray(labels)
        self.class_names = list(class_names)
        self.columns = columns
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

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)

        @tf.function(autograph=False)
        def explain(images, labels):
            true, predicted = model.explain(images, labels), model.explain(images)
            alignments, outputs = {}, encode(images)
            for layer in model.body:
                if hasattr(layer, "alignment"):
                    alignments[layer.name] = layer.alignment(outputs)
                outputs = layer(outputs)
            return vars(true), vars(predicted), alignments

        self._explain = explain
        self._tensors = ExplanationTensors(model, self.images, self.labels, self.class_names)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        true, predicted, alignments = self._explain(self.images, self.labels)
        true, predicted = (Explanation(**fields).numpy() for fields in (true, predicted))
        with self.writer("explanations").as_default(step=epoch):
            figure = self._gallery(true, predicted)
            tf.summary.image("contribution_maps", figures.figure_rgb(figure)[None])
            tf.summary.scalar("completeness_residual", true.completeness_error.max())
            self._tensors.write(true.logits, epoch)
            for name, cosines in alignments.items():
                tf.summary.histogram(f"alignment/{name}", cosines)
                tf.summary.scalar(f"mean_alignment/{name}", tf.reduce_mean(cosines))
        self.flush()

    def _gallery(self, true, predicted):
        rows = np.arange(len(self.labels))
        chance = expit(true.logits.astype("float64"))
        titles = [
            f"true {self.class_names[label]} {chance[row, label]:.2f}, "
            f"predicted {self.class_names[guess]} {chance[row, guess]:.2f}"
            for row, label, guess in zip(rows, self.labels, predicted.class_ids)
        ]
        maps = np.stack([true.contribution_map, predicted.contribution_map], axis=1)
        return figures.gallery(
            self.images, maps, titles, columns=self.columns, weights=true.weights
        )


def _shown(value):
    """Brings an argument to a type that the hparams plugin takes."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)
