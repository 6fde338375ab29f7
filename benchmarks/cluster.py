"""Explaining a data set by one process and by a Ray cluster of this machine, and its stages.

    python benchmarks/cluster.py --data FOLDER --output benchmarks/results/cluster.json

Runs `coda-keras explain-data` on training images of CIFAR-10: without Ray, and with as many actors
of one core each as there are cores. Rates are those after the first files are there; what comes
before is start-up. Memory is the largest of any process that explains. Then it takes the work on
an image of ImageNet's size apart: reading, decoding, explaining by a net of ImageNet-100, writing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coda_keras.utils import processors, provenance
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
ONE, ACTORS = "one process", "actors of one core"
# Of ImageNet-1k, and what a shared disk is taken to read and write in a second.
IMAGENET, DISK_BYTES = 1_281_167, 10**9
PHOTOGRAPHS, SIZE = 4, 224
# Of the command line, that change nothing of what is measured.
PLACES = ("data", "output", "steps")
STEPS = ("one", "actors", "stages")


def main() -> None:
    args = parse()
    record = json.loads(args.output.read_text("utf-8")) if args.output.exists() else {}
    arguments = {name: value for name, value in vars(args).items() if name not in PLACES}
    about = {
        "arguments": provenance.plain(arguments),
        "commit": provenance.commit(ROOT),
        "versions": provenance.versions([*provenance.result_packages(), "ray", "pyarrow"]),
        "hardware": provenance.hardware(),
    }
    rows = {row["what"]: row for row in record.get("results", [])}

    def keep() -> None:
        write_json(args.output, {**record, **about, "results": list(rows.values())})

    with tempfile.TemporaryDirectory() as folder:
        for step, name, flags in (("one", ONE, []), ("actors", ACTORS, ["--ray"])):
            if step in args.steps:
                rows[name] = explained(args, Path(folder) / step, name, flags)
                keep()
        if "stages" in args.steps:
            record["stages"] = photographs(Path(folder), args.seconds, args.rank_scale)
            keep()
    print(*table(list(rows.values())), sep="\n")
    if "stages" in record:
        print(*calculation(record), sep="\n")


def explained(
    args: argparse.Namespace, out: Path, name: str, flags: Sequence[str]
) -> dict[str, Any]:
    """Runs the command, and measures its rate, its start-up, its memory and its files."""
    line = [sys.executable, "-m", "coda_keras", "explain-data", "cifar10", "--split", "train"]
    line += ["--model", args.model, "--limit", str(args.images), "--out", str(out), *flags]
    line += ["--data-dir", args.data] if args.data else []
    start = time.time()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, ended = [0.0], threading.Event()
    watch = threading.Thread(target=_watch, args=(process.pid, peak, ended), daemon=True)
    watch.start()
    code = process.wait()
    total = time.time() - start
    ended.set()
    watch.join()
    if code:
        raise SystemExit(f"{name}: exit code {code}")
    files = sorted(out.glob("part-*.parquet"), key=lambda path: path.stat().st_mtime)
    # Of actors the first files come at about the same time.
    skipped = processors.cores() if flags else 1
    times = [path.stat().st_mtime for path in files]
    seconds = times[-1] - times[skipped - 1]
    rate = (args.images - skipped * args.images / len(files)) / seconds
    size = sum(path.stat().st_size for path in files)
    shutil.rmtree(out)
    return {
        "load_average": os.getloadavg(),
        "what": name,
        "processes": skipped,
        "images": args.images,
        "images_per_second": rate,
        "seconds": total,
        "start_up_seconds": total - args.images / rate,
        "peak_mib": peak[0],
        "bytes_per_image": size / args.images,
    }


def _watch(process: int, peak: list[float], ended: threading.Event) -> None:
    """Notes the largest memory of a process, and of Ray's actors."""
    while not ended.wait(0.5):
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                actor = (status.parent / "cmdline").read_bytes().startswith(b"ray::MapWorker")
                if actor or status.parent.name == str(process):
                    lines = status.read_text().splitlines()
                    line = next(line for line in lines if line.startswith("VmHWM"))
                    peak[0] = max(peak[0], int(line.split()[1]) / 1024)
            except (OSError, StopIteration):
                continue


def photographs(folder: Path, seconds: float, rank_scale: float) -> dict[str, float]:
    """Seconds for an image of ImageNet's size, by stage, and its bytes on disk."""
    from coda_keras import CoDANet
    from coda_keras.explained import parts
    from coda_keras.explained.records import Read, decoded

    values = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(PHOTOGRAPHS)]
    for path in paths:
        # Smooth noise takes as long to decode as photographs do.
        coarse = Image.fromarray(values.integers(0, 256, (75, 100, 3), "uint8"))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
    ids = [path.name for path in paths]
    contents = [path.read_bytes for path in paths]
    size = (SIZE, SIZE)
    records = decoded(ids, [None] * PHOTOGRAPHS, contents, size)
    net = CoDANet.from_preset("l_coda", classes=100, rank_scale=rank_scale, image_size=SIZE)
    net.build((None, SIZE, SIZE, 3))
    about = {"class_names": [str(i) for i in range(100)], "label_names": None}
    about |= {"image_size": [SIZE, SIZE], "maps": "float16", "channels": False}
    explainer = parts.Explainer(net, folder, about, parts.batch_rows(size))
    read = Read(0, 0, records)
    whole = timed(lambda: explainer(read), seconds)
    writing = timed(lambda: _write_again(explainer, read), seconds)
    written = parts.path(folder, 0).stat().st_size
    return {
        "reading": timed(lambda: [content() for content in contents], seconds) / PHOTOGRAPHS,
        "decoding": timed(lambda: decoded(ids, [None] * PHOTOGRAPHS, contents, size), seconds)
        / PHOTOGRAPHS,
        "explaining": (whole - writing) / PHOTOGRAPHS,
        "writing": writing / PHOTOGRAPHS,
        "bytes_read": sum(path.stat().st_size for path in paths) / PHOTOGRAPHS,
        "bytes_written": written / PHOTOGRAPHS,
    }


def _write_again(explainer: Any, read: Any) -> None:
    """Writes the part with maps of noise, as long as real ones."""
    from coda_keras.explanation.explanation import Explanation

    count, values = len(read.records.ids), np.random.default_rng(0)
    fields = dict.fromkeys(Explanation.axes)
    fields |= {
        "logits": values.normal(size=(count, 100)).astype("float32"),
        "contribution_map": values.normal(size=(count, SIZE, SIZE)).astype("float32"),
        "residual": np.zeros(count, "float32"),
        "offset": np.zeros(count, "float32"),
    }
    explainer.write(read, Explanation(**fields))


def timed(function: Callable[[], Any], seconds: float) -> float:
    """Seconds of a call, the mean over so many seconds after a first one."""
    function()
    calls, start = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - start < seconds:
        function()
        calls += 1
    return (time.perf_counter() - start) / calls


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    first = rows[0]["images_per_second"]
    head = ["", "images", "images per second", "to one process", "start-up, s", "peak MiB"]
    return markdown_table(
        [*head, "MB for 50,000 images"],
        (
            (
                row["what"] if row["processes"] == 1 else f"{row['processes']} {row['what']}",
                f"{row['images']:,}",
                f"{row['images_per_second']:.1f}",
                f"{row['images_per_second'] / first:.2f}",
                f"{row['start_up_seconds']:.0f}",
                f"{row['peak_mib']:.0f}",
                f"{50_000 * row['bytes_per_image'] / 1e6:.0f}",
            )
            for row in rows
        ),
    )


def calculation(record: dict[str, Any]) -> list[str]:
    """ImageNet on several machines, by what each stage takes on one, and what limits them.

    Reading and writing share a disk of `DISK_BYTES` a second; all else is done by every machine,
    at the rate of all its cores.
    """
    stages, rows = record["stages"], []
    for machines in (1, 10, 100):
        seconds = {
            "reading": stages["bytes_read"] / DISK_BYTES,
            "decoding": stages["decoding"] / machines,
            "explaining": stages["explaining"] / machines,
            "compressing": stages["writing"] / machines,
            "writing": stages["bytes_written"] / DISK_BYTES,
        }
        hours = {name: IMAGENET * value / 3600 for name, value in seconds.items()}
        limit = max(hours, key=lambda name: hours[name])
        rows.append((str(machines), *(f"{value:,.2f}" for value in hours.values()), limit))
    return markdown_table(["machines", *(f"{name}, h" for name in hours), "limited by"], rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--data", help="folder of prepared TensorFlow Datasets")
    parser.add_argument("--images", type=positive_int, default=50_000, help="default: 50,000")
    parser.add_argument("--model", default="s_coda_cifar10", help="default: %(default)s")
    parser.add_argument(
        "--rank-scale", type=float, default=1.0, help="of the net for ImageNet (%(default)s)"
    )
    parser.add_argument(
        "--steps",
        nargs="+",
        choices=STEPS,
        default=STEPS,
        help="what to measure; the rest is kept as the output has it (default: all)",
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each stage (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
