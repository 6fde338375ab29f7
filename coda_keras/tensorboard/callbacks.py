"""What a training run shows in TensorBoard.

A run's folder holds, one step an epoch:

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

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from numpy.typing import ArrayLike

from coda_keras.tensorboard.explanation_board import ExplanationBoard as ExplanationBoard
from coda_keras.tensorboard.training_board import TrainingBoard as TrainingBoard


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
    callbacks = [TrainingBoard(log_dir, batch_size, arguments, class_names)]
    if images is not None:
        callbacks.append(ExplanationBoard(log_dir, images, labels, class_names))
    return callbacks
