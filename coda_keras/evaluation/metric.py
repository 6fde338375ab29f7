"""The contract of a metric: how to measure it, say it in a line, tabulate it and chart it.

A metric is one file here and one row in `evaluation/registry.py`; studies, tables and charts ask
it for everything else. What it measures comes in rows, one for an image (or multi-image), so that
results of parts join and interrupted studies go on.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from coda_keras.evaluation.chart import Chart, Summary, distribution, score_box
from coda_keras.evaluation.confidence import ACTIVATIONS
from coda_keras.evaluation.grids import Grids, Images
from coda_keras.utils.arguments import one_of, positive_int
from coda_keras.utils.progress import ProgressBar

Array = np.ndarray
Rows = dict[str, Array]
Attribute = Callable[..., Array]


class Subject(Protocol):
    """What a metric uses of a model under study, such as `coda_keras.study.Subject`.

    Attributes:
        model: callable from images to logits; may explain itself.
        grid_model: the same for images of any size.
        images: `(N, H, W, 3)` float32 in [0, 1], of which parts are taken.
        labels: `(N,)` integers, the true classes.
    """

    model: Any
    labels: np.ndarray

    @property
    def images(self) -> Images: ...

    @property
    def grid_model(self) -> Any: ...

    def method(self, name: str, images_a_call: int = 1) -> Attribute:
        """Returns an attribution method, compiled for images of `images_a_call` times the size."""
        ...

    def remembered(self, name: str) -> Attribute:
        """Returns the same, computing every map once, for the model as it is."""
        ...

    def grids(self, count: int, n: int, seed: int, activation: str, rule: str) -> Grids:
        """Returns multi-images of n x n of its images; arguments of `make_grids`."""
        ...


class Metric:
    """Base class.

    Args:
        activation: what turns logits into probabilities, `"sigmoid"` or `"softmax"`.
        batch_size: positive int, how many images the model sees at once; bounds the memory.
        seed: int, of all that is random.

    Attributes:
        name: str, by which `evaluation.get` and commands know it.
        charts: dict from a key to its `Chart`.
        figure: keys of the charts in the figure of its own, which `registry.py` names.
        legend: dict from column heading to a sentence about it.
        good: which values of `score` are: "high", "low" or "zero", those near 0.
        items_per_slice: int, items that a study keeps in a file.
        most_items, few_items: int, how many items a study measures unless it is told otherwise,
            by any method and by one that needs many evaluations a map; None leaves it to the study.
    """

    name: ClassVar[str]
    charts: ClassVar[Mapping[Any, Chart]] = {}
    figure: ClassVar[tuple[Any, ...]] = ()
    legend: ClassVar[Mapping[str, str]] = {}
    good: ClassVar[str] = "high"
    unit: ClassVar[str] = "image"
    items_per_slice: ClassVar[int] = 25
    most_items: ClassVar[int | None] = None
    few_items: ClassVar[int | None] = None

    def __init__(
        self, *, activation: str = "sigmoid", batch_size: int = 32, seed: int = 42
    ) -> None:
        self.activation = one_of("activation", activation, ACTIVATIONS)
        self.batch_size = positive_int("batch_size", batch_size)
        self.seed = seed

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything that the numbers depend on."""
        return {k: v for k, v in vars(self).items() if k[0] != "_" and k != "batch_size"}

    def prepare(self, subject: Subject, count: int) -> int:
        """Raises at the start the errors that would otherwise stop a study after hours.

        Args:
            subject: the model under study.
            count: how many items were asked for.

        Returns:
            How many there are.

        Raises:
            ValueError: if the subject cannot be measured.
        """
        return min(count, len(subject.images))

    def rows(self, subject: Subject, method: str, start: int, stop: int) -> Rows:
        """Measures some items by an attribution method.

        Args:
            subject: the model under study.
            method: name of the method.
            start, stop: the items.

        Returns:
            A dict of arrays, a row for every item.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `rows`.")

    def summary(self, rows: Rows) -> Summary:
        """Returns the numbers of all rows as a dict for JSON."""
        raise NotImplementedError(f"{type(self).__name__} must implement `summary`.")

    def score(self, summary: Summary) -> float:
        """Returns the one number by which methods are compared."""
        raise NotImplementedError(f"{type(self).__name__} must implement `score`.")

    def merit(self, summary: Summary) -> float:
        """Returns a number that is larger for a better score."""
        score = self.score(summary)
        return {"high": score, "low": -score, "zero": -abs(score)}[self.good]

    def in_short(self, summary: Summary) -> str:
        """Returns the result in a line."""
        raise NotImplementedError(f"{type(self).__name__} must implement `in_short`.")

    def cells(self, summary: Summary) -> dict[str, str]:
        """Returns the columns of a table: headings and texts, in their order."""
        raise NotImplementedError(f"{type(self).__name__} must implement `cells`.")

    def published_summary(self, results: dict[str, Any], ours: Summary) -> Summary | None:
        """Returns what the authors published of this metric, as a summary.

        Args:
            results: of one method, from `published_cifar10()`.
            ours: a summary that it is to stand beside.

        Returns:
            None if there is nothing, or nothing that can be compared with `ours`.
        """
        return None

    def published_cells(self, summary: Summary) -> dict[str, str]:
        """Returns columns for a published summary."""
        return {}


class ImageMetric(Metric):
    """A metric of single images: `measure(model, images, class_ids, attribute)` makes the rows.

    Example: every image metric can be asked without a study,
    `get("sparseness")(model, images, class_ids, attribution.get("gradient"))`.

    Attributes:
        changes_model: bool, whether it measures maps of other weights than the model's own.
    """

    changes_model: ClassVar[bool] = False

    def __call__(self, model: Any, images: Any, class_ids: Any, attribute: Attribute) -> Summary:
        """Measures all images and returns the summary.

        Args:
            model: callable from images to logits.
            images: `(N, H, W, 3)` floats in [0, 1].
            class_ids: `(N,)` integers.
            attribute: `attribute(model, images, class_ids) -> maps`, signed `(N, H, W)`.

        Raises:
            ValueError: if images and class ids do not fit, or the maps break their contract.
        """
        images, class_ids = np.asarray(images), np.asarray(class_ids)
        if images.ndim != 4 or not len(images) or class_ids.shape != (len(images),):
            raise ValueError(
                "Expected at least one image (N, H, W, 3) and class ids (N,). "
                f"Received shapes {images.shape} and {class_ids.shape}."
            )
        if class_ids.dtype.kind not in "iu" or class_ids.min() < 0:
            raise ValueError(f"Expected integers from 0 as class ids. Received: {class_ids}.")
        slices = []
        with ProgressBar(type(self).__name__, self.unit, len(images)) as bar:
            for start in range(0, len(images), self.items_per_slice):
                part = slice(start, start + self.items_per_slice)
                slices.append(self.measure(model, images[part], class_ids[part], attribute))
                bar.update(len(images[part]))
        return self.summary({name: np.concatenate([s[name] for s in slices]) for name in slices[0]})

    def rows(self, subject: Subject, method: str, start: int, stop: int) -> Rows:
        images, labels = subject.images[start:stop], subject.labels[start:stop]
        attribute = (subject.method if self.changes_model else subject.remembered)(method)
        return self.measure(subject.model, images, labels, attribute)

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        """Measures images; arguments as of a call.

        Returns:
            A dict of arrays, a row for every image.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `measure`.")


class ScoreMetric(ImageMetric):
    """An image metric with one number an image, `{"scores": (N,)}`.

    A subclass may measure more beside it: what it names in `charts` and `legend` is added to the
    chart of the scores and the sentence about them. One without a name is a base class itself.

    Attributes:
        heading: str, of its column.
        meaning: str, a sentence for legends: what it is, and which values are good.
        y_label: str, what the score is, for the axis of its chart.
        number_format: how the mean is written.
    """

    heading: ClassVar[str]
    meaning: ClassVar[str]
    y_label: ClassVar[str] = "score"
    y_range: ClassVar[tuple[float, float] | None] = None
    number_format: ClassVar[str] = ".3f"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "name"):
            return
        chart = Chart(cls.heading, score_box, y_label=cls.y_label, y_range=cls.y_range)
        cls.charts = {cls.name: chart, **vars(cls).get("charts", {})}
        cls.figure = tuple(cls.charts)
        cls.legend = {cls.heading: cls.meaning, **vars(cls).get("legend", {})}

    def summary(self, rows: Rows) -> Summary:
        return {"images": len(rows["scores"]), **distribution(rows["scores"])}

    def score(self, summary: Summary) -> float:
        return summary["mean"]

    def in_short(self, summary: Summary) -> str:
        return f"{summary['mean']:{self.number_format}} ({summary['images']} images)"

    def cells(self, summary: Summary) -> dict[str, str]:
        return {self.heading: f"{summary['mean']:{self.number_format}}"}
