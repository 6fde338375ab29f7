"""A trained model under study: its outputs on the test set, its methods, its maps."""

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from coda_keras import __version__
from coda_keras.attribution.evaluate import compiled
from coda_keras.baselines.resnet import with_image_size
from coda_keras.evaluation import make_grids, probabilities
from coda_keras.figures import most_confident
from coda_keras.interpretation import methods, parts


class Study:
    """A model and the test images.

    Args:
        path: path of a `.keras` file.
        name: str, unique among the studies.
        names: methods to study the model by; those that do not apply to it are left out.
        args: the parsed flags.
        data: `ImageData`.

    Attributes:
        images: `(N, H, W, 3)` float32 in [0, 1], the test images.
        labels: `(N,)`.
        logits: `(N, classes)`.
        accuracy: float, on these images.
        inherent: bool, whether the model explains itself.
    """

    def __init__(self, path, name, names, args, data):
        self.path = Path(path)
        self.name = name
        self.args = args
        self.class_names = data.class_names
        self.images = data.test_images.astype("float32") / 255.0
        self.labels = data.test_labels
        self.model = load(self.path)
        self.inherent = callable(getattr(self.model, "explain", None))
        self.activation = "sigmoid" if self.inherent else args.baseline_activation
        self.names = [name for name in names if self.inherent or name != "contributions"]
        self._made = {}
        # Everything that any number about this model depends on.
        self.identity = {
            "model": parts.digest(self.path.read_bytes()),
            "images": parts.digest(data.test_images.tobytes() + data.test_labels.tobytes()),
            "activation": self.activation,
            "version": __version__,
        }
        self.logits = self.collect("logits", "all", {}, len(self.images), 1000, self._logits)[
            "logits"
        ]
        self.accuracy = float(np.mean(self.logits.argmax(-1) == self.labels))

    @property
    def temperature(self):
        return getattr(self.model, "temperature", None)

    @cached_property
    def predict(self):
        """The model as a compiled function of NumPy arrays."""
        # Not `Model.predict`: having seen three channels and six, it compiles for any number.
        return compiled(lambda images: self.model(images, training=False), self.model)

    @cached_property
    def grid_model(self):
        """The model for multi-images: a CoDA-Net itself, else its layers for any size."""
        return self.model if self.inherent else with_image_size(self.model, None)

    @cached_property
    def grids(self):
        """The multi-images of the localisation metric."""
        return self._make_grids(self.args.grids)

    @cached_property
    def first_grid(self):
        return self._make_grids(1)

    def _make_grids(self, count):
        size = self.args.grid_size
        if size**2 > len(self.class_names):
            raise ValueError(
                f"--grid-size {size} needs {size**2} classes, the data has {len(self.class_names)}."
            )
        try:
            return make_grids(
                self.images,
                self.logits,
                self.labels,
                grids=count,
                n=size,
                seed=self.args.seed,
                activation=self.activation,
            )
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    def collect(self, kind, method, arguments, total, step, compute, label=None, unit="img"):
        """`parts.collect` for numbers about this model."""
        folder = self.args.output / "parts" / self.name / kind / method
        arguments = {**self.identity, **arguments}
        return parts.collect(folder, arguments, total, step, compute, label or kind, unit)

    def source(self, name):
        """The method whose numbers are those of `name`: on a CoDA-Net DeepLIFT equals IxG."""
        return "input_x_gradient" if name == "deeplift" and self.inherent else name

    def settings(self, name):
        """What the numbers of a method depend on, for `collect`."""
        key, arguments = methods.settings(self.source(name), self.args, self.activation)
        return {"method": key, **arguments}

    def check(self, metrics):
        """Finds at once what would stop the study only after hours.

        Raises:
            ValueError: if a package is missing, or the model is confident of too few images for
                the localisation metric.
        """
        if "localisation" in metrics:
            _ = self.grids
        for name in self.names:
            self.method(name)
        if "deeplift" in self.names and not self.inherent and find_spec("shap") is None:
            raise ValueError(
                "DeepLIFT on the baseline needs the package `shap`: "
                "pip install 'coda-keras[interpret]'; or leave deeplift out of --methods."
            )

    def label(self, name):
        return self.method(name).describe(self.model)

    def method(self, name, of_grids=False):
        """The method object, compiled once for images and once for multi-images."""
        if (name, of_grids) not in self._made:
            batch = self.args.batch_size
            batch = max(1, batch // self.args.grid_size**2) if of_grids else batch
            self._made[name, of_grids] = methods.make(name, self.args, self.activation, batch)
        return self._made[name, of_grids]

    def maps(self, name, indices):
        """Maps `(n, H, W)` of test images for their classes; those of dear methods are kept."""
        method = self.method(self.source(name))

        def compute(chosen):
            return method(self.model, self.images[chosen], self.labels[chosen])

        if name not in methods.DEAR:
            return compute(indices)
        maps = [
            self.collect(
                "maps",
                name,
                {**self.settings(name), "index": int(index)},
                total=1,
                step=1,
                compute=lambda start, stop, index=index: {"maps": compute([index])},
                label=f"map by {method.label}",
            )["maps"]
            for index in indices
        ]
        return np.concatenate(maps)

    def confident(self, per_class=1):
        """Indices of the most confident correctly classified test images, by class."""
        return most_confident(self.logits, self.labels, per_class)

    def captions(self, indices):
        """Class and probability of test images."""
        chances = probabilities(self.logits[indices], self.activation)
        labels = self.labels[indices]
        return [
            f"{self.class_names[label]}, {chance[label]:.2f}"
            for label, chance in zip(labels, chances)
        ]

    def _logits(self, start, stop):
        batches = [slice(i, min(i + 250, stop)) for i in range(start, stop, 250)]
        logits = [self.predict(self.images[batch]) for batch in batches]
        return {"logits": np.concatenate(logits)}


def load(path):
    """Loads a model.

    Raises:
        ValueError: if the file is missing or no model, with a sentence.
    """
    if not path.is_file():
        raise ValueError(
            f"There is no model {path}. Expected a .keras file as the recipes save it."
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} cannot be loaded as a Keras model: {reason[0]}") from error
