"""What a map costs: the time of a method, in forward passes of the model."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from coda_keras.attribution import find
from coda_keras.evaluation.chart import Summary
from coda_keras.evaluation.metric import Metric, Rows
from coda_keras.utils.provenance import hardware


class Cost(Metric):
    """Time of a map over that of a prediction for an image of the same size.

    Methods that fill a batch from one image are timed on one image, the others on a batch, all
    after a first call, which compiles.

    Args:
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.
    """

    name = "cost"
    good = "low"
    most_items = 1
    legend: ClassVar = {
        "forward passes": "Forward passes: time of a map over that of one prediction for an image "
        "of the same size."
    }

    @property
    def arguments(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "hardware": hardware()}

    def rows(self, subject: Any, method: str, start: int, stop: int) -> Rows:
        masking = find(method).cost != "batched"
        images, labels = subject.images[: self.batch_size], subject.labels[: self.batch_size]
        count = 1 if masking else len(images)
        explain = subject.method(method)
        forward = _seconds(lambda: subject.predict(images), repeats=5) / len(images)
        maps = _seconds(
            lambda: explain(subject.model, images[:count], labels[:count]),
            repeats=1 if masking else 3,
        )
        return {"forward": np.array([forward]), "map": np.array([maps / count])}

    def summary(self, rows: Rows) -> Summary:
        forward, seconds = float(rows["forward"][0]), float(rows["map"][0])
        return {
            "seconds_per_map": seconds,
            "seconds_per_forward_pass": forward,
            "forward_passes": seconds / forward,
        }

    def score(self, summary: Summary) -> float:
        return summary["forward_passes"]

    def in_short(self, summary: Summary) -> str:
        return f"{summary['forward_passes']:,.1f} forward passes a map"

    def cells(self, summary: Summary) -> dict[str, str]:
        return {"forward passes": f"{summary['forward_passes']:,.1f}"}


def _seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median time of a call after a first one, which compiles."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))
