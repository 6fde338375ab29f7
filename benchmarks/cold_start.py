"""How long commands take that begin with nothing in memory, beside an import of TensorFlow.

    python benchmarks/cold_start.py --output benchmarks/results/cold_start.json

Every program runs in a process of its own, one after the other, as often as --repetitions says; of
the seconds the median is kept, and its ratio to that of `python -c "import tensorflow"`. Files have
been read once before the first measurement. --python is the interpreter of another environment.
Keras imports scikit-learn, and TensorFlow JAX, where these are installed.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coda_keras.data import examples
from coda_keras.utils import provenance
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

FLOOR = "import tensorflow"
PROGRAMS = {
    FLOOR: ["-c", "import tensorflow"],
    "import coda_keras": ["-c", "import coda_keras"],
    "coda-keras --help": ["-m", "coda_keras", "--help"],
    "coda-keras explain --help": ["-m", "coda_keras", "explain", "--help"],
    "coda-keras ask --help": ["-m", "coda_keras", "ask", "--help"],
    "coda-keras explain photo.png": ["-m", "coda_keras", "explain", "photo.png", "--overwrite"],
}
MODULES = ("sklearn", "jax")


def main() -> None:
    args = parse()
    record = provenance.record({"repetitions": args.repetitions})
    record["commit"] = provenance.commit(Path(__file__).parent)
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "photo.png").write_bytes(examples.paths()[0].read_bytes())
        for repetition in range(args.repetitions + 1):
            for name, program in PROGRAMS.items():
                seconds = run(args.python, program, folder)
                if repetition:
                    times[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    rows = [
        {
            "program": name,
            "seconds": medians[name],
            "all_seconds": times[name],
            "ratio": medians[name] / medians[FLOOR],
        }
        for name in PROGRAMS
    ]
    print("\n".join(table(rows)))
    if args.output:
        write_json(args.output, {**record, "imported_too": extras(args.python), "results": rows})


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the Markdown table of the results."""
    head = ("program", "s", "ratio to `import tensorflow`")
    cells = (
        (f"`{row['program']}`", f"{row['seconds']:.2f}", f"{row['ratio']:.2f}") for row in rows
    )
    return markdown_table(head, cells)


def run(python: Path, program: list[str], folder: str | Path) -> float:
    """Seconds that a program takes in a process of its own; ends this one if it fails."""
    begin = time.perf_counter()
    subprocess.run([python, *program], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - begin


def extras(python: Path) -> list[str]:
    """Which packages that Keras or TensorFlow import by themselves an environment has."""
    code = "import sys, importlib.util as u; print(*filter(u.find_spec, sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *MODULES], capture_output=True, text=True)
    return done.stdout.split()


def parse(arguments: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter")
    parser.add_argument("--repetitions", type=positive_int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file; printed only if omitted")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
