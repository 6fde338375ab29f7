"""What a study computes, as typed values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coda_keras import attribution, evaluation
from coda_keras.utils import arguments

Arguments = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Settings:
    """The methods and metrics of a study, and how many images they get.

    Attributes:
        methods: names as for `attribution.get`; None for all of `attribution.STUDIED` whose
            packages are installed.
        metrics: keys of `evaluation.METRICS`.
        images, few_images: test images that a metric measures, and how many by methods whose maps
            need thousands of evaluations (`cost="sampling"`).
        items, few_items: dicts from metrics to other numbers for these: multi-images for
            "localisation" (500 and 25), images for all others.
        method_arguments: dict from keys of `attribution.METHODS` to arguments of the method, for
            example `{"rise": {"num_masks": 1000}}`.
        metric_arguments: dict from metrics to arguments of the metric, for example
            `{"localisation": {"grid_size": 2}}`.
        batch_size: int, images that a model sees at once; bounds the memory.
        seed: int, of the multi-images and of all that is random.
        baseline_activation: what turns the baseline's logits into probabilities, `"sigmoid"` or
            `"softmax"`.

    Raises:
        ValueError: for an unknown method, metric or argument of one, or a number that is not
            positive.
    """

    methods: Sequence[str] | None = None
    metrics: Sequence[str] = evaluation.STUDIED
    images: int = 1024
    few_images: int = 100
    items: Mapping[str, int] = field(default_factory=dict)
    few_items: Mapping[str, int] = field(default_factory=dict)
    method_arguments: Arguments = field(default_factory=dict)
    metric_arguments: Arguments = field(default_factory=dict)
    batch_size: int = 32
    seed: int = 42
    baseline_activation: str = "sigmoid"

    def __post_init__(self) -> None:
        if self.methods is not None and not len(self.methods):
            raise ValueError("`methods` is empty. Expected at least one, or None for all.")
        for name in self.methods or ():
            attribution.find(name)
        named = (self.items, self.few_items, self.metric_arguments)
        for name in [*self.metrics, *(name for given in named for name in given)]:
            if name not in evaluation.METRICS:
                raise ValueError(
                    f"Unknown metric: {name!r}. Expected some of {', '.join(evaluation.METRICS)}."
                )
        unknown = sorted(set(self.method_arguments) - set(attribution.METHODS))
        if unknown:
            raise ValueError(
                f"Unknown method in `method_arguments`: {unknown[0]!r}. "
                f"Expected some of {', '.join(attribution.METHODS)}."
            )
        for name, given in self.method_arguments.items():
            arguments.check(name, attribution.METHODS[name].make, given)
        for name, given in self.metric_arguments.items():
            arguments.check(name, evaluation.METRICS[name].make, given)
        counts = {"images": self.images, "few_images": self.few_images}
        counts |= {"batch_size": self.batch_size, **self.items, **self.few_items}
        for name, count in counts.items():
            arguments.positive_int(name, count)

    def metric(self, name: str, activation: str) -> evaluation.Metric:
        """Makes a metric for models with this activation."""
        common = {"activation": activation, "batch_size": self.batch_size, "seed": self.seed}
        return evaluation.get(name, **{**common, **self.metric_arguments.get(name, {})})

    def count(self, metric: evaluation.Metric, method: str) -> int:
        """Returns how many items a metric measures by a method."""
        most = self.items.get(metric.name, metric.most_items or self.images)
        if attribution.find(method).cost != "sampling":
            return most
        return min(most, self.few_items.get(metric.name, metric.few_items or self.few_images))
