"""A study: models by methods by metrics, resumable, with its tables and figures."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure

from coda_keras import attribution
from coda_keras.evaluation.metric import Metric, Rows
from coda_keras.study import cells, results
from coda_keras.study.code_digests import room_code
from coda_keras.study.cost import Cost
from coda_keras.study.errors import Missing
from coda_keras.study.images import StudyData
from coda_keras.study.registry import figure_function
from coda_keras.study.settings import Settings
from coda_keras.study.studied_model import Subject


class Study:
    """The paper's experiments on trained models, computed piece by piece and kept on disk.

    The first model is studied by all methods, further ones (other temperatures) by their own
    contributions, the baseline by all methods that need no model that explains itself. What was
    computed before under the same arguments, by the same code, is read from `folder`.

    Args:
        models: paths of `.keras` files, or built Keras models.
        data: test images, in memory or in files, labels and class names, as
            `coda_keras.data.images.ImageData`.
        settings: `Settings`.
        folder: path for results and partial results.
        baseline: an ordinary classifier to compare with, likewise, or None.
        dataset: name of the data in tables and titles; results tell its size, classes and digest
            in any case.
        published: the results that the authors released for this data, as `published_cifar10()`,
            or None.

    Attributes:
        subjects: `Subject` of each model; the first is `main`.
        baseline: `Subject` or None.
        numbers: dict from model name to a dict from method to a dict of the metrics' summaries.

    Raises:
        ValueError: if a model cannot be loaded, or a named method needs a package that is missing
            or cannot take the model.

    Example of a notebook:

        study = Study(["runs/cifar10/model.keras"], data, Settings(methods=["contributions"]))
        study.run()
        study.figure("5")
    """

    def __init__(
        self,
        models: Sequence[str | Path | keras.Model],
        data: Any,
        settings: Settings | None = None,
        folder: str | Path = "runs/interpretation",
        baseline: str | Path | keras.Model | None = None,
        dataset: str = "",
        published: dict[str, Any] | None = None,
    ) -> None:
        if not models:
            raise ValueError("`models` is empty. Expected at least one trained model.")
        self.settings = settings or Settings()
        self.folder = Path(folder)
        self.data = data
        shared = StudyData(data, self.settings.batch_size)
        self.dataset = dataset
        self.published = (published or {}).get("models", {})
        methods = self.settings.methods or attribution.STUDIED
        given = [*models, *([] if baseline is None else [baseline])]
        subjects: list[Subject] = []
        for model, name in zip(given, _names(given)):
            in_full = not subjects or model is baseline
            of_it = methods if in_full else ["contributions"]
            parts = self.folder / "parts"
            subjects.append(Subject(model, name, shared, self.settings, parts, of_it))
        self.subjects = subjects[: len(models)]
        self.baseline = None if baseline is None else subjects[-1]
        self.numbers: dict[str, dict[str, dict[str, Any]]] = {}
        self._metrics: dict[tuple[str, str], Metric] = {}

    @property
    def main(self) -> Subject:
        """The model that is studied by all methods."""
        return self.subjects[0]

    @property
    def models(self) -> list[Subject]:
        """All subjects, the baseline last."""
        return [*self.subjects, *([self.baseline] if self.baseline else [])]

    @property
    def main_net(self) -> Subject:
        """The model that is studied by all methods, where only a CoDA-Net will do.

        Raises:
            Missing: if it is none.
        """
        if not self.main.inherent:
            raise Missing(f"{self.main} is no CoDA-Net")
        return self.main

    @property
    def nets(self) -> list[Subject]:
        """The CoDA-Nets, by temperature; averages of nets have none."""
        nets = [s for s in self.subjects if s.inherent and s.temperature is not None]
        return sorted(nets, key=lambda subject: subject.temperature or 0.0)

    def run(
        self, report: Callable[[str], Any] = print, ray: str | None = None, cpus: int = 1
    ) -> None:
        """Measures everything; a mistake that would stop it after hours is found at once.

        Args:
            report: called with a line for every result.
            ray: address of a Ray cluster, `""` for the one that Ray finds, None for this process.
                What was computed lies in the folder of this machine either way.
            cpus: int, cores of each call on a cluster without GPUs.

        Raises:
            ValueError: if a model cannot be measured, for example because it is confident of too
                few images for the multi-images.
        """
        of_data = f" of {self.dataset}" if self.dataset else ""
        for subject in self.models:
            report(
                f"{subject.name}: test accuracy {subject.accuracy:.4f} on "
                f"{len(subject.labels)} images{of_data}"
            )
            for reason in subject.left_out.values():
                report(f"{subject.name}: left out: {reason}")
            for name in self.settings.metrics:
                for method in subject.names:
                    self.count(subject, name, method)
        cells.compute(self, report, ray, cpus)
        for subject in self.models:
            self.numbers[subject.name] = {name: {} for name in subject.names}
            for method in subject.names:
                for name in self.settings.metrics:
                    self.measure(subject, name, method)
                if self.settings.metrics:
                    # Of this machine.
                    self.measure(subject, Cost.name, method)

    def arguments(self, subject: Subject, metric: str, method: str) -> dict[str, Any]:
        """What the numbers of a metric for a method depend on beside the model."""
        made = self.metric(subject, metric)
        return {
            **subject.method_identity(method),
            "metric": made.arguments,
            "metric_code": room_code(type(made).__module__),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_metrics": {}}

    def measure(self, subject: Subject, metric: str, method: str) -> dict[str, Any]:
        """Returns the summary of a metric for a method, and keeps it in `numbers`."""
        summary = self.metric(subject, metric).summary(self.rows(subject, metric, method))
        self.numbers.setdefault(subject.name, {}).setdefault(method, {})[metric] = summary
        return summary

    def rows(self, subject: Subject, metric: str, method: str) -> Rows:
        """Returns the rows of a metric for a method, computing those that are not on disk."""
        made = self.metric(subject, metric)
        source = subject.source(method)
        return subject.collector(metric, source, self.arguments(subject, metric, method))(
            self.count(subject, metric, method),
            made.items_per_slice,
            partial(made.rows, subject, source),
            f"{metric} {attribution.find(source).label}",
            made.unit,
        )

    def metric(self, subject: Subject, name: str) -> Metric:
        """The metric object for a model."""
        key = subject.name, name
        if key not in self._metrics:
            self._metrics[key] = (
                Cost(batch_size=min(self.settings.batch_size, len(subject.images)))
                if name == Cost.name
                else self.settings.metric(name, subject.activation)
            )
        return self._metrics[key]

    def count(self, subject: Subject, metric: str, method: str) -> int:
        """How many items a metric measures by a method."""
        made = self.metric(subject, metric)
        return made.prepare(subject, self.settings.count(made, method))

    def measured(self, subject: Subject, metric: str) -> dict[str, Any]:
        """The summaries of a metric by method, as far as `run` has come.

        Raises:
            Missing: if there are none.
        """
        summaries = {
            method: numbers[metric]
            for method, numbers in self.numbers.get(subject.name, {}).items()
            if metric in numbers
        }
        if not summaries:
            raise Missing(f"the metric {metric} was not asked for")
        return summaries

    def figure(self, name: str) -> Figure:
        """Draws a figure.

        Args:
            name: a key of `FIGURES`; docs/interpretation.md explains them.

        Raises:
            ValueError: if there is no such figure.
            Missing: if something that it shows is not there; the message says what.
        """
        return figure_function(name)(self)

    def table(self) -> str:
        """The numbers as Markdown, a table for every model."""
        return results.markdown(self.results())

    def results(self, figures: Sequence[str] = (), skipped: dict[str, str] | None = None) -> dict:
        """Everything that was found out, as plain values; arguments as of `write`."""
        return results.as_dict(self, list(figures), skipped or {})

    def write(
        self,
        figures: Sequence[str] = (),
        skipped: dict[str, str] | None = None,
        **about: Any,
    ) -> str:
        """Writes `results.json` and `results.md` into the folder.

        Args:
            figures: names of the files of figures.
            skipped: dict from figures that could not be drawn to the reasons.
            **about: further entries of `results.json`, such as the command.

        Returns:
            The table.
        """
        return results.write(self.folder, {**about, **self.results(figures, skipped)})


def _names(models):
    """A name for every model: that of its folder, with a number where several share one."""
    names = [
        model.name if isinstance(model, keras.Model) else Path(model).resolve().parent.name
        for model in models
    ]
    return [
        f"{name}-{names[: i + 1].count(name)}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
