"""The figures of numbers: which metrics each shows.

Every function takes a `Lab` and returns a figure, or raises `Missing` with the reason.
"""

from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from coda_keras import figures
from coda_keras.evaluation import published_cifar10
from coda_keras.figures import Entry, Row
from coda_keras.interpretation.lab import Missing
from coda_keras.interpretation.methods import PUBLISHED

PUBLISHED_NET = "9L-S-CoDA-SQ-{:g}"


def metrics(lab):
    """Fig. 6: both metrics for all methods, then for nets of several temperatures."""
    published = _published(lab)
    of_methods = published.get(PUBLISHED_NET.format(1000), {})
    rows = [Row(f"Attribution methods on {lab.main.name}", _of_methods(lab, lab.main, of_methods))]
    rows.append(Row("Own contributions by temperature", _of_temperatures(lab, published)))
    return figures.metrics_figure(_drawable(rows), published="published, S-CoDA-SQ")


def most_important_first(lab):
    """Fig. B.4a: pixel removal in both orders."""
    entries = _of_methods(lab, lab.main)
    row = Row(
        f"Attribution methods on {lab.main.name}",
        entries,
        localisation=False,
        orders=("least", "most"),
    )
    return figures.metrics_figure(_drawable([row]))


def metrics_of_baseline(lab):
    """Fig. B.4b: the methods on the baseline, beside the CoDA-Net's own contributions."""
    study = lab.need_baseline()
    entries = _of_methods(lab, study)
    own = [entry for entry in _of_methods(lab, lab.main) if entry.label == "Ours"]
    entries = [replace(entry, label="CoDA-Net's own") for entry in own] + entries
    row = Row(f"{study.model.name} ({study.name})", entries, orders=("least", "most"))
    return figures.metrics_figure(_drawable([row]))


def windows(lab):
    """Localisation of the maps averaged over windows of growing size, for all methods."""
    found = _distinct(lab, "localisation")
    curves = {
        label: (figures.colour(label), summary["mean_by_window"])
        for label, summary in found.items()
        if "mean_by_window" in summary
    }
    if not curves:
        raise Missing("the metric localisation was not asked for, or the images are too small")
    return figures.windows_figure(curves, chance=next(iter(found.values()))["chance"])


def sanity(lab):
    """The sanity check: similarity of the maps while layers are re-initialised."""
    found = _distinct(lab, "sanity")
    if not found:
        raise Missing("the metric sanity was not asked for")
    steps = [step[-1] for step in next(iter(found.values()))["steps"]]
    panels = {
        "rank correlation, signed maps": ("rank_correlation", "signed"),
        "rank correlation, absolute maps": ("rank_correlation", "absolute"),
        "SSIM, absolute maps": ("ssim", "absolute"),
    }
    curves = {
        title: {
            label: (figures.colour(label), numbers[measure][form])
            for label, numbers in found.items()
        }
        for title, (measure, form) in panels.items()
    }
    return figures.similarity_figure(steps, curves)


FIGURES = {
    "6": metrics,
    "b4a": most_important_first,
    "b4b": metrics_of_baseline,
    "windows": windows,
    "sanity": sanity,
}


def _published(lab):
    """The authors' results, where they are about the same data."""
    return published_cifar10()["models"] if lab.args.dataset == "cifar10" else {}


def _distinct(lab, metric):
    """A metric by the labels of the methods, without those that repeat another's numbers."""
    study = lab.main
    return {
        study.label(name): numbers[metric]
        for name, numbers in lab.numbers_of(study).items()
        if metric in numbers and study.source(name) == name
    }


def _of_methods(lab, study, published=None):
    entries = []
    for name, numbers in lab.numbers_of(study).items():
        theirs = (published or {}).get(PUBLISHED.get(name))
        label = study.label(name).partition(" (")[0]
        entry = _entry(label, figures.colour(label), numbers, theirs, lab.args.grid_size)
        if study.source(name) != name:
            # Their curves would lie on each other.
            entry = replace(entry, removal=None, published_removal=None)
        entries.append(entry)
    return entries


def _of_temperatures(lab, published):
    ours = {
        study.temperature: lab.numbers_of(study).get("contributions", {})
        for study in reversed(lab.nets())
    }
    theirs = {float(name.rpartition("-")[2]): found["Ours"] for name, found in published.items()}
    values = sorted({*ours, *theirs})
    if not ours or len(values) < 2:
        return []
    shades = [to_hex(shade) for shade in colormaps["plasma"](np.linspace(0, 0.85, len(values)))]
    return [
        _entry(f"T = {value:g}", shade, ours.get(value), theirs.get(value), lab.args.grid_size)
        for value, shade in zip(values, shades)
    ]


def _entry(label, colour, ours, theirs, grid_size):
    ours, theirs = ours or {}, theirs or {}
    localisation = theirs.get("localisation")
    if localisation and localisation["grid"] != f"{grid_size}x{grid_size}":
        localisation = None
    removal = theirs.get("pixel_removal")
    return Entry(
        label,
        colour,
        ours.get("localisation"),
        ours.get("pixel_removal"),
        localisation,
        # The authors released this order only.
        {"least": removal} if removal else None,
    )


def _drawable(rows):
    """The rows with only those panels for which there are numbers of one's own."""
    kept = []
    for row in rows:
        localisation = row.localisation and any(e.localisation for e in row.entries)
        removal = any(e.removal for e in row.entries)
        if localisation or removal:
            orders = row.orders if removal else ()
            kept.append(replace(row, localisation=localisation, orders=orders))
    if not kept:
        raise Missing("neither localisation nor pixel_removal was asked for")
    return kept
