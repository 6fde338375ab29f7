"""What a training run shows in TensorBoard.

A run's folder holds, one step an epoch, of pictures and of maps as numbers only as many steps as
take little of the training's time:

    .               the run's arguments (hparams), their metrics, and once the graph of the net
    train           epoch_loss, epoch_accuracy, epoch_learning_rate, epoch_images_per_second
    validation      epoch_loss, epoch_accuracy, epoch_recall/<class>, confusion_matrix
    explanations    contributions, for the tab Explanations; contribution_maps,
                    completeness_residual, layer_alignment, layer_cosines, last_layer_alignment

Every tag has a description, which TensorBoard shows beside its name. TensorBoard orders cards by
tag: accuracy and maps come before the many of the layers. The names `epoch_...` are those of
`keras.callbacks.TensorBoard`, whose per-batch hooks would make every training step wait for its
metrics. Epochs keep their number across an interruption; of one that is trained again TensorBoard
shows the newer values.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorboard.plugins.hparams import api as hp
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.summary import session_end_pb

from coda_keras import figures
from coda_keras.tensorboard.drawing import Pace
from coda_keras.tensorboard.explanation_board import ExplanationBoard as ExplanationBoard
from coda_keras.tensorboard.summaries import EpochBoard

DESCRIPTIONS = {
    "epoch_accuracy": "Share of the images whose largest logit is that of their class.",
    "epoch_loss": "Binary cross-entropy of the sigmoids of all logits, averaged over classes and "
    "images (one-vs-all, Section 3.2).",
    "epoch_learning_rate": "The optimiser's rate at the end of the epoch.",
    "epoch_images_per_second": "Training images over the time of an epoch without its validation; "
    "the first epoch includes compilation.",
    "epoch_recall": "Accuracy by class: the share of the validation images of a class that are "
    "recognised.",
    "confusion_matrix": "Of the validation images of every class (rows), the share by predicted "
    "class (columns).",
    "hparams/accuracy": "Accuracy on the validation images, for the tab HPARAMS.",
    "hparams/loss": "Loss on the validation images, for the tab HPARAMS.",
}
# In the order of the table; whatever else a run has follows.
FIRST_ARGUMENTS = (
    *("preset", "temperature", "rank_scale", "rescale", "learning_rate", "batch_size", "epochs"),
    *("schedule", "halve_every", "randaugment", "cutout", "precision", "seed", "replicas"),
)
# Of more classes there is one histogram instead of a curve each.
MOST_CURVES = 50


def tensorboard_callbacks(
    log_dir: str | Path,
    images: ArrayLike | None,
    labels: ArrayLike | None,
    class_names: Sequence[str],
    batch_size: int,
    arguments: Mapping[str, Any],
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that fill the TensorBoard folder of a run.

    Give them to `fit` before `keras.callbacks.BackupAndRestore`: an interruption between the
    two then repeats an epoch in TensorBoard instead of losing it.

    Args:
        log_dir: path of the run's folder.
        images, labels, class_names: as for `ExplanationBoard`; `images=None` leaves explanations
            out, for classifiers that have none.
        batch_size, arguments: as for `TrainingBoard`.
    """
    pace = Pace()
    callbacks = [TrainingBoard(log_dir, batch_size, arguments, class_names, pace)]
    if images is not None and labels is not None:
        callbacks.append(ExplanationBoard(log_dir, images, labels, class_names, pace=pace))
    return callbacks


class TrainingBoard(EpochBoard):
    """Scalars of every epoch, and once the run's arguments and the graph of the net.

    Of a net that was compiled with a metric that has `counts` `(classes, classes)`, by true and
    predicted class, such as `ConfusionAccuracy`, also `epoch_recall`, the accuracy by class, and
    `confusion_matrix` of the validation images.

    Args:
        log_dir: path of the run's folder.
        batch_size: int, images per step, for `epoch_images_per_second`; its time excludes
            validation, and includes compilation in the first epoch.
        arguments: dict of the run's arguments, shown under HPARAMS; paths, limits and those that
            are None are left out.
        class_names: names of the classes, or None for their numbers.
        pace: as for `EpochBoard`.
    """

    def __init__(
        self,
        log_dir: str | Path,
        batch_size: int,
        arguments: Mapping[str, Any],
        class_names: Sequence[str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(log_dir, pace)
        self.batch_size = batch_size
        self.arguments = _shown(arguments)
        self.class_names = class_names
        self._counts = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        if any(self.log_dir.glob("events.out.tfevents.*")):
            return
        # TensorBoard sorts by these names, and shows the display names.
        numbered = {
            f"{number:02d} {name}": value
            for number, (name, value) in enumerate(self.arguments.items(), start=1)
        }
        with self.writer(".").as_default(step=0):
            hp.hparams_config(
                hparams=[hp.HParam(key, display_name=key[3:]) for key in numbered],
                metrics=[
                    hp.Metric("hparams/accuracy", display_name="validation accuracy"),
                    hp.Metric("hparams/loss", display_name="validation loss"),
                ],
            )
            hp.hparams(numbered, trial_id=str(self.log_dir))
            tf.summary.graph(self._graph())
        self.flush()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begin = time.perf_counter()
        self._end = None
        self._counts = None

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._end = time.perf_counter()

    def on_test_end(self, logs: dict | None = None) -> None:
        for entry in self.model.metrics:
            for metric in getattr(entry, "metrics", [entry]):
                counts = getattr(metric, "counts", None)
                if counts is not None:
                    self._counts = keras.ops.convert_to_numpy(counts)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = (self._end or time.perf_counter()) - self._begin
        learning_rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        series = {
            "train": {
                "epoch_learning_rate": learning_rate,
                "epoch_images_per_second": self.batch_size * self.params["steps"] / seconds,
            },
            "validation": {},
            ".": {},
        }
        for name, value in (logs or {}).items():
            run = "validation" if name.startswith("val_") else "train"
            name = name.removeprefix("val_")
            series[run][f"epoch_{name}"] = value
            # HPARAMS finds metrics in the run's own folder alone, whatever folder is shown.
            if run == "validation" and f"hparams/{name}" in DESCRIPTIONS:
                series["."][f"hparams/{name}"] = value
        for run, scalars in series.items():
            for name, value in scalars.items():
                with self.writer(run).as_default(step=epoch):
                    tf.summary.scalar(name, value, description=DESCRIPTIONS.get(name))
        if self._counts is not None:
            with self.writer("validation").as_default(step=epoch):
                self._write_classes(self._counts)
        self.draw_if_due(epoch)
        self.flush()

    def draw(self, epoch: int) -> None:
        if self._counts is not None:
            self.in_thread(self._draw_confusion, self._counts, epoch)

    def on_train_end(self, logs: dict | None = None) -> None:
        with self.writer(".").as_default(step=0):
            ended = session_end_pb(api_pb2.STATUS_SUCCESS)
            tf.summary.experimental.write_raw_pb(ended.SerializeToString())
        super().on_train_end(logs)

    def _write_classes(self, counts):
        names = self._names(counts)
        images = counts.sum(axis=1)
        there = images > 0
        accuracies = np.diag(counts)[there] / images[there]
        description = DESCRIPTIONS["epoch_recall"]
        if len(names) > MOST_CURVES:
            tf.summary.histogram("epoch_recall", accuracies, description=description)
        else:
            for label, accuracy in zip(np.flatnonzero(there).tolist(), accuracies):
                tag = f"epoch_recall/{names[label]}"
                tf.summary.scalar(tag, accuracy, description=description)

    def _draw_confusion(self, counts, epoch):
        picture = figures.figure_rgb(figures.confusion_matrix(counts, self._names(counts)))
        writer, description = self.writer("validation"), DESCRIPTIONS["confusion_matrix"]
        with writer.as_default(step=epoch):
            tf.summary.image("confusion_matrix", picture[None], description=description)
        writer.flush()

    def _names(self, counts):
        return self.class_names or [str(label) for label in range(len(counts))]

    def _graph(self):
        # A function of its own: `tf.function(net)` would cache the trace on the net.
        @tf.function(autograph=False)
        def predict(images):
            # Past `__call__`, whose name scope would hide the layers in a single box.
            return self.model.call(images)

        size = getattr(self.model, "image_size", None) or (None, None)
        graph = predict.get_concrete_function(tf.TensorSpec((None, *size, 3))).graph
        return _with_names_of_layers(graph.as_graph_def(), self.model.layers)


def _with_names_of_layers(graph, layers):
    """A `GraphDef` whose scopes are called as the layers, where Keras has numbered them all."""
    scopes = {node.name.partition("/")[0] for node in graph.node}
    names = {f"{layer.name}_1": layer.name for layer in layers}
    if not names.keys() <= scopes:
        return graph

    def renamed(name):
        prefix = "^" * name.startswith("^")
        scope, slash, rest = name.removeprefix("^").partition("/")
        return prefix + names.get(scope, scope) + slash + rest

    for node in graph.node:
        node.name = renamed(node.name)
        node.input[:] = [renamed(name) for name in node.input]
    return graph


def _shown(arguments):
    """The arguments that tell runs apart, of types that the hparams plugin takes."""
    names = [name for name in FIRST_ARGUMENTS if name in arguments]
    names += [name for name in arguments if name not in names]
    return {
        name: value if isinstance(value, (bool, int, float, str)) else str(value)
        for name in names
        if not name.startswith("limit") and name != "data"
        for value in [arguments[name]]
        if value is not None and not isinstance(value, Path)
    }
