"""Runs experiments of the paper one after another, or one per GPU, and draws Fig. B.1 to B.3.

    python recipes/sweep.py "Fig. B.1" --output runs/temperatures
    python recipes/sweep.py s_coda_sq_t10 s_coda_sq_t1000 --fast --epochs 2 --output runs/two

Names are experiments of `python recipes/experiments.py`, or its figures and tables. Flags that are
not of this command go on to the recipe of every run. Each run trains in a process of its own, in
the folder of its name, and recipes/evaluate.py scores the net on all test images. The same command
goes on: finished runs are kept, an interrupted one resumes, a failed one is tried again. A run that
fails does not stop the others; the exit code is then 1.

--output receives results.json with accuracy and localisation of all finished runs in it, and the
figures that these are points of, as PNG and PDF.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

os.environ["KERAS_BACKEND"] = "tensorflow"
ROOT = Path(__file__).resolve().parents[1]


from coda_keras_recipes import experiments, sweep_figures

from coda_keras import backend, training
from coda_keras.utils import provenance
from coda_keras.utils.files import write_json

# What results.json takes from the metrics.json of a run.
KEPT = ("test_accuracy", "test_images", "completeness_error", "note", "parameters")
KEPT += ("training_seconds", "arguments", "finished", "versions", "hardware")
PLACES = ("data", "output")  # change nothing of what is computed
SCORED = ("cifar10",)  # recipes whose nets and data recipes/evaluate.py knows


@training.command
def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args, flags = parse()
    names = chosen(args.names)
    # A mistake in the flags ends the command before anything runs.
    runs = {name: arguments(name, args.output / name, flags) for name in names}
    for name in experiments.EXPERIMENTS:
        if finished(args.output / name):
            check_finished(name, args.output / name, flags)
    failures = run_all(runs, args, flags)
    # Also of earlier sweeps into this folder.
    done = [name for name in experiments.EXPERIMENTS if finished(args.output / name)]
    rows = [result(name, args.output / name, scores_file(args)) for name in done]
    write_json(args.output / "results.json", {"results": rows})
    sweep_figures.save(rows, args.output)
    count = f"{len(names) - len(failures)} of {len(names)} runs"
    print(f"results  {args.output / 'results.json'}, {count}")
    if failures:
        sys.exit(1)


def chosen(names):
    """The experiments of these names, figures and tables, in the order of the table."""
    table = experiments.EXPERIMENTS
    places = {place for row in table.values() for place in row.places}
    found = set()
    for name in names:
        if name in places:
            found |= {each for each, row in table.items() if name in row.places}
        elif name in table:
            found.add(name)
        else:
            suggestion = training.nearest(name, [*table, *places])
            raise ValueError(
                f"There is no experiment {name!r}.{suggestion} recipes/experiments.py lists them."
            )
    return [name for name in table if name in found]


def command_line(name, folder, flags):
    return ["--experiment", name, "--output", str(folder), *flags]


def arguments(name, folder, flags):
    """What the recipe makes of the flags."""
    recipe, _, settings, *_ = experiments.EXPERIMENTS[name]
    if settings is None:
        raise ValueError(f"{name} is no training of one net: python recipes/{recipe}.py runs it.")
    module = importlib.import_module(f"coda_keras_recipes.{recipe}")
    return provenance.plain(vars(module.parse(command_line(name, folder, flags))))


def check_finished(name, folder, flags):
    """Raises FileExistsError if a finished run had other arguments."""
    metrics, wanted = folder / "metrics.json", arguments(name, folder, flags)
    # A flag that is younger than the run had its default.
    before = arguments(name, folder, [flag for flag in flags if flag == "--fast"])
    before.update(json.loads(metrics.read_text("utf-8"))["arguments"])
    changed = [
        "--" + key.replace("_", "-")
        for key in sorted(wanted)
        if key not in PLACES and before[key] != wanted[key]
    ]
    if changed:
        raise FileExistsError(
            f"{metrics.parent} holds {name} with another {', '.join(changed)}. Repeat the flags, "
            "choose another --output, or delete the folder."
        )


def run_all(runs, args, flags):
    """Runs what is not finished; returns the names of runs that failed."""
    gpus, devices = visible_gpus(), SimpleQueue()
    for index in range(args.at_once):
        devices.put(gpus[index % len(gpus)] if gpus else None)
    processes, stopping = {}, threading.Event()

    def call(name, script, line):
        """One process to its end; whether it ended well."""
        if stopping.is_set():
            return False
        device = devices.get()
        environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": device} if device else {})}
        log = args.output / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as written:
            processes[name] = subprocess.Popen(
                [sys.executable, ROOT / "recipes" / f"{script}.py", *line],
                stdout=written,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            code = processes[name].wait()
        devices.put(device)
        if code and not stopping.is_set():
            last = (log.read_text("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
            print(f"{name}: failed with exit code {code}: {last} ({log})", file=sys.stderr)
        return code == 0

    def run(name):
        folder = args.output / name
        if not finished(folder):
            print(f"{name}: training", flush=True)
            recipe = experiments.EXPERIMENTS[name].recipe
            if not call(name, recipe, command_line(name, folder, flags)):
                return False
        known = experiments.EXPERIMENTS[name].recipe in SCORED
        if known and not (folder / scores_file(args)).exists():
            line = ["--model", folder / "model.keras", "--output", folder / scores_file(args)]
            line += ["--grids", str(args.grids), "--grid-size", str(args.grid_size), "--fewer"]
            line += ["--data", runs[name]["data"]] if runs[name]["data"] else []
            if not call(name, "evaluate", line):
                return False
        row = result(name, folder, scores_file(args))
        print(f"{name}: {row['test_accuracy']:.2%}", flush=True)
        return True

    pool = ThreadPoolExecutor(args.at_once)
    futures = {name: pool.submit(run, name) for name in runs}
    try:
        return [name for name, future in futures.items() if not future.result()]
    finally:
        # Interrupted, or told to end: no run goes on alone.
        stopping.set()
        for process in processes.values():
            if process.poll() is None:
                process.terminate()
        pool.shutdown(cancel_futures=True)


def finished(folder):
    return (folder / "metrics.json").exists()


def scores_file(args):
    return f"scores-{args.grids}-grids-of-{args.grid_size}.json"


def result(name, folder, scores):
    """A row of results.json."""
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    row = {"experiment": name, **{key: metrics[key] for key in KEPT}}
    row["arguments"] = {k: v for k, v in metrics["arguments"].items() if k not in PLACES}
    row.update(localisation=None, grids=0)
    if (folder / scores).exists():
        # These are of all test images, whatever the run was told.
        row.update(json.loads((folder / scores).read_text("utf-8")))
    return row


def visible_gpus():
    """What CUDA_VISIBLE_DEVICES may name, a str for each GPU open to this process."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found = [str(index) for index in range(len(backend.accelerators()))]
    return given.split(",")[: len(found)] if given else found


def parse():
    parser = training.Parser(description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help="an experiment, figure or table")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/sweep"), help="folder of all runs"
    )
    parser.add_argument(
        "--grids", type=int, default=250, help="grids of localisation; 0 for none (default: 250)"
    )
    parser.add_argument(
        "--grid-size",
        type=training.positive_int,
        default=3,
        help="images a side of a grid; 2 for nets that know few classes yet (default: 3)",
    )
    parser.add_argument(
        "--at-once",
        type=training.positive_int,
        default=max(1, len(backend.accelerators())),
        help="runs at the same time (default: one per GPU, else one)",
    )
    return parser.parse_known_args()


if __name__ == "__main__":
    main()
