"""A training that is killed again and again, beside one that is not: the same final weights?

    python benchmarks/kills.py --output benchmarks/results/kills.json

Trains a tiny net on random images, with RandAugment, crops, an annealed temperature and the
regularised linear map, in a process that is killed by SIGKILL at random moments: while it starts,
in a step, while it writes a checkpoint (one after every step) or tests. The last one runs to the
end. With --deterministic, as here, every bit of the weights and of the history must be that of the
training that was left alone.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from coda_keras import CoDANet, DAUConv2D, training
from coda_keras.data.augmentation import flip_and_crop, rand_augment
from coda_keras.data.images import ImageData
from coda_keras.utils import provenance
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_json

ROOT = Path(__file__).resolve().parents[1]

IMAGES, BATCH = 64, 8
VALUES = {
    "batch_size": BATCH,
    "learning_rate": 0.01,
    "schedule": "cosine",
    "halve_every": 1,
    "optimizer": "muon",
    "start_temperature": 0.5,
    "rise": 0.5,
    "deterministic": True,
    "checkpoint_every": "1",
}
# Seconds between two looks at the checkpoints, and what is waited at most after the one awaited.
LOOK, WAIT = 0.001, 0.1


def main() -> None:
    args = parse()
    folder = Path(tempfile.mkdtemp())
    chance = random.Random(args.seed)
    steps = args.epochs * (IMAGES // BATCH)
    print("a training that is left alone", flush=True)
    end(begin(folder / "whole", args))
    moments = []
    while len(moments) < args.kills:
        before = newest(folder / "killed")
        process = begin(folder / "killed", args)
        # That many checkpoints from now; none is a moment while it starts.
        awaited = chance.randrange(max(2, steps // args.kills))
        if not wait(process, folder / "killed", before, awaited, chance):
            raise SystemExit("The training has ended before it was killed so often: more --epochs.")
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        moments.append(newest(folder / "killed"))
        print(f"killed after {moments[-1] or 'nothing'}", flush=True)
    end(begin(folder / "killed", args))
    whole, killed = (np.load(folder / name / "final.npz") for name in ("whole", "killed"))
    differences = [float(np.abs(whole[name] - killed[name]).max()) for name in whole.files]
    record = {
        "kills": args.kills,
        "steps": steps,
        "killed_after": moments,
        "same_bits": all(np.array_equal(whole[name], killed[name]) for name in whole.files),
        "largest_difference": max(differences),
        "seed": args.seed,
        "commit": provenance.commit(ROOT),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
    print(f"the same bits: {record['same_bits']}, largest difference: {max(differences):.2g}")
    if args.output:
        write_json(args.output, record)
    shutil.rmtree(folder)
    sys.exit(0 if record["same_bits"] else 1)


def begin(folder: Path, args: argparse.Namespace) -> int:
    """Starts a training in a process of its own, a fork, which need not import TensorFlow again.

    Returns:
        The id of the process.
    """
    process = os.fork()
    if process:
        return process
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        train(folder, args.epochs)
    except BaseException as error:
        print(error, file=sys.stderr)
        os._exit(1)
    os._exit(0)


def end(process: int) -> None:
    """Waits until a training has ended well."""
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit(f"The training failed with status {status}.")


def wait(
    process: int, folder: Path, before: str | None, awaited: int, chance: random.Random
) -> bool:
    """Waits for so many checkpoints, then for a moment; False if the process has ended."""
    seen, last = 0, before
    while seen < awaited:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        seen += newest(folder) != last
        last = newest(folder)
        time.sleep(LOOK)
    # An early moment is one within the seconds in which nets are built and steps traced.
    time.sleep(chance.uniform(0, WAIT if awaited else 10.0))
    return not os.waitpid(process, os.WNOHANG)[0]


def newest(folder: Path) -> str | None:
    """Name of the newest checkpoint."""
    names = [path.stem for path in folder.glob("checkpoint-*.npz")]
    return max(names, default=None)


def train(folder: Path, epochs: int) -> None:
    """A whole training, or the rest of one; writes the final weights and the history."""
    settings = training.Settings(**VALUES, epochs=epochs, output=folder)
    values = np.random.default_rng(1)
    labels = np.arange(IMAGES, dtype="int32") % 2
    images = values.integers(0, 150, (IMAGES, 8, 8, 3)) + 100 * labels[:, None, None, None]
    images = images.astype("uint8")
    data = ImageData(images, labels, images[:BATCH], labels[:BATCH], ["dark", "bright"])

    def build(settings, data):
        layers = [DAUConv2D(4, 2, 3, strides=2), DAUConv2D(2, 2, 1)]
        return CoDANet(layers, temperature=2.0, image_size=8, regularisation=0.1)

    # Without TensorBoard's pictures, which cost more than all the rest of such a training.
    devices = training.start(settings)
    augment = [rand_augment(operations=1), flip_and_crop(1)]
    net, history = training.train(settings, devices, build, data, augment)
    weights = {f"weight_{n}": weight for n, weight in enumerate(net.get_weights())}
    logs = [[log[name] for name in sorted(log) if name != "seconds"] for log in history]
    np.savez(folder / "final.npz", history=logs, **weights)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=positive_int, default=20, help="default: 20")
    parser.add_argument("--epochs", type=positive_int, default=30, help="default: 30")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: 0")
    parser.add_argument("--output", type=Path, help="JSON file of the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
