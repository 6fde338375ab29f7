"""What a study computes: calls that do not depend on each other, here or on a Ray cluster."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coda_keras.cluster.calls import run_calls
from coda_keras.evaluation.metric import Rows
from coda_keras.study import cache
from coda_keras.utils.progress import ProgressBar

if TYPE_CHECKING:
    from coda_keras.study.study import Study


class Series(NamedTuple):
    """A metric of a method for a model of the study, by its number."""

    model: int
    metric: str
    method: str


class Cell(NamedTuple):
    """What one call computes: some items of a series."""

    series: Series
    start: int
    stop: int


def compute(study: "Study", report: Callable[[str], Any], ray: str | None, cpus: int) -> None:
    """Computes what is not on disk, and reports every result as soon as it is complete.

    Args:
        study: the study.
        report, ray, cpus: as for `Study.run`.
    """
    # A method at a time: most metrics want the same maps.
    wanted = [
        Series(number, metric, method)
        for number, subject in enumerate(study.models)
        for method in subject.names
        for metric in study.settings.metrics
    ]
    # Methods of the same maps share them.
    sources = {one: _source(study, one) for one in wanted}
    cells = [cell for source in dict.fromkeys(sources.values()) for cell in _missing(study, source)]
    left = Counter(cell.series for cell in cells)

    def report_complete() -> None:
        for one in [one for one in wanted if not left[sources[one]]]:
            wanted.remove(one)
            subject = study.models[one.model]
            summary = study.measure(subject, one.metric, one.method)
            short = study.metric(subject, one.metric).in_short(summary)
            report(f"{subject.name}: {one.metric}, {subject.label(one.method)}: {short}")

    report_complete()
    with ProgressBar("study", "item", sum(cell.stop - cell.start for cell in cells)) as bar:
        for index, arrays in run_calls(compute_cell, cells, study, ray=ray, cpus=cpus):
            cell = cells[index]
            folder, arguments = _place(study, cell.series)
            cache.store(folder, arguments, cell.start, cell.stop, arrays)
            left[cell.series] -= 1
            bar.update(cell.stop - cell.start)
            report_complete()


def compute_cell(study: "Study", cell: Cell) -> Rows:
    """The arrays of a cell; in another process `study` is a copy."""
    subject = study.models[cell.series.model]
    metric = study.metric(subject, cell.series.metric)
    return metric.rows(subject, cell.series.method, cell.start, cell.stop)


def _source(study: "Study", one: Series) -> Series:
    return one._replace(method=study.models[one.model].source(one.method))


def _missing(study: "Study", series: Series) -> list[Cell]:
    """The slices of a series that are not on disk."""
    subject = study.models[series.model]
    folder, _ = _place(study, series)
    total = study.count(subject, series.metric, series.method)
    parts = cache.bounds(total, study.metric(subject, series.metric).items_per_slice)
    return [Cell(series, *part) for part in parts if not cache.path(folder, *part).exists()]


def _place(study: "Study", series: Series) -> tuple[Path, dict[str, Any]]:
    """The folder of a series' slices, and the arguments they are computed under."""
    subject = study.models[series.model]
    own = study.arguments(subject, series.metric, series.method)
    arguments = {**subject.identity, **own}
    return cache.place(subject.folder / series.metric / series.method, arguments), arguments
