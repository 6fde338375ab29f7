"""What a run of the command leaves in numbers: results.json and results.md."""

import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import version

import numpy as np
from report import PACKAGES, hardware

from coda_keras import __version__
from coda_keras.evaluation import published_cifar10
from coda_keras.files import write_json
from coda_keras.interpretation.methods import PUBLISHED

HEADINGS = (
    "method",
    "localisation",
    "25 / 50 / 75 %",
    "9x9 means",
    "grids",
    "removal, least first",
    "removal, most first",
    "images",
    "sanity",
    "forward passes",
    "published localisation",
    "published removal",
)


def write_results(lab, data, figures, skipped):
    """Writes both files and returns the content of the first.

    Args:
        lab: `Lab`.
        data: `ImageData`.
        figures: list of the files of figures.
        skipped: dict from figures that could not be drawn to the reasons.
    """
    args = lab.args
    models = [*lab.studies, *([lab.baseline] if lab.baseline else [])]
    results = {
        "command": " ".join(["python", *sys.argv]),
        "arguments": {key: _plain(value) for key, value in vars(args).items()},
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "data": {
            "name": args.dataset,
            "test_images": len(data.test_labels),
            "note": data.note,
        },
        "models": [_model(lab, study) for study in models],
        "figures": figures,
        "figures_skipped": skipped,
        "versions": {
            "coda-keras": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "hardware": hardware(),
    }
    write_json(args.output / "results.json", results)
    page = args.output / "results.md"
    temporary = page.with_name(f".{page.name}.tmp")
    temporary.write_text(markdown(results), encoding="utf-8")
    temporary.replace(page)
    return results


def markdown(results):
    """The numbers as Markdown: a table for every model."""
    lines = [f"`{results['command']}`", ""]
    for model in results["models"]:
        lines += [f"## {model['name']}", "", _about(model, results["data"]), ""]
        table = [_cells(name, numbers, model) for name, numbers in model["methods"].items()]
        table.sort(key=lambda cells: cells["localisation"], reverse=True)
        # Columns without any entry are left out.
        used = [h for h in HEADINGS if any(cells.get(h) for cells in table)]
        lines.append("| " + " | ".join(used) + " |")
        lines.append("|" + "---|" * len(used))
        lines += ["| " + " | ".join(cells.get(h, "") for h in used) + " |" for cells in table]
        lines += ["", *_legend(used, model), ""]
    lines.append(f"{_machine(results['hardware'])}, {results['finished'][:10]}.")
    return "\n".join(lines) + "\n"


def _model(lab, study):
    return {
        "name": study.name,
        "path": str(study.path),
        "kind": study.model.name,
        "digest": study.identity["model"],
        "parameters": study.model.count_params(),
        "temperature": study.temperature,
        "activation": study.activation,
        "test_accuracy": study.accuracy,
        "published": study is lab.main and lab.args.dataset == "cifar10" and study.inherent,
        "methods": {
            name: {"label": study.label(name), **numbers}
            for name, numbers in lab.numbers_of(study).items()
        },
    }


def _about(model, data):
    temperature = f", T = {model['temperature']:g}" if model["temperature"] else ""
    note = f", {data['note']}" if data["note"] else ""
    return (
        f"{model['kind']}{temperature}, {model['parameters']:,} parameters, accuracy "
        f"{model['test_accuracy']:.1%} on {data['test_images']:,} test images of {data['name']}"
        f"{note}. `{model['path']}`"
    )


def _cells(name, numbers, model):
    cells = {"method": numbers["label"], "localisation": ""}
    if "localisation" in numbers:
        found = numbers["localisation"]
        cells["localisation"] = f"{found['mean']:.3f}"
        cells["25 / 50 / 75 %"] = " / ".join(f"{v:.2f}" for v in found["percentiles_25_50_75"])
        if "9" in found.get("mean_by_window", {}):
            cells["9x9 means"] = f"{found['mean_by_window']['9']:.3f}"
        cells["grids"] = f"{found['images']} of {found['grid']}"
    if "pixel_removal" in numbers:
        for order, found in numbers["pixel_removal"].items():
            cells[f"removal, {order} first"] = f"{found['area']:.3f}"
            cells["images"] = f"{found['images']:,}"
    if "sanity" in numbers:
        cells["sanity"] = f"{numbers['sanity']['rank_correlation']['signed'][-1]:.2f}"
    if "cost" in numbers:
        cells["forward passes"] = f"{numbers['cost']['forward_passes']:,.1f}"
    if model["published"] and name in PUBLISHED:
        theirs = published_cifar10()["models"]["9L-S-CoDA-SQ-1000"][PUBLISHED[name]]
        cells["published localisation"] = f"{theirs['localisation']['mean']:.3f}"
        curve = theirs["pixel_removal"]["mean_target_probability"]
        cells["published removal"] = f"{np.trapezoid(curve) / (len(curve) - 1):.3f}"
    return cells


def _legend(used, model):
    notes = {
        "localisation": "Localisation: mean over all cells of all grids; chance is one cell.",
        "9x9 means": "9x9 means: the same for maps averaged over windows of 9x9 pixels.",
        "removal, least first": "Removal: mean probability of the class while up to 25% of the "
        "pixels go; high is good for least important first, low for most important first.",
        "sanity": "Sanity: rank correlation of the maps with those of the net, all its layers "
        "re-initialised; near 0 is good.",
        "forward passes": "Forward passes: time of a map over that of one prediction for an image "
        "of the same size.",
        "published localisation": "Published: S-CoDA-SQ, T = 1000, after 200 epochs, released by "
        "the authors (least important first, 3x3 grids).",
    }
    return [" ".join(note for heading, note in notes.items() if heading in used)]


def _machine(found):
    devices = ", ".join(found["gpus"]) or f"{found['processor']}, {found['cores']} cores"
    return f"Computed on {devices}"


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
