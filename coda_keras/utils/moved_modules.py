"""Where the modules of 0.2.0 went, told to whoever imports them by their old names."""

import sys
from collections.abc import Sequence

PACKAGE = "coda_keras"

# Old names and new ones, below `coda_keras`.
MODULES = {
    "alignment": "layers.alignment",
    "annealing": "training.annealing",
    "arguments": "utils.arguments",
    "array_batches": "data.numpy_batches",
    "baselines": "models.resnet",
    "batches": "explanation.dataset",
    "channels": "explanation.channels",
    "checks": "utils.checks",
    "cifar10_files": "data.cifar10",
    "class_ids": "explanation.class_ids",
    "confusion": "training.confusion",
    "dau": "layers.dau",
    "dynamic_linear": "layers.dynamic_linear",
    "encoding": "layers.encoding",
    "examples": "data.examples",
    "explorer.plugin": "tensorboard.plugin",
    "factored": "layers.factored",
    "files": "utils.files",
    "growth": "models.growth",
    "image_files": "data.image_files",
    "image_folder": "data.image_folder",
    "image_store": "data.image_store",
    "inner": "explanation.layer",
    "interpretation": "study",
    "net": "models.coda_net",
    "optimizers": "training.optimizers",
    "patches": "layers.patches",
    "pictures": "explanation.display",
    "precision": "models.precision",
    "presets": "models.presets",
    "provenance": "utils.provenance",
    "regularisation": "models.map_penalty",
    "rescale": "layers.rescale",
    "schedules": "training.schedules",
    "switch": "backend.value_checks",
    "trained": "models.pretrained",
    "training.commands": "utils.command_line",
    "training.endings": "training.interruption",
    "training.epochs": "training.loop",
    "training.folder": "training.run_folder",
    "training.pipeline": "data.augmentation",
    "training.plain": "training.loop",
    "training.run": "training.loop",
    "training.watch": "training.interruption",
    "tf.augmentation": "data.tf_augmentation",
    "tf.board": "tensorboard.summaries",
    "tf.data": "data.tf_batches",
    "tf.decoding": "data.tf_decoding",
    "tf.deeplift": "attribution.tf_deeplift",
    "tf.distribution": "training.tf_distribution",
    "tf.explanation_board": "tensorboard.explanation_board",
    "tf.explanations": "tensorboard.summaries",
    "tf.records": "data.tf_records",
    "tf.signatures": "exporting.signatures",
    "tf.steps": "training.tf_steps",
    "tf.summaries": "tensorboard.callbacks",
    "tf.tiny_imagenet": "data.tiny_imagenet",
    "tf.training_board": "tensorboard.callbacks",
    "tf.workers": "training.tf_workers",
    "tf.writers": "tensorboard.summaries",
}
# Names that left a module which stayed.
NAMES = {"explorer.from_explanation": "explanation.display.explanation_view"}
# Modules whose names packages have now, and what they held.
CONTENTS = {"data": "data.images", "explanation": "explanation.explanation"}


def message(name: str) -> str:
    """What there is to say of a name that went; empty for any other name.

    >>> message("coda_keras.image_files")
    'coda_keras.image_files is coda_keras.data.image_files since 0.3.0.'
    """
    package, _, below = name.partition(".")
    if package != PACKAGE:
        return ""
    new = MODULES.get(below) or NAMES.get(below)
    if new:
        return f"{name} is {PACKAGE}.{new} since 0.3.0."
    parent = below.rpartition(".")[0]
    if parent in CONTENTS:
        home = f"{PACKAGE}.{CONTENTS[parent]}"
        return f"There is no {name}. The module {PACKAGE}.{parent} is {home} since 0.3.0."
    parts = [old for old in MODULES if old.startswith(f"{below}.")]
    if parts:
        went = ", ".join(f"{old} is {MODULES[old]}" for old in parts)
        return f"There is no {name} since 0.3.0: below {PACKAGE} {went}."
    return ""


class _Finder:
    """Is asked last, for modules that nobody has found."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        reason = message(name)
        if reason:
            # Without `name=`, by which `from coda_keras import ...` would hide the message.
            raise ModuleNotFoundError(reason)


_FINDER = _Finder()


def install() -> None:
    """Makes imports of the old names fail with the new ones in the message."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)
