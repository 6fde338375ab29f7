"""The net and the settings of airbench94_muon in PyTorch, on the images that our teacher learns.

    python benchmarks/teacher_twin.py --output benchmarks/results/teacher_twin.json

Jordan (2024, github.com/KellerJordan/cifar10-airbench) gives 94.0% of the test images with six
views for 8 epochs of the original CIFAR-10. This shares no code with `coda_keras.models.airbench`,
so that what both fall short of that is no error of ours: it is due to the images, and to the last
5,000 training images, which are held out and scored. `make test-torch` installs PyTorch.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coda_keras.data import loading
from coda_keras.utils import provenance
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = 5000


def main() -> None:
    args = parse()
    import airbench_torch as twin
    import torch

    torch.manual_seed(args.seed)
    data = loading.load("cifar10", args.data).hold_out(HELD_OUT)
    settings = {"epochs": args.epochs, "seed": args.seed}
    record = provenance.conditions(settings, ROOT, "benchmarks", packages=("torch", "numpy"))
    images, labels = twin.tensors(data.train_images, data.train_labels)
    held_out, right = twin.tensors(data.test_images, data.test_labels)
    net = twin.Twin(images[:5000], len(data.class_names)).to(memory_format=torch.channels_last)
    rows, started = [], time.process_time()
    for epoch, accuracy in enumerate(twin.trained(net, images, labels, args.epochs), start=1):
        row = {"epoch": epoch, "train_accuracy": accuracy}
        row["processor_seconds"] = time.process_time() - started
        row["accuracy"] = twin.share(twin.logits_of(net, held_out), right)
        if epoch == args.epochs:
            row["six_view_accuracy"] = twin.share(twin.six_views(net, held_out), right)
        rows.append(row)
        print(*table([row])[-1:], flush=True)
    write_json(args.output, {**record, "note": data.note, "results": rows})


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    head = ["epoch", "on images it learns", "held out, one view", "six views"]
    names = ("train_accuracy", "accuracy", "six_view_accuracy")
    return markdown_table(
        head,
        [
            [str(row["epoch"]), *(f"{row[name]:.2%}" if name in row else "" for name in names)]
            for row in rows
        ],
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--epochs", type=int, default=8, help="default: 8")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    return parser.parse_args()


if __name__ == "__main__":
    main()
