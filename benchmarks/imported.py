"""Nets of the authors imported from state dicts, held against a twin in PyTorch, at full size.

    PYTHONPATH=. python benchmarks/imported.py --output benchmarks/results/imported.json

For each of the seven published configurations a state dict with random weights is written by
`torch.save` and imported as `coda-keras import authors` does it. The net's logits without b_0 and
its contributions are compared with those of the twin (benchmarks/authors_twin.py).
Needs PyTorch.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, command, positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    from coda_keras.importing.catalogue import FAMILIES

    rows = []
    for name in FAMILIES["authors"].nets:
        rows.append(compare(name, args.images))
        print(*table(rows[-1:])[-1:], flush=True)
    record = {
        **provenance.record(vars(args)),
        "versions": provenance.versions(("coda-keras", "tensorflow", "keras", "numpy", "torch")),
        "commit": provenance.commit(ROOT),
        "load_average": os.getloadavg(),
        "results": rows,
    }
    write_json(args.output, record)


def compare(
    name: str, images: int, image_size: int | None = None, rank_scale: float = 1.0
) -> dict[str, Any]:
    """Imports a net of random weights, and how far it is from the twin.

    Args:
        name: of a published net.
        images: int, how many random images.
        image_size: int; None for the net's own.
        rank_scale: by which the ranks are multiplied.

    Returns:
        Largest differences of `logits` without b_0 and of `contributions`, each as a share of the
        largest.
    """
    import keras
    import torch

    from benchmarks.authors_twin import Net
    from coda_keras.importing import authors, torch_file
    from coda_keras.importing.catalogue import temperature
    from coda_keras.models.presets import PRESETS

    torch.manual_seed(0)
    preset = PRESETS["l_coda" if "-L-" in name else "s_coda"]
    twin = Net(preset, temperature(name), [round(rank * rank_scale) for rank in preset.ranks])
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / f"{name}.pkl"
        torch.save(twin.state_dict(), stored)
        net = authors.net(torch_file.read(stored), temperature(name))
    net.run_eagerly = True
    size = image_size or preset.image_size
    pixels = np.random.default_rng(0).uniform(size=(images, size, size, 3)).astype("float32")
    encoded = np.concatenate([pixels, 1 - pixels], -1).transpose(0, 3, 1, 2)
    class_ids = np.arange(images)
    logits, contributions = twin.explain(torch.from_numpy(encoded.copy()), class_ids)
    own, _ = net.linearize(pixels)
    explanation = net.explain(pixels, class_ids).numpy()
    return {
        "name": name,
        "parameters": net.count_params(),
        "image_size": size,
        "images": images,
        "logits": difference(keras.ops.convert_to_numpy(own), logits.numpy()),
        "contributions": difference(
            explanation.contributions, contributions.numpy().transpose(0, 2, 3, 1)
        ),
    }


def difference(own: np.ndarray, other: np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    return float(np.abs(own - other).max() / np.abs(other).max())


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown: largest differences, as shares of the largest value."""
    head = ["net", "parameters", "image", "difference of logits", "of contributions"]
    return markdown_table(
        head,
        (
            [
                row["name"],
                f"{row['parameters']:,}",
                f"{row['image_size']}x{row['image_size']}",
                f"{row['logits']:.1e}",
                f"{row['contributions']:.1e}",
            ]
            for row in rows
        ),
    )


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--images", type=positive_int, default=2, help="random images (default: 2)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
