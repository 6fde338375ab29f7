"""Makes a trained preset of a finished run: weights in half precision and their model card.

    coda-keras release --run runs/cifar10-fast --name s_coda_cifar10

Writes coda_keras/models/weights/NAME.npz and NAME.json. The scores on the card are those of the
weights as they are stored; beside them stands how far storing them moved the logits. Of a net that
had a teacher the card describes this too, by the teacher.json beside its logits.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import coda_keras
from coda_keras.models import pretrained
from coda_keras.models.presets import PRESETS
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, non_negative_int, tensorflow_command
from coda_keras.utils.files import replacing, write_json

INTENDED_USE = (
    "Trying out, teaching and comparing explanations on photographs of the ten classes of "
    "CIFAR-10, 32x32 pixels, and as a body to fine-tune on small images."
)
LIMITS = (
    "Any other image gets one of the ten classes too; scores are of CIFAR-10's test images and say "
    "nothing about other cameras, crops or classes. The maps say what the net used, not what is "
    "true of the world. Not for decisions about people."
)


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    metrics = json.loads((args.run / "metrics.json").read_text("utf-8"))
    content, card = release(args, metrics)
    with replacing(card.path) as temporary:
        temporary.write_bytes(content)
    write_json(card.path.with_suffix(".json"), card._asdict())
    print(json.dumps({**card.details["scores"], **card.details["storage"]}, indent=2))


def release(args: argparse.Namespace, metrics: dict) -> tuple[bytes, pretrained.Card]:
    """The file of a run's weights in half precision, and a card with the scores of these."""
    import keras

    from coda_keras import training
    from coda_keras.data.tf_batches import load_tfds
    from coda_keras.models.precision import float32_copy

    used = metrics["arguments"]
    # Before the scores, which take minutes: a teacher's file may be missing.
    teacher = taught(used.get("teacher"))
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
            "recipe": without_places(metrics["command"]),
            **({"selection": args.selection} if args.selection else {}),
            **teacher,
            "training": {
                "epochs": used["epochs"],
                "images_seen": used["epochs"] * len(data.train_images),
                "seconds": metrics["training_seconds"],
                "test_accuracy_by_epoch": [epoch["val_accuracy"] for epoch in metrics["history"]],
                "hardware": metrics["hardware"],
                "versions": metrics["versions"],
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


def without_places(command: str) -> str:
    """The command of a run less --data and --output: where files lie changes no result."""
    return re.sub(r" --(data|output)[ =]\S+", "", command)


def taught(file: str | None) -> dict[str, dict]:
    """What is known of a teacher by its file of logits, as an entry of the card; {} for none."""
    if file is None:
        return {}
    found = json.loads(Path(file).with_suffix(".json").read_text("utf-8"))
    entry = {
        "recipe": without_places(found["command"]),
        "accuracy": found["test_accuracy"],
        "six_view_accuracy": found["six_view_accuracy"],
        "images": found["test_images"],
        "held_out": bool(found["arguments"]["hold_out"]),
        "training_seconds": found["training_seconds"],
        "seconds_of_logits": found["seconds_of_logits"],
    }
    return {"teacher": entry}


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
