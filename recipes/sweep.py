"""Runs experiments of the paper, as many at once as there are GPUs, and draws Fig. B.1 to B.3.

    coda-keras sweep "Fig. B.1" --output runs/temperatures
    coda-keras sweep s_coda_sq_t10 s_coda_sq_t1000 --fast --epochs 2 --output runs/two

Names are experiments of `coda-keras experiments`, or its figures and tables. Flags that are
not of this command go on to the recipe of every run. Each run trains in a process of its own, in
the folder of its name, and coda-keras evaluate scores the net on all test images. The same command
goes on: finished runs are kept, an interrupted one resumes, a failed one is tried again. A run that
fails does not stop the others; the exit code is then 1.

With --ray the runs are spread over a Ray cluster, whose machines share --output. A run whose
machine is lost runs again elsewhere, from its last checkpoint.

--output receives results.json with accuracy and localisation of all finished runs in it, and the
figures that these are points of, as PNG and PDF.
"""

import argparse
import importlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coda_keras_recipes import experiments
from coda_keras_recipes.explain_data import add_ray

from coda_keras.cluster import processes
from coda_keras.cluster.calls import run_calls
from coda_keras.training.setting_parts import AUTO
from coda_keras.utils import extras
from coda_keras.utils.command_line import (
    Parser,
    non_negative_int,
    positive_int,
    tensorflow_command,
)
from coda_keras.utils.files import read_json, write_json
from coda_keras.utils.progress import ProgressBar
from coda_keras.utils.text import nearest

FOLDER = Path(__file__).resolve().parent

# What results.json takes from the metrics.json of a run.
KEPT = ("test_accuracy", "test_images", "completeness_error", "note", "parameters")
KEPT += ("training_seconds", "arguments", "finished", "versions", "hardware")
PLACES = ("data", "output")  # change nothing of what is computed
SCORED = ("cifar10",)  # recipes whose nets and data `coda-keras evaluate` knows
LOST_WITHIN = 30.0  # seconds


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args, flags = parse(arguments, prog)
    names = chosen(args.names)
    # A mistake in the flags ends the command before anything runs.
    runs = {name: settings(name, args.output / name, flags) for name in names}
    for name in experiments.EXPERIMENTS:
        if finished(args.output / name):
            check_finished(name, args.output / name, flags)
    if args.ray is None:
        gpus = visible_gpus()
        at_once = args.at_once or max(1, len(gpus))
        devices = [gpus[index % len(gpus)] if gpus else None for index in range(at_once)]
    else:
        extras.require("cluster")
        devices = [None]
    data = {name: settings["data"] for name, settings in runs.items()}
    output = args.output.resolve() if args.ray is not None else args.output
    sweep = Sweep(output, FOLDER, flags, data, args.grids, args.grid_size)
    failures = run_all(sweep, devices, args.ray, args.cpus)
    # Also of earlier sweeps into this folder.
    done = [name for name in experiments.EXPERIMENTS if finished(args.output / name)]
    rows = [result(name, args.output / name, scores_file(args)) for name in done]
    write_json(args.output / "results.json", {"results": rows})
    from coda_keras_recipes import sweep_figures

    sweep_figures.save(rows, args.output)
    print(*sweep_figures.table(rows), sep="\n")
    count = f"{len(names) - len(failures)} of {len(names)} runs"
    print(f"results  {args.output / 'results.json'}, {count}")
    if failures:
        sys.exit(1)


def chosen(names: Sequence[str]) -> list[str]:
    """The experiments of these names, figures and tables, in the order of the table."""
    table = experiments.EXPERIMENTS
    places = {place for row in table.values() for place in row.places}
    for name in names:
        if name not in table and name not in places:
            suggestion = nearest(name, [*table, *places])
            raise ValueError(
                f"There is no experiment {name!r}.{suggestion} `coda-keras experiments` lists them."
            )
    return [name for name, row in table.items() if {name, *row.places} & set(names)]


def command_line(name: str, folder: Path, flags: Sequence[str]) -> list[str]:
    """What the recipe of an experiment is called with."""
    return ["--experiment", name, "--output", str(folder), *flags]


def settings(name: str, folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    """What the recipe of an experiment makes of the flags, as metrics.json records it."""
    from coda_keras.utils import provenance

    row = experiments.EXPERIMENTS[name]
    if row.settings is None:
        message = f"{name} is no training of one net: {row.command} runs it."
        raise ValueError(message)
    recipe = importlib.import_module(f"coda_keras_recipes.{row.recipe}")
    return provenance.plain(recipe.parse(command_line(name, folder, flags)).as_dict())


def check_finished(name: str, folder: Path, flags: Sequence[str]) -> None:
    """Raises FileExistsError if a finished run had other arguments."""
    metrics, wanted = folder / "metrics.json", settings(name, folder, flags)
    # A flag that is younger than the run had its default.
    before = settings(name, folder, [flag for flag in flags if flag == "--fast"])
    before.update(read_json(metrics, "arguments")["arguments"])
    changed = [
        "--" + key.replace("_", "-")
        for key in sorted(wanted)
        # What the machine decided before fits.
        if key not in PLACES and wanted[key] not in (before[key], AUTO)
    ]
    if changed:
        raise FileExistsError(
            f"{metrics.parent} holds {name} with another {', '.join(changed)}. Repeat the flags, "
            "choose another --output, or delete the folder."
        )


@dataclass(frozen=True)
class Sweep:
    """What all runs need to know, wherever they run.

    Attributes:
        output: folder of all runs.
        scripts: folder of the recipes.
        flags: those that go on to the recipes.
        data: where the data of a run is, by the name of the run, or None.
        grids, grid_size: of the localisation.
    """

    output: Path
    scripts: Path
    flags: Sequence[str]
    data: Mapping[str, str | None]
    grids: int
    grid_size: int


def run_all(sweep: Sweep, devices: Sequence[str | None], ray: str | None, cpus: int) -> list[str]:
    """Runs what is not finished; returns the names of runs that failed.

    Args:
        sweep: the runs.
        devices: a GPU of this machine, or None, for each run at a time.
        ray: address of a Ray cluster, as for `run_calls`.
        cpus: cores of a run on a cluster without GPUs.
    """
    names, failures = list(sweep.data), []
    slots = [{"CUDA_VISIBLE_DEVICES": device} if device else {} for device in devices]
    try:
        with ProgressBar("sweep", "run", len(names)) as progress:
            for index, error in run_calls(train_and_score, names, sweep, slots, ray, cpus):
                name = names[index]
                if error is None and not finished(sweep.output / name):
                    error = f"{sweep.output} is not the same folder on all machines"
                if error is None:
                    row = result(name, sweep.output / name, scores_file(sweep))
                    progress.say(f"{name}: {row['test_accuracy']:.2%}")
                else:
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
                    failures.append(name)
                progress.update()
    finally:
        # Interrupted, or told to end: no run goes on alone.
        processes.end_all()
    return failures


def train_and_score(sweep: Sweep, name: str) -> str | None:
    """Does what a run lacks, in processes of its own; returns what went wrong, or None."""
    folder, scores = sweep.output / name, scores_file(sweep)
    recipe, error = experiments.EXPERIMENTS[name].recipe, None
    if not finished(folder):
        print(f"{name}: training", flush=True)
        line = command_line(name, folder, sweep.flags)
        error = run_script(sweep, name, recipe, line)
    if error is None and recipe in SCORED and not (folder / scores).exists():
        line = ["--model", str(folder / "model.keras"), "--output", str(folder / scores)]
        line += [
            "--grids",
            str(sweep.grids),
            "--grid-size",
            str(sweep.grid_size),
            "--fewer",
            "--all-correct",
        ]
        data = sweep.data[name]
        error = run_script(sweep, name, "evaluate", line + (["--data", data] if data else []))
    return error


def run_script(sweep: Sweep, name: str, script: str, line: Sequence[str]) -> str | None:
    """Runs a recipe to its end, beside a log; returns what went wrong, or None."""
    log = sweep.output / f"{name}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            code = processes.run([sys.executable, sweep.scripts / f"{script}.py", *line], file)
    except OSError as error:
        return f"cannot be started: {error}"
    if code == 0:
        return None
    if code == -signal.SIGKILL:
        # A Ray worker that ends kills what it has started first. It is gone before this time is
        # over, so that its run is lost and runs again, and has not failed.
        time.sleep(LOST_WITHIN)
    last = (log.read_text("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
    return f"failed with exit code {code}: {last} ({log})"


def finished(folder: Path) -> bool:
    """Whether the run in a folder has come to its end."""
    return (folder / "metrics.json").exists()


def scores_file(grids: "Sweep | argparse.Namespace") -> str:
    """Name of the file with the scores on these grids, in the folder of a run."""
    return f"scores-{grids.grids}-grids-of-{grids.grid_size}.json"


def result(name: str, folder: Path, scores: str) -> dict[str, Any]:
    """A row of results.json."""
    metrics = read_json(folder / "metrics.json", *KEPT)
    row = {"experiment": name, **{key: metrics[key] for key in KEPT}}
    row["arguments"] = {k: v for k, v in metrics["arguments"].items() if k not in PLACES}
    row.update(localisation=None, grids=0)
    if (folder / scores).exists():
        # These are of all test images, whatever the run was told.
        row.update(read_json(folder / scores))
    return row


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name, a str for each GPU open to this process."""
    from coda_keras import backend

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = [str(index) for index in range(len(backend.accelerators()))]
    return visible.split(",")[: len(gpus)] if visible else gpus


def parse(
    arguments: Sequence[str] | None = None, prog: str | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """The arguments of this command, and the flags that go on to the recipes."""
    parser = Parser(description=__doc__, prog=prog)
    parser.add_argument("names", nargs="+", metavar="NAME", help="an experiment, figure or table")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/sweep"), help="folder of all runs"
    )
    parser.add_argument(
        "--grids",
        type=non_negative_int,
        default=250,
        help="grids of localisation; 0 for none (default: 250)",
    )
    parser.add_argument(
        "--grid-size",
        type=positive_int,
        default=3,
        help="images a side of a grid; 2 for nets that know few classes yet (default: 3)",
    )
    parser.add_argument(
        "--at-once",
        type=positive_int,
        help="runs at the same time (default: one per GPU, else one)",
    )
    add_ray(parser, "run", "run")
    return parser.parse_known_args(arguments)


if __name__ == "__main__":
    main()
