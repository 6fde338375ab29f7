"""Makes a trained preset of a finished run: weights in half precision and their model card.

    coda-keras release --run runs/cifar10-fast --name s_coda_cifar10

Writes coda_keras/models/weights/NAME.npz and NAME.json. The scores on the card are those of the
weights as they are stored; beside them stands how far storing them moved the logits. A run that
began with the net of another run (--initial) is described with that one, if its folder is there,
and a teacher by the teacher.json beside its logits.
"""

import argparse
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import coda_keras
from coda_keras.data.images import ImageData
from coda_keras.models import pretrained
from coda_keras.models.presets import PRESETS
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, non_negative_int, tensorflow_command
from coda_keras.utils.files import read_json, replacing, write_json

INTENDED_USE = (
    "Trying out, teaching and comparing explanations on photographs of the ten classes of "
    "CIFAR-10, 32x32 pixels, and as a body to fine-tune on small images."
)
LIMITS = (
    "Any other image gets one of the ten classes too; scores are of CIFAR-10's test images and say "
    "nothing about other cameras, crops or classes. The maps say what the net used, not what is "
    "true of the world. Not for decisions about people."
)
# What a card takes from the metrics of every run.
USED = ("arguments", "command", "hardware", "history", "training_seconds", "versions")


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    content, card = release(args, stages(args.run))
    with replacing(card.path) as temporary:
        temporary.write_bytes(content)
    write_json(card.path.with_suffix(".json"), card._asdict())
    print(json.dumps({**card.details["scores"], **card.details["storage"]}, indent=2))


def release(args: argparse.Namespace, runs: Sequence[dict]) -> tuple[bytes, pretrained.Card]:
    """The file of a net's weights in half precision, and a card with the scores of these.

    Args:
        args: the parsed flags.
        runs: metrics of the runs that trained the net, in their order.
    """
    import keras

    from coda_keras import training
    from coda_keras.data.tf_batches import load_tfds
    from coda_keras.models.precision import float32_copy

    used = runs[-1]["arguments"]
    # Before the scores, which take minutes: a teacher's file may be missing.
    files = [run["arguments"]["teacher"] for run in runs if run["arguments"].get("teacher")]
    teacher = {"teacher": taught(files[-1])} if files else {}
    epochs = [epoch for run in runs for epoch in run["history"]]
    net = float32_copy(coda_keras.load_model(args.run / "model.keras"))
    data = load_tfds(args.dataset, args.data)
    images = data.test_images.astype("float32") / 255
    before = training.predict(net, images)
    content = pretrained.pack(net.get_weights())
    net.set_weights([np.asarray(w, "float16").astype("float32") for w in net.get_weights()])
    after = training.predict(net, images)
    scores = training.score(net, data, args.grids, args.occlusion_grids)

    label = PRESETS[used["preset"]].label
    card = pretrained.Card(
        name=args.name,
        description=(
            f"{label}, ranks times {used['rank_scale']:g}, trained on {args.dataset}: "
            f"{scores['test_accuracy']:.2%} of the test images"
        ),
        architecture=used["preset"],
        rank_scale=used["rank_scale"],
        rescale=used["rescale"],
        temperature=used["temperature"],
        class_names=tuple(data.class_names),
        parameters=net.count_params(),
        test_accuracy=scores["test_accuracy"],
        localisation=scores.get("localisation"),
        sha256=hashlib.sha256(content).hexdigest(),
        details={
            "data": {"name": args.dataset, "note": data.note},
            "recipe": commands(runs),
            **({"selection": args.selection} if args.selection else {}),
            **teacher,
            "training": {
                "epochs": len(epochs),
                "images_seen": sum(images_seen(run, data) for run in runs),
                "seconds": sum(run["training_seconds"] for run in runs),
                "test_accuracy_by_epoch": [epoch["val_accuracy"] for epoch in epochs],
                "hardware": runs[-1]["hardware"],
                "versions": runs[-1]["versions"],
            },
            "scores": {**scores, "grid": "3x3"},
            "storage": {
                "dtype": "float16",
                "bytes": len(content),
                "largest_logit_change": float(np.abs(after - before).max()),
                "predictions_changed": int((after.argmax(1) != before.argmax(1)).sum()),
            },
            "intended_use": INTENDED_USE,
            "limits": LIMITS,
            "licence": "Apache-2.0",
            "released": provenance.now(),
            "keras": keras.__version__,
        },
    )
    return content, card


def stages(run: Path) -> list[dict]:
    """Metrics of a run, after those of the runs that it began with and whose folders are there."""
    metrics = read_json(run / "metrics.json", *USED)
    initial = metrics["arguments"].get("initial")
    before = Path(initial).parent if initial else None
    return [*(stages(before) if before and (before / "metrics.json").is_file() else []), metrics]


def images_seen(run: dict, data: ImageData) -> int:
    """How many training images a run saw, one that came again counted again."""
    used = run["arguments"]
    shown = data.hold_out(used["hold_out"]) if used.get("hold_out") else data
    return len(run["history"]) * len(shown.limit(used.get("limit_train")).train_images)


def commands(runs: Sequence[dict]) -> str:
    """The commands of all runs; earlier ones keep their --output, which the next one names."""
    *earlier, last = (run["command"] for run in runs)
    return " && ".join(
        [*(without(command, "--data") for command in earlier), without(last, "--data", "--output")]
    )


def without(command: str, *flags: str) -> str:
    """A command less flags that say where files lie, which changes no result."""
    words, kept = iter(shlex.split(command)), []
    for word in words:
        flag, given, _ = word.partition("=")
        if flag not in flags:
            kept.append(word)
        elif not given:
            next(words, None)
    return shlex.join(kept)


def taught(file: str) -> dict[str, Any]:
    """What is known of a teacher by its file of logits, for the card."""
    found = read_json(Path(file).with_suffix(".json"), "command", "arguments")
    return {
        "recipe": without(found["command"], "--data", "--output"),
        "accuracy": found["test_accuracy"],
        "six_view_accuracy": found["six_view_accuracy"],
        "images": found["test_images"],
        "held_out": bool(found["arguments"]["hold_out"]),
        "training_seconds": found["training_seconds"],
        "seconds_of_logits": found["seconds_of_logits"],
    }


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run")
    parser.add_argument("--name", required=True, help="of the preset: architecture_data")
    parser.add_argument("--selection", help="sentence for the card: how settings were chosen")
    parser.add_argument("--dataset", default="cifar10", help="default: cifar10")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument(
        "--grids", type=non_negative_int, default=250, help="grids of 3x3 images (default: 250)"
    )
    parser.add_argument(
        "--occlusion-grids",
        type=non_negative_int,
        default=50,
        help="of these for occlusion too (default: 50)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
