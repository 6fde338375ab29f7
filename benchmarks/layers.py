"""Times implementations of the DAU layer against each other, in whole networks.

    python benchmarks/layers.py --preset s_coda --output s_coda.json

Contenders are the factored form in each of the precisions and modes asked for (graph, or compiled
by XLA); Algorithm 1 written plainly (one matrix product for w(x), `tf.image.extract_patches`,
multiply and sum), in float32; with --other CHECKOUT the factored form of another checkout of this
repository, in float32, by XLA if that is the only mode; and with --authors CLONE, where PyTorch is
installed, the authors' own code, in a clone of https://github.com/moboehle/CoDA-Nets. Each times
the forward pass, a training step (forward, backward, Adam) and the forward pass with the
contribution map of the predicted class. All begin with the same weights; `difference` is how far
their outputs are from those of the first, over the largest of these. The floor is what the
arithmetic takes in float32; see `floor.py`.

Every contender is a process of its own and they take turns, call by call, so that whatever else
slows the machine down meets all of them. Memory is how far the peak of its process rose from the
built network to the last call, compilation included (resident set on the CPU, allocator on a GPU).
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras import PRESETS
from coda_keras.utils import provenance
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]

IMPLEMENTATIONS = ("factored", "patches")
OPERATIONS = ("forward", "train", "explain")
MODES = ("graph", "xla")
PRECISIONS = ("float32", "mixed_bfloat16")
PACKAGES = ("coda-keras", "tensorflow", "keras", "numpy")
SOURCES = [f"benchmarks/{name}.py" for name in ("layers", "contender", "authors", "floor")]
WARM_UP = 2


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="s_coda")
    parser.add_argument("--rank-scale", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--image-size", type=_positive, help="default: the preset's")
    parser.add_argument("--batch-size", type=_positive, default=16, help="default: %(default)s")
    parser.add_argument(
        "--repetitions", type=_positive, default=10, help="timed calls of each; default: 10"
    )
    parser.add_argument("--implementations", nargs="+", choices=IMPLEMENTATIONS)
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--other", type=Path, help="another checkout of this repository")
    parser.add_argument("--authors", type=Path, help="a clone of the authors' code")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    args = parser.parse_args(arguments)
    args.implementations = args.implementations or IMPLEMENTATIONS
    if not args.output.parent.is_dir():
        parser.error(f"--output: there is no folder {args.output.parent}")
    if args.other and not (args.other / "coda_keras").is_dir():
        parser.error(f"--other: {args.other} is no checkout of this repository")
    if args.authors and not (args.authors / "models/simple_coda.py").is_file():
        parser.error(f"--authors: {args.authors} is no clone of github.com/moboehle/CoDA-Nets")
    if args.authors and not importlib.util.find_spec("torch"):
        parser.error("--authors needs PyTorch: pip install torch")
    return args


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text}")
    return number


class Contender:
    """A process of `contender.py`, of the code in a checkout, and for the authors' in a clone."""

    def __init__(self, checkout: Path, clone: Path | None = None, **arguments: object) -> None:
        command = [sys.executable, ROOT / "benchmarks/contender.py", json.dumps(arguments)]
        paths = [str(path.resolve()) for path in (checkout, clone) if path is not None]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, command: str) -> float | list[float]:
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"A contender ended with code {self._process.wait()}.")
        return json.loads(answer)

    def close(self) -> None:
        self._process.communicate()


def contenders(args: argparse.Namespace, operation: str) -> dict[str, Contender]:
    """All contenders by name, such as `"factored, mixed_bfloat16, graph"`."""
    common = {
        "preset": args.preset,
        "rank_scale": args.rank_scale,
        "image_size": args.image_size,
        "batch_size": args.batch_size,
        "repetitions": args.repetitions,
        "operation": operation,
    }
    chosen = [
        (f"{implementation}, {precision}, {mode}", ROOT, implementation, precision, mode)
        for implementation in args.implementations
        for precision in args.precisions
        for mode in args.modes
        # Algorithm 1 is there to be compared with, not to be tuned.
        if implementation == "factored" or precision == "float32"
    ]
    if args.other:
        mode = "xla" if args.modes == ["xla"] else "graph"
        chosen.append((f"other, float32, {mode}", args.other, "factored", "float32", mode))
    running = {
        name: Contender(
            checkout, implementation=implementation, precision=precision, mode=mode, **common
        )
        for name, checkout, implementation, precision, mode in chosen
    }
    if args.authors:
        weights = {"implementation": "factored", "precision": "float32"}
        running["authors, float32"] = Contender(ROOT, args.authors, **weights, **common)
    return running


def measure(args: argparse.Namespace, operation: str) -> list[dict[str, object]]:
    """A row of results for each contender."""
    running = contenders(args, operation)
    try:
        for contender in running.values():
            for _ in range(WARM_UP):
                contender.ask("run")
        outputs = {name: np.array(contender.ask("output")) for name, contender in running.items()}
        times = {name: [] for name in running}
        for repetition in range(args.repetitions):
            for name in list(running)[:: 1 if repetition % 2 else -1]:
                times[name].append(running[name].ask("run"))
        memory = {name: contender.ask("memory") for name, contender in running.items()}
        floor = next(iter(running.values())).ask("floor")
    finally:
        for contender in running.values():
            contender.close()
    exact = next(iter(outputs.values()))
    return [
        {
            "operation": operation,
            "contender": name,
            "milliseconds_per_image": statistics.median(times[name]),
            "floor_milliseconds_per_image": floor,
            "memory_growth_mib": memory[name],
            "relative_difference": float(np.abs(outputs[name] - exact).max() / np.abs(exact).max()),
            "all_milliseconds_per_image": times[name],
        }
        for name in running
    ]


def conditions(args: argparse.Namespace) -> dict[str, object]:
    """What the figures depend on: arguments, code, packages, machine and its other load."""
    arguments = {key: value for key, value in vars(args).items() if key not in ("other", "authors")}
    packages = PACKAGES + ("torch",) * bool(args.authors)
    return {
        **provenance.conditions(arguments, ROOT, "coda_keras", *SOURCES, packages=packages),
        "other_commit": provenance.commit(args.other) if args.other else None,
        "authors_commit": provenance.commit(args.authors) if args.authors else None,
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown: milliseconds per image, and MiB of a training step."""
    contenders = names = list(dict.fromkeys(row["contender"] for row in rows))
    found = {(row["operation"], row["contender"]): row for row in rows}
    lines = [
        [operation, *(f"{found[operation, name]['milliseconds_per_image']:.3g}" for name in names)]
        for operation in dict.fromkeys(row["operation"] for row in rows)
    ]
    if all("floor_milliseconds_per_image" in row for row in rows):
        for line in lines:
            floor = found[line[0], names[0]]["floor_milliseconds_per_image"]
            line.append(f"{floor:.3g}")
        names = [*names, "floor"]
    if ("train", names[0]) in found:
        memory = [found["train", name]["memory_growth_mib"] for name in contenders]
        line = ["memory of a training step, MiB", *(f"{mib:.0f}" for mib in memory)]
        lines.append([*line, *[""] * (len(names) - len(contenders))])
    return markdown_table(["milliseconds per image", *names], lines)


def main() -> None:
    args = parse()
    record = conditions(args)
    load = record["load_average"][0]
    if load > 0.5:
        print(f"Something else keeps this machine busy (load {load:.1f}); times will be too long.")
    print(f"{'':10}{'contender':34}{'ms/image':>10}{'floor':>10}{'MiB more':>10}{'difference':>12}")
    record["results"] = []
    for operation in args.operations:
        for row in measure(args, operation):
            record["results"].append(row)
            print(
                f"{operation:10}{row['contender']:34}{row['milliseconds_per_image']:10.2f}"
                f"{row['floor_milliseconds_per_image']:10.2f}{row['memory_growth_mib']:10.0f}"
                f"{row['relative_difference']:12.1e}",
                flush=True,
            )
    write_json(args.output, record)
    print(*table(record["results"]), f"Wrote {args.output}", sep="\n")


if __name__ == "__main__":
    main()
