"""A trained model under study: its outputs on the test set, its methods, its maps."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import attribution, backend
from coda_keras.attribution.base import Attribution
from coda_keras.evaluation import (
    Grids,
    make_grids,
    most_confident,
    note_of_missing,
    probabilities,
)
from coda_keras.evaluation.metric import Attribute, Rows
from coda_keras.explanation.explanation import is_inherent
from coda_keras.layers.encoding import encode
from coda_keras.models.loading import check_fits, load_model, weight_bytes
from coda_keras.models.resnet import with_image_size
from coda_keras.study.cache import collect
from coda_keras.study.code_digests import common_code, digest, room_code
from coda_keras.study.errors import Missing
from coda_keras.study.images import Indices, StudyData, slices
from coda_keras.study.methods import Remembered, applicable, source_method
from coda_keras.study.settings import Settings
from coda_keras.utils.arguments import names

LOGITS_PER_SLICE = 1000


class Subject:
    """A model and the test images.

    Args:
        model: path of a `.keras` file, or a built Keras model.
        name: str, unique in the study.
        data: `StudyData`, the test images of the study.
        settings: `Settings`.
        folder: path of the study's partial results.
        methods: names of methods to study the model by; those that do not apply to it are left
            out, and those whose package is missing or that cannot take it if `settings` names no
            methods.

    Attributes:
        images: `FloatImages` `(N, H, W, 3)`, float32 in [0, 1], the test images; parts of them
            are read when they are asked for.
        labels: `(N,)`.
        logits: `(N, classes)`.
        accuracy: float, on these images.
        inherent: bool, whether the model explains itself.
        names: list of the methods.
        left_out: dict from methods that need a package or cannot take the model to a sentence
            about it.
        folder: path of its partial results.

    Raises:
        ValueError: if the file is missing or no model, the data does not fit it, or a named
            method's package is missing or it cannot take the model.
    """

    def __init__(
        self,
        model: str | Path | keras.Model,
        name: str,
        data: StudyData,
        settings: Settings,
        folder: Path,
        methods: Sequence[str],
    ) -> None:
        self.name = name
        self.settings = settings
        self.class_names = data.class_names
        self.images = data.images
        self.labels = data.labels
        self.path = None if isinstance(model, keras.Model) else Path(model)
        self.model: Any = load_model(self.path) if self.path else model
        check_fits(self.model, str(self.path or name), self.images, len(self.class_names))
        self.inherent = is_inherent(self.model)
        self.activation = "sigmoid" if self.inherent else settings.baseline_activation
        self.folder = folder / name
        self._made = {}
        self._remembered: tuple[str | None, Any] = None, None
        self._grids = {}
        self.names, self.left_out = applicable(
            methods, self.inherent, settings.methods is not None, self._refusal
        )
        # Everything that any number about this model depends on.
        self.identity = {
            "model": digest(self.path.read_bytes() if self.path else weight_bytes(self.model)),
            "images": data.digest,
            "activation": self.activation,
            "backend": f"{backend.NAME}, keras {keras.__version__}",
            "code": common_code(),
        }
        collect_logits = self.collector("logits", "all", {})
        count = len(self.images)
        self.logits = collect_logits(count, LOGITS_PER_SLICE, self._logits, "logits")["logits"]
        self.accuracy = float(np.mean(self.logits.argmax(-1) == self.labels))

    def __str__(self) -> str:
        return str(self.path or self.name)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled, which another process makes for itself."""
        state = {**vars(self), "_made": {}, "_remembered": (None, None)}
        return {name: state[name] for name in state if name not in ("predict", "grid_model")}

    @property
    def temperature(self) -> float | None:
        return getattr(self.model, "temperature", None)

    @cached_property
    def predict(self) -> Callable[..., Any]:
        """The model as a compiled function of NumPy arrays."""
        # Not `Model.predict`: having seen three channels and six, it compiles for any number.
        return backend.compiled(lambda images: self.model(images, training=False), self.model)

    @cached_property
    def grid_model(self) -> keras.Model:
        """The model for multi-images: a CoDA-Net itself, else its layers for any size."""
        return self.model if self.inherent else with_image_size(self.model, None)

    def grids(self, count: int, n: int, seed: int, activation: str, rule: str) -> Grids:
        """Makes the multi-images of the localisation metric; arguments of `make_grids`."""
        if n**2 > len(self.class_names):
            raise ValueError(
                f"Multi-images of grid size {n} need {n**2} classes, the data has "
                f"{len(self.class_names)}."
            )
        # Every slice of every method asks for them.
        key = count, n, seed, activation, rule
        if key not in self._grids:
            try:
                self._grids[key] = make_grids(
                    self.images, self.logits, self.labels, count, n, seed, activation, rule=rule
                )
            except ValueError as error:
                raise ValueError(f"{self}: {error}") from error
        return self._grids[key]

    @property
    def first_grid(self) -> Grids:
        """The first multi-image.

        Raises:
            Missing: if the model is confident of too few images; the message says so.
        """
        localisation: Any = self.settings.metric("localisation", self.activation)
        try:
            return localisation.grids(self, 1)
        except ValueError as error:
            raise Missing(str(error)) from error

    def source(self, name: str) -> str:
        """The method whose maps are those of `name` on this model."""
        return source_method(name, self.inherent)

    def label(self, name: str) -> str:
        """What a method is called in tables about this model."""
        label = attribution.find(name).label
        source = self.source(name)
        return label if source == name else f"{label} (= {attribution.find(source).label})"

    def method(self, name: str, images_a_call: int = 1) -> Attribution:
        """The method object, compiled once for images and once for multi-images."""
        key = self.source(name), images_a_call
        if key not in self._made:
            batch_size = max(1, self.settings.batch_size // images_a_call)
            arguments = self.method_arguments(key[0])
            self._made[key] = attribution.get(key[0], batch_size=batch_size, **arguments)
        return self._made[key]

    def remembered(self, name: str) -> Attribute:
        """The method for images, computing the map of an image and class once.

        Most metrics ask for the same maps. Those of one method are kept at a time. Not for a model
        whose weights change.
        """
        source = self.source(name)
        if self._remembered[0] != source:
            self._remembered = source, Remembered(self.method(source))
        return self._remembered[1]

    def method_arguments(self, name: str) -> dict[str, Any]:
        """What the maps of a method depend on besides model and images."""
        row = attribution.find(name)
        common = {"activation": self.activation, "seed": self.settings.seed}
        taken = {key: common[key] for key in names(row.make) if key in common}
        return {**taken, **self.settings.method_arguments.get(row.family or row.name, {})}

    def method_identity(self, name: str) -> dict[str, Any]:
        """The same with all that tells the method, for `collector`."""
        row = attribution.find(self.source(name))
        arguments = {**row.arguments, **self.method_arguments(row.name)}
        code = room_code(row.make.__module__)
        return {"method": row.make.__name__, "method_code": code, **arguments}

    def maps(self, name: str, indices: Indices) -> np.ndarray:
        """Maps `(n, H, W)` of test images for their classes; expensive methods keep theirs."""
        method = self.method(name)

        def compute(chosen):
            return method(self.model, self.images[chosen], self.labels[chosen])

        if attribution.find(name).cost != "sampling":
            return compute(indices)
        maps = []
        for index in indices:
            arguments = {**self.method_identity(name), "index": int(index)}
            parts = self.collector("maps", name, arguments)(
                total=1,
                step=1,
                compute=lambda start, stop, index=index: {"maps": compute([index])},
                label=f"map by {method.label}",
            )
            maps.append(parts["maps"])
        return np.concatenate(maps)

    def confident(self, per_class: int = 1) -> np.ndarray:
        """Indices of the most confident correctly classified test images, by class."""
        return np.concatenate(
            most_confident(self.logits, self.labels, per_class, activation=self.activation)
        )

    def note_of_missing(self, indices: Indices) -> str:
        """A sentence about the classes that have no image among these; empty if there are none."""
        return note_of_missing(self.labels[indices], self.class_names)

    def captions(self, indices: Indices) -> list[str]:
        """Class and probability of test images."""
        chances = probabilities(self.logits[indices], self.activation)
        labels = self.labels[indices]
        return [f"{self.class_names[k]}, {chance[k]:.2f}" for k, chance in zip(labels, chances)]

    def collector(self, kind: str, method: str, arguments: dict[str, Any]) -> partial[Rows]:
        """`cache.collect` for numbers about this model, to be called with its other arguments."""
        return partial(collect, self.folder / kind / method, {**self.identity, **arguments})

    def _refusal(self, name):
        """Why a method cannot take the model, or None."""
        method, images = self.method(name), np.zeros((1, *self.images.shape[1:]), "float32")
        if self.inherent:
            images = ops.convert_to_numpy(encode(images))
        try:
            method.prepare(self.model, images)
        except ValueError as error:
            return str(error)
        return None

    def _logits(self, start, stop):
        size = self.settings.batch_size
        batches = slices(start, stop, size)
        return {"logits": np.concatenate([self.predict(self.images[batch]) for batch in batches])}
