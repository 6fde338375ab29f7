"""The tables of the documentation, from stored results and the cards of the presets.

    make tables

writes them into README.md and the pages of docs/, between the lines `<!-- table NAME -->` and
`<!-- end -->`. What makes a table is what the command beside it prints with. A page whose tables
are out of date fails a test; this command is the remedy.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"(<!-- table ([\w.-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
RESULTS, DOCS = "benchmarks/results", "docs/results"
Lines = Iterable[str]


def main() -> None:
    for page in pages():
        text = page.read_text("utf-8")
        filled = fill(text)
        if filled != text:
            page.write_text(filled, "utf-8")
            print(f"wrote {page.relative_to(ROOT)}")


def pages() -> list[Path]:
    """The pages that may have tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fill(text: str) -> str:
    """A page with the tables that its marks name."""
    return MARKED.sub(lambda found: f"{found[1]}\n{table(found[2])}\n\n", text)


def table(name: str) -> str:
    """A table in Markdown, by its name in `TABLES`."""
    return "\n".join(TABLES[name]())


def stored(path: str) -> Any:
    """The content of a JSON file of this repository."""
    return json.loads((ROOT / path).read_text("utf-8"))


def printed(name: str, module: str) -> Lines:
    """What a benchmark prints of its stored results, and where they are from."""
    path = f"{RESULTS}/{name}.json"
    record = stored(path)
    return [
        *import_module(f"benchmarks.{module}").table(record["results"]),
        "",
        f"*{machines(record)}: `{path}`*",
    ]


def machines(record: dict[str, Any]) -> str:
    """The processors or GPUs that a record, or the rows of its results, name."""
    records = [record, record.get("conditions", {}), *record["results"]]
    found = [row["hardware"] for row in records if isinstance(row, dict) and "hardware" in row]
    names = (
        ", ".join(hardware["gpus"]) or f"{hardware['processor']}, {hardware['cores']} cores"
        for hardware in found
    )
    return "; ".join(dict.fromkeys(name.replace("1 cores", "1 core") for name in names))


def studied(name: str, model: int = 0) -> Lines:
    """The table of a model in a stored study, as `results.md` has it."""
    from coda_keras.study.results import markdown

    part = markdown(stored(f"{DOCS}/cifar10-{name}.json")).split("\n## ")[1:][model]
    return [line for line in part.splitlines() if line.startswith("|")]


def experiments() -> Lines:
    """All experiments of the paper."""
    return import_module("coda_keras_recipes.experiments").table().splitlines()


def swept(name: str) -> Lines:
    """The runs of a sweep."""
    rows = stored(f"recipes/results/experiments-{name}.json")["results"]
    return import_module("coda_keras_recipes.sweep_figures").table(rows)


def supplement(part: str, squares: bool = False) -> Lines:
    """A table of supplement D or E."""
    module = import_module("coda_keras_recipes.supplement")
    rows = stored(f"{DOCS}/supplement.json")[part]
    return module.table_d(rows, squares) if part == "D" else module.table_e(rows)


def cards() -> Lines:
    """The trained presets: what `coda-keras evaluate` has found, and what they took."""
    from coda_keras.models.pretrained import cards

    head = ["preset", "parameters", "test accuracy", "localisation", "by the authors' rule"]
    return markdown_table(
        [*head, "completeness error"],
        (
            (
                f"`{name}`",
                f"{card.parameters:,}",
                f"{card.test_accuracy:.2%}",
                f"{card.localisation:.3f}",
                f"{card.details['scores']['published_rule_localisation']:.3f}",
                f"{card.details['scores']['completeness_error']:.1e}",
            )
            for name, card in cards().items()
        ),
    )


def methods() -> Lines:
    """Some rows and columns of the study."""
    model = stored(f"{DOCS}/cifar10-study.json")["models"][0]
    shown = ("contributions", "occlusion_9", "occlusion_5", "gradcam")
    found = {name: model["methods"][name] for name in shown}
    return markdown_table(
        ["method", "localisation", "removal, least first", "forward passes"],
        (
            (
                numbers["label"],
                f"{numbers['localisation']['mean']:.3f}",
                f"{numbers['pixel_removal']['least']['area']:.3f}",
                f"{numbers['cost']['forward_passes']:.1f}",
            )
            for numbers in found.values()
        ),
    )


def digits(figure: str) -> Lines:
    """The numbers below a figure of noisy digits."""
    module = import_module("coda_keras_recipes.mnist")
    return getattr(module, f"table_{figure}")(stored(f"{DOCS}/mnist.json")[figure])


def live(table: str) -> Lines:
    """What a page with a net in it computes, and sees of photographs."""
    path = f"{RESULTS}/live.json"
    record = stored(path)
    lines = getattr(import_module("benchmarks.live"), table)(record["results"])
    return [*lines, "", f"*{machines(record)}: `{path}`*"]


def precision() -> Lines:
    """What bfloat16 changes in a net."""
    path = f"{RESULTS}/precision.json"
    record = stored(path)
    lines = import_module("benchmarks.precision").table(record["scores"])
    return [*lines, "", f"*{machines({**record, 'results': []})}: `{path}`*"]


def imagenet() -> Lines:
    """ImageNet on many machines, calculated from the times of one image."""
    return import_module("benchmarks.cluster").calculation(stored(f"{RESULTS}/cluster.json"))


def floors() -> Lines:
    """Whole nets beside their arithmetic, by the kernels that a processor has."""
    rows, machine = [], ""
    for ranks, words in (("full", "all ranks"), ("eighth", "an eighth of them")):
        for kernels in ("native", "avx2", "sse41", "avx2-eigen"):
            record = stored(f"{RESULTS}/floor_{ranks}_{kernels}.json")
            net = {row["operation"]: row for row in record["results"] if row["part"] == "s_coda"}
            forward, step, explain = (
                net[name]["milliseconds_per_image"] for name in ("forward", "train", "explain")
            )
            floor = net["forward"]["floor_milliseconds_per_image"]
            rows.append(
                (
                    words,
                    kernels,
                    f"{sum(record['product_gflops']) / 2:.0f}",
                    f"{forward:.3g} ({forward / floor:.2f})",
                    f"{step:.3g} ({step / floor / 3:.2f})",
                    f"{explain - forward:.3g} ({explain / floor - forward / floor:.2f})",
                    f"{explain / forward:.2f}",
                )
            )
            machine = machines(record)
    head = ["ranks", "kernels", "GFLOP/s", "forward", "step", "pullback", "explain / forward"]
    return [
        *markdown_table(head, rows),
        "",
        f"*{machine}: `{RESULTS}/floor_*.json`*",
    ]


TABLES: dict[str, Callable[[], Lines]] = {
    "presets": cards,
    "preset-times": partial(printed, "presets", "presets"),
    "methods": methods,
    "experiments": experiments,
    "study": partial(studied, "study"),
    "study-small": partial(studied, "study", 1),
    "all-metrics": partial(studied, "metrics"),
    "resnet56": partial(studied, "metrics", 1),
    "figure2": partial(digits, "figure2"),
    "figure3": partial(digits, "figure3"),
    "precision": precision,
    "supplement-d": partial(supplement, "D"),
    "supplement-d-squares": partial(supplement, "D", True),
    "supplement-e": partial(supplement, "E"),
    "sweep-eighth": partial(swept, "eighth"),
    **{
        name: partial(printed, name, name)
        for name in (
            "ingredients",
            "pipeline",
            "explorer",
            "attacks",
            "waiting",
            "cold_start",
            "portability",
            "views",
            "cluster",
        )
    },
    **{
        name: partial(printed, name, "serving")
        for name in ("serving-load", "serving-100000", "serving-publish")
    },
    **{
        name: partial(printed, name, "layers")
        for name in (
            "s_coda_authors",
            "s_coda_eighth_authors",
            "s_coda_authors_step",
            "s_coda_eighth_authors_step",
        )
    },
    "floors": floors,
    "imported": partial(printed, "imported", "imported"),
    "bcos-networks": partial(printed, "bcos_networks", "bcos_networks"),
    "distillation": partial(printed, "distillation", "distillation"),
    "live": partial(live, "table"),
    "live-photographs": partial(live, "photographs_table"),
    "live-ort": partial(live, "ort_table"),
    "cluster-imagenet": imagenet,
    "serving-overhead": partial(printed, "serving-overhead", "serving_overhead"),
}


if __name__ == "__main__":
    main()
