"""How many images a second the input pipeline makes alone, beside what a training step takes.

    python benchmarks/pipeline.py --output benchmarks/results/pipeline.json

Batches of made images as the recipes read them: small ones in memory, ones of ImageNet's size in
their JPEG files and decoded on disk, with and without RandAugment; and the steps of the small net
of `recipes/cifar10.py --fast` on images that are there already. A pipeline that makes more than the
step takes keeps the processor of the step busy.
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from export.quiet import import_tensorflow

import_tensorflow()

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from coda_keras import CoDANet, OneVsAllCrossentropy, provenance, training
from coda_keras.files import write_json
from coda_keras.image_files import ImageFiles
from coda_keras.image_store import stored
from coda_keras.optimizers import DAUMuon
from coda_keras.tf.augmentation import flip_and_crop, rand_augment
from coda_keras.tf.data import train_batches

BATCH = 64
PHOTOGRAPH, RESIZED, CROPPED = (375, 500), 256, 240  # ImageNet's usual size
OPERATIONS, MAGNITUDE = 2, 9


@training.command
def main():
    args = parse()
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (1024, 32, 32, 3)).astype("uint8")
    started = provenance.now()
    with tempfile.TemporaryDirectory() as folder:
        files = photographs(Path(folder), args.files, random)
        shape = files.shape[1:]
        disk, _ = stored(
            Path(folder) / "decoded", shape, {}, lambda: ((image, 0) for image in files.rows())
        )
        crop = flip_and_crop(padding=0, size=CROPPED)
        randaugment = rand_augment(OPERATIONS, MAGNITUDE)
        measured = {
            "32x32 in memory, crop": (small, [flip_and_crop(4)]),
            "32x32 in memory, RandAugment, crop": (small, [randaugment, flip_and_crop(4)]),
            "JPEG files of 500x375 to 240x240, crop": (files, [crop]),
            "decoded on disk, 240x240, crop": (disk, [crop]),
            "decoded on disk, 240x240, RandAugment, crop": (disk, [randaugment, crop]),
        }
        rates = {name: pipeline(*each, args.seconds) for name, each in measured.items()}
    rates["step of S-CoDA/8, 32x32"] = step(small[:BATCH], args.seconds)
    for name, rate in rates.items():
        print(f"{name:48}{rate:10.0f} images/s")
    conditions = {
        "started": started,
        "commit": provenance.commit(ROOT),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "arguments": provenance.plain(vars(args)),
    }
    write_json(args.output, {**conditions, "images_per_second": rates})


def photographs(folder, count, random):
    """Smooth noise as JPEG files, which takes as long to decode as photographs do."""
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (75, 100, 3)).astype("uint8"))
        coarse.resize(PHOTOGRAPH[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
    return ImageFiles(paths, RESIZED)


def pipeline(images, augment, seconds):
    """Images a second that `train_batches` makes when nobody else works."""
    labels = np.zeros(len(images), "int32")
    batches = train_batches(images, labels, min(BATCH, len(images)), 10**6, augment=augment)
    return rate(iter(batches).__next__, seconds, min(BATCH, len(images)))


def step(images, seconds):
    """Images a second that training steps take, whose batch is there already."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    net = CoDANet.from_preset("s_coda", rank_scale=0.125, image_size=32)
    net.compile(DAUMuon(1e-3), OneVsAllCrossentropy(), jit_compile=False)
    batch = tf.constant(images, tf.float32) / 255, tf.zeros(len(images), tf.int32)
    found = rate(lambda: net.train_on_batch(*batch), seconds, len(images))
    keras.config.set_dtype_policy("float32")
    return found


def rate(make, seconds, images):
    """Images a second of `make()`, which makes so many, after a first call."""
    make()
    begin, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - begin < seconds:
        make()
        calls += 1
    return calls * images / (time.perf_counter() - begin)


def parse():
    parser = training.Parser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each number (default: 5)")
    parser.add_argument(
        "--files", type=training.positive_int, default=256, help="JPEG files made (default: 256)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
