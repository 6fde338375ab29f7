"""The figures of numbers: which charts of which metrics each shows, for which models.

Every function takes a `Study` and returns a figure, or raises `Missing` with the reason.
"""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from coda_keras import attribution, figures
from coda_keras.evaluation.chart import Box
from coda_keras.evaluation.published import PUBLISHED_NET
from coda_keras.figures import Entry, Panel, Row
from coda_keras.study.errors import Missing

# A metric and one of its charts.
LOCALISATION = ("localisation", "localisation")
LEAST_FIRST = ("pixel_removal", "least")
MOST_FIRST = ("pixel_removal", "most")


def paper_metrics(study: Any) -> Figure:
    """Fig. 6: both metrics for all methods, then for nets of several temperatures."""
    charts = (LOCALISATION, LEAST_FIRST)
    rows = [
        Row(
            f"Attribution methods on {study.main.name}",
            _of_methods(study, study.main, charts, study.published.get(PUBLISHED_NET)),
        ),
        Row("Own contributions by temperature", _of_temperatures(study, charts)),
    ]
    return _figure(rows, published="published, S-CoDA-SQ")


def most_important_first(study: Any) -> Figure:
    """Fig. B.4a: pixel removal in both orders."""
    panels = _of_methods(study, study.main, (LEAST_FIRST, MOST_FIRST))
    return _figure([Row(f"Attribution methods on {study.main.name}", panels)])


def paper_metrics_of_baseline(study: Any) -> Figure:
    """Fig. B.4b: the methods on the baseline, beside the CoDA-Net's own contributions."""
    if study.baseline is None:
        raise Missing("there is no baseline")
    charts = (LOCALISATION, LEAST_FIRST, MOST_FIRST)
    panels = _of_methods(study, study.baseline, charts, beside=study.main)
    title = f"{study.baseline.model.name} ({study.baseline.name})"
    return _figure([Row(title, panels)])


def charts_of_metric(study: Any, metric: str) -> Figure:
    """The charts of one metric for all methods."""
    study.measured(study.main, metric)
    charts = [(metric, key) for key in study.metric(study.main, metric).figure]
    panels = _of_methods(study, study.main, charts)
    return _figure([Row(study.main.name, panels)])


def _of_methods(study, subject, charts, published=None, beside=None):
    """A panel for each chart, with an entry for each method.

    Args:
        study, subject: the model in question.
        charts: pairs of a metric and a key of its charts.
        published: results of the authors by their names for the methods, or None.
        beside: another subject, whose own contributions come first.
    """
    panels = []
    for metric, key in charts:
        values = []
        if beside is not None:
            own = study.numbers.get(beside.name, {}).get("contributions", {}).get(metric)
            row = attribution.find("contributions")
            values.append(("CoDA-Net's own", row.colour, own, None, False))
        for name, numbers in study.numbers.get(subject.name, {}).items():
            row = attribution.find(name)
            theirs = (published or {}).get(row.published)
            # Curves of methods that repeat another's would lie on each other.
            repeated = subject.source(name) != name
            values.append((row.label, row.colour, numbers.get(metric), theirs, repeated))
        panels += _panel(study.metric(subject, metric), key, values)
    return panels


def _of_temperatures(study, charts):
    numbers = {net.temperature: study.numbers.get(net.name, {}) for net in reversed(study.nets)}
    ours = {value: methods.get("contributions", {}) for value, methods in numbers.items()}
    theirs = {
        float(name.rpartition("-")[2]): methods["Ours"] for name, methods in study.published.items()
    }
    values = sorted({*ours, *theirs})
    if not ours or len(values) < 2:
        return []
    shades = [to_hex(shade) for shade in colormaps["plasma"](np.linspace(0, 0.85, len(values)))]
    panels = []
    for metric, key in charts:
        entries = [
            (f"T = {value:g}", shade, ours.get(value, {}).get(metric), theirs.get(value), False)
            for value, shade in zip(values, shades)
        ]
        panels += _panel(study.metric(study.nets[0], metric), key, entries)
    return panels


def _panel(metric, key, values):
    """One chart, or none without numbers.

    Values are `(label, colour, summary, published results, repeated)`.
    """
    chart = metric.charts[key]
    entries, references = [], []
    # Of the authors' temperatures some have no net of ours.
    first = next((ours for _, _, ours, _, _ in values if ours), None)
    for label, colour, ours, theirs, repeated in values:
        entry = {"label": label, "colour": colour}
        theirs = metric.published_summary(theirs, first) if theirs and first else None
        for prefix, summary in (("", ours), ("published_", theirs)):
            drawn = chart.read(summary) if summary else None
            if isinstance(drawn, Box):
                entry[f"{prefix}box"] = (drawn.mean, drawn.quartiles)
                if not prefix:
                    entry["count"] = ours.get("images")
            elif drawn is not None and not repeated:
                entry[f"{prefix}curve"] = (drawn.x, drawn.y)
        entries.append(Entry(**entry))
        if ours and chart.reference is not None:
            references.append(chart.reference(ours))
    if not any(entry.box or entry.curve for entry in entries):
        return []
    counted = any(entry.count is not None for entry in entries)
    items = "multi-images" if metric.unit == "grid" else "images"
    x_label = chart.x_label or (f"(number of {items})" if counted else "")
    reference = references[0] if references else None
    return [
        Panel(chart.title, entries, x_label, chart.y_label, chart.y_range, reference, chart.markers)
    ]


def _figure(rows, **options):
    """Draws the rows for which this study has numbers."""
    rows = [row for row in rows if row.panels]
    if not rows:
        raise Missing("neither localisation nor pixel_removal was asked for")
    return figures.metrics_figure(rows, **options)
