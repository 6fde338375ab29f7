"""What a study leaves in numbers: results.json and results.md."""

from pathlib import Path
from typing import Any

import numpy as np

from coda_keras import attribution, evaluation
from coda_keras.evaluation.published import PUBLISHED_NET, published_cifar10
from coda_keras.study.cost import Cost
from coda_keras.utils.files import write_json, write_text
from coda_keras.utils.provenance import hardware, now, result_packages, versions
from coda_keras.utils.text import listed

METRICS = {**{name: row.make for name, row in evaluation.METRICS.items()}, Cost.name: Cost}


def as_dict(study: Any, figures: list[str], skipped: dict[str, str]) -> dict[str, Any]:
    """Everything that a study found out, as values for JSON.

    Args:
        study: `Study`.
        figures: names of the files of figures.
        skipped: dict from figures that could not be drawn to the reasons.
    """
    data = study.data
    return {
        "finished": now(),
        "data": {
            "name": study.dataset,
            "test_images": len(data.test_labels),
            "image_size": list(data.test_images.shape[1:3]),
            "classes": list(data.class_names),
            "digest": study.main.identity["images"],
            "note": getattr(data, "note", None),
        },
        "models": [_model(study, subject) for subject in study.models],
        "figures": figures,
        "figures_skipped": skipped,
        "versions": versions(["coda-keras", *result_packages()]),
        "hardware": hardware(),
    }


def write(folder: Path, results: dict[str, Any]) -> str:
    """Writes `results.json` and `results.md`; returns the content of the second."""
    write_json(folder / "results.json", results)
    page = markdown(results)
    write_text(folder / "results.md", page)
    return page


def markdown(results: dict[str, Any]) -> str:
    """The numbers as Markdown: a table for every model.

    Args:
        results: content of a `results.json`.
    """
    lines = [f"`{results['command']}`", ""] if "command" in results else []
    lines += [_data(results["data"]), ""]
    legend = {key: text for metric in METRICS.values() for key, text in metric.legend.items()}
    for model in results["models"]:
        lines += [f"## {model['name']}", "", _about(model), ""]
        table = {name: _cells(name, numbers, model) for name, numbers in model["methods"].items()}
        headings = dict.fromkeys(heading for cells in table.values() for heading in cells)
        # Those of published results come last.
        order = sorted(headings, key=lambda heading: heading.startswith("published"))
        rows = [table[name] for name in _best_first(model["methods"])]
        lines.append("| " + " | ".join(order) + " |")
        lines.append("|" + "---|" * len(order))
        lines += ["| " + " | ".join(cells.get(h, "") for h in order) + " |" for cells in rows]
        lines += ["", " ".join(legend[heading] for heading in order if heading in legend), ""]
    devices = results["hardware"]
    machine = ", ".join(devices["gpus"]) or f"{devices['processor']}, {devices['cores']} cores"
    lines.append(f"Computed on {machine}, {results['finished'][:10]}.")
    return "\n".join(lines) + "\n"


def _model(study, subject):
    return {
        "name": subject.name,
        "path": str(subject),
        "kind": subject.model.name,
        "digest": subject.identity["model"],
        "parameters": subject.model.count_params(),
        "temperature": subject.temperature,
        "activation": subject.activation,
        "test_accuracy": subject.accuracy,
        "published": bool(subject is study.main and study.published and subject.inherent),
        "methods": {
            name: {"label": subject.label(name), **numbers}
            for name, numbers in study.numbers.get(subject.name, {}).items()
        },
        "left_out": subject.left_out,
    }


def _data(data):
    """A sentence about the images that all numbers are of."""
    text = f"Data: {data['test_images']:,} test images"
    text += f" of {data['name']}" if data["name"] else ""
    # Results of 0.3.0 and before have no more of them.
    if "digest" in data:
        height, width = data["image_size"]
        text += f", {height}x{width} pixels, {len(data['classes'])} classes"
        text += f" ({listed(data['classes'])}), digest {data['digest']}"
    return text + (f"; {data['note']}." if data["note"] else ".")


def _about(model):
    temperature = f", T = {model['temperature']:g}" if model["temperature"] else ""
    return (
        f"{model['kind']}{temperature}, {model['parameters']:,} parameters, accuracy "
        f"{model['test_accuracy']:.1%}. `{model['path']}`"
    )


def _best_first(methods):
    """Names of methods, the best by the first metric first, and last those without it."""
    measured = [key for key in METRICS if any(key in numbers for numbers in methods.values())]
    if not measured:
        return list(methods)
    metric = METRICS[measured[0]]()
    merits = {
        name: metric.merit(numbers[metric.name]) if metric.name in numbers else -np.inf
        for name, numbers in methods.items()
    }
    return sorted(merits, key=lambda name: merits[name], reverse=True)


def _cells(name, numbers, model):
    """The cells of a method by heading: its own in the order of the metrics, then published."""
    measured = {key: metric() for key, metric in METRICS.items() if key in numbers}
    cells = {"method": numbers["label"]}
    for key, metric in measured.items():
        cells |= metric.cells(numbers[key])
    label = attribution.find(name).published
    if model["published"] and label:
        results = published_cifar10()["models"][PUBLISHED_NET][label]
        for key, metric in measured.items():
            summary = metric.published_summary(results, numbers[key])
            cells |= metric.published_cells(summary) if summary else {}
    return cells
