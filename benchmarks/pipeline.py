"""Images a second: of the input pipeline alone, and of training steps.

    python benchmarks/pipeline.py --output benchmarks/results/pipeline.json

Takes batches as recipes/cifar10.py does, of random images of CIFAR-10's size, without training on
them: the rate at which they come bounds that of training on any device beside these cores. The
same as recipes/imagenet.py does, of smooth noise as JPEG files of 500x375 pixels, and of these
decoded on disk. Then it times training steps of the small net (all ranks divided by 8) on one
batch, without a pipeline.
"""

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coda_keras import CoDANet, OneVsAllCrossentropy
from coda_keras.data.augmentation import flip_and_crop, rand_augment
from coda_keras.data.batches import TrainBatches
from coda_keras.data.image_files import ImageFiles
from coda_keras.data.image_store import stored
from coda_keras.data.tf_batches import train_batches
from coda_keras.training.optimizers import DAUMuon
from coda_keras.training.precision import set_policy
from coda_keras.utils import provenance
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]

IMAGES, SIZE = 10_000, 32
PIPELINES = {
    "order and conversion": lambda: [],
    "flip and crop": lambda: [flip_and_crop()],
    "RandAugment, flip and crop": lambda: [rand_augment(), flip_and_crop()],
}
PHOTOGRAPHS, RESIZED, CROPPED = 128, 256, 240


def main() -> None:
    args = parse()
    values = np.random.default_rng(0)
    images = values.integers(0, 256, (IMAGES, SIZE, SIZE, 3), "uint8")
    labels = values.integers(0, 10, IMAGES, "int32")
    rows = []

    def note(what, rate):
        rows.append({"what": what, "images_per_second": rate})
        print(table(rows)[-1], flush=True)

    for name, augment in PIPELINES.items():
        # More epochs than fit into the time.
        batches = train_batches(
            TrainBatches(images, labels, args.batch_size, 10_000, augment=augment())
        )
        calls = measured(functools.partial(next, iter(batches)), args.seconds)
        note(name, args.batch_size * calls)
    with tempfile.TemporaryDirectory() as folder:
        files = photographs(Path(folder), values)
        pixels, _ = stored(
            Path(folder) / "pixels", files.shape[1:], {}, lambda: zip(files.rows(), labels)
        )
        crop = flip_and_crop(padding=0, size=CROPPED)
        for name, large, augment in (
            ("JPEG files, crop to 240x240", files, [crop]),
            ("decoded on disk, crop to 240x240", pixels, [crop]),
            ("the same after RandAugment", pixels, [rand_augment(), crop]),
        ):
            batches = train_batches(
                TrainBatches(large, labels[:PHOTOGRAPHS], args.batch_size, 10_000, augment=augment)
            )
            calls = measured(functools.partial(next, iter(batches)), args.seconds)
            note(name, args.batch_size * calls)
    batch = images[: args.batch_size] / np.float32(255), labels[: args.batch_size]
    for precision in ("float32", "mixed_bfloat16"):
        set_policy(precision)
        net = CoDANet.from_preset("s_coda", rank_scale=args.rank_scale, image_size=SIZE)
        net.compile(DAUMuon(), OneVsAllCrossentropy())
        calls = measured(functools.partial(net.train_on_batch, *batch), args.seconds)
        note(f"training step, {precision}", args.batch_size * calls)
    record = {
        "results": rows,
        "batch_size": args.batch_size,
        "rank_scale": args.rank_scale,
        "load_average": os.getloadavg(),
        "commit": provenance.commit(ROOT),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
    write_json(args.output, record)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    cells = ((row["what"], f"{row['images_per_second']:,.0f}") for row in rows)
    return markdown_table(["", "images per second"], cells)


def photographs(folder: Path, values: np.random.Generator) -> ImageFiles:
    """Smooth noise in JPEG files, which takes as long to decode as photographs do."""
    paths = [folder / f"{number}.jpg" for number in range(PHOTOGRAPHS)]
    for path in paths:
        coarse = Image.fromarray(values.integers(0, 256, (75, 100, 3), "uint8"))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
    return ImageFiles(paths, RESIZED)


def measured(function: Callable[[], Any], seconds: float) -> float:
    """Calls a second, over so many seconds, without the first three calls."""
    for _ in range(3):
        function()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        function()
        calls += 1
    return calls / (time.perf_counter() - start)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--batch-size", type=positive_int, default=64, help="default: 64")
    parser.add_argument("--rank-scale", type=float, default=0.125, help="default: 0.125")
    parser.add_argument("--seconds", type=float, default=5.0, help="each, default: 5")
    return parser.parse_args()


if __name__ == "__main__":
    main()
