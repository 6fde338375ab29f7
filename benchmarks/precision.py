"""What mixed_bfloat16 changes in a trained net: accuracy, logits, contribution maps.

    python benchmarks/precision.py --model s_coda_cifar10 \\
        --output benchmarks/results/precision.json

Runs the net in float32 and in mixed_bfloat16 on the test images of CIFAR-10, and explains the
predicted class of the first of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras import CoDANet, attribution
from coda_keras.data.tf_batches import load_tfds
from coda_keras.models.loading import load_model
from coda_keras.utils import provenance
from coda_keras.utils.command_line import command, positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    data = load_tfds("cifar10", args.data).limit(test=args.limit_test)
    images = data.test_images.astype("float32") / 255
    exact = load_model(args.model)
    config = exact.get_config()
    for part in [config, *(layer["config"] for layer in config["layers"])]:
        part["dtype"] = "mixed_bfloat16"
    mixed = CoDANet.from_config(config)
    mixed.set_weights(exact.get_weights())

    logits = [net.predict(images, batch_size=250, verbose=0) for net in (exact, mixed)]
    predicted = [values.argmax(axis=1) for values in logits]
    explained = images[: args.maps], predicted[0][: args.maps]
    maps = [attribution.maps(net, *explained) for net in (exact, mixed)]
    norms = np.linalg.norm(maps[0].reshape(args.maps, -1), axis=1)
    distances = np.linalg.norm((maps[1] - maps[0]).reshape(args.maps, -1), axis=1) / norms
    scores = {
        "accuracy_float32": float(np.mean(predicted[0] == data.test_labels)),
        "accuracy_mixed_bfloat16": float(np.mean(predicted[1] == data.test_labels)),
        "test_images": len(images),
        "median_logit_change": float(np.median(np.abs(logits[1] - logits[0]))),
        "largest_logit_change": float(np.abs(logits[1] - logits[0]).max()),
        "median_relative_map_distance": float(np.median(distances)),
        "largest_relative_map_distance": float(distances.max()),
        "maps": args.maps,
    }
    print(*table(scores), sep="\n")
    conditions = {
        "model": str(args.model),
        "commit": provenance.commit(ROOT),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
    write_json(args.output, {**conditions, "scores": scores})


def table(scores: dict[str, Any]) -> list[str]:
    """The lines of a table in Markdown."""
    changes = [f"{scores[f'{size}_logit_change']:.2g}" for size in ("median", "largest")]
    maps = [f"{scores[f'{size}_relative_map_distance']:.1%}" for size in ("median", "largest")]
    return markdown_table(
        ["", "float32", "bfloat16"],
        [
            [
                f"test accuracy, {scores['test_images']:,} images",
                f"{scores['accuracy_float32']:.2%}",
                f"{scores['accuracy_mixed_bfloat16']:.2%}",
            ],
            ["change of a logit, median (largest)", "", f"{changes[0]} ({changes[1]})"],
            [
                f"distance of maps over their norm, median of {scores['maps']} (largest)",
                "",
                f"{maps[0]} ({maps[1]})",
            ],
        ],
    )


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a trained preset, or a .keras file")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--maps", type=positive_int, default=250, help="default: 250")
    parser.add_argument("--limit-test", type=positive_int, metavar="N")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
