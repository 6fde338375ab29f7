"""Explains image files: the classes that a net predicts, and what every pixel contributes.

    coda-keras explain photo.png
    coda-keras explain --model runs/digits/model.keras --resize digit.png photographs/

prints the most probable classes of every image and writes a picture into the folder given by --out:
the image, the contribution of every pixel to the logit (red raises it, blue lowers it), and the
weights that were applied to the pixels, as colours. --classes explains several classes side by
side, by their names or numbers.

Without --model the most accurate net of the package explains, and images are cropped and resized to
fit it. An image that cannot be read, or has another size than the model takes, is reported in a
line; the others are explained, and the exit code is 1.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from coda_keras_export.images import find_images, output_paths, read_images
from matplotlib.figure import Figure
from PIL import Image

import coda_keras
from coda_keras.models.pretrained import check_exists, most_accurate
from coda_keras.utils.command_line import Failures, Parser, command, positive_int
from coda_keras.utils.files import check_folder

TOP = 3
# Images for which compiling takes longer than it saves.
FEW = 10


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    failures = Failures(prog)
    files = find_images(args.images, failures.tell)
    check_folder(args.out)
    paths = output_paths(args.out, files, args.overwrite)
    if args.model is None:
        card = most_accurate()
        args.model, args.resize = card.name, True
        print(
            f"The net {card.name} explains, the most accurate that ships ({card.description}). "
            "Images are cropped and resized to fit it; --model takes another.",
            flush=True,
        )
    check_exists(args.model)
    explain(args, files, paths, failures)
    failures.end()


def explain(
    args: argparse.Namespace, files: list[Path], paths: list[Path], failures: Failures
) -> None:
    """Explains the images of files, and saves a picture of each at its path."""
    from coda_keras.explanation.explanation import require_inherent

    net = coda_keras.load_model(args.model)
    require_inherent(net)
    size = net.image_size if args.size is None else (args.size, args.size)
    if size is None:
        raise ValueError(f"{args.model} takes images of any size. Give one by --size.")
    net.run_eagerly = len(files) <= FEW
    names = class_names(net, args.labels)
    class_ids = chosen(args.classes, names)
    for number, picture, _ in read_images(files, *size, args.resize, failures.tell):
        image = np.asarray(picture, "float32")[None] / 255
        explanation = net.explain(image, class_ids).numpy()
        logits = explanation.logits[0]
        coda_keras.figures.save_figure(draw(picture, explanation, names), paths[number])
        best = ", ".join(scored(logits, i, names) for i in np.argsort(-logits)[: args.top])
        explained = ", ".join(names[i] for i in explanation.class_ids.ravel())
        print(f"{files[number]}: {best}; why {explained}: {paths[number]}", flush=True)


def class_names(net: "coda_keras.CoDANet", path: str | None) -> Sequence[str]:
    """Names of the classes: from a file, from the net, or their numbers."""
    names = getattr(net, "class_names", None) or [str(number) for number in range(net.classes)]
    if path:
        names = Path(path).read_text("utf-8").splitlines()
    if len(names) != net.classes:
        raise ValueError(f"{path} has {len(names)} lines, the net has {net.classes} classes.")
    return names


def chosen(text: str | None, names: Sequence[str]) -> list[list[int]] | None:
    """Class ids from a comma-separated list of names or numbers; None for the predicted class."""
    if text is None:
        return None
    numbers = range(len(names))
    ids = {**dict(zip(map(str, numbers), numbers)), **dict(zip(names, numbers))}
    unknown = [name for name in text.split(",") if name not in ids]
    if unknown:
        raise ValueError(f"There is no class {unknown[0]!r}. The net has: {', '.join(names)}.")
    return [[ids[name] for name in text.split(",")]]


def draw(
    picture: Image.Image, explanation: "coda_keras.Explanation", names: Sequence[str]
) -> Figure:
    """The image, the maps of its classes on one scale, and the weights of the first."""
    logits, (height, width) = explanation.logits[0], explanation.contribution_map.shape[-2:]
    return coda_keras.figures.plot_contributions(
        np.asarray(picture),
        explanation.contribution_map.reshape(-1, height, width),
        [f"{names[i]}, logit {logits[i]:.2f}" for i in explanation.class_ids.ravel()],
        weights=explanation.weights.reshape(-1, height, width, 6)[0],
    )


def scored(logits: np.ndarray, i: int, names: Sequence[str]) -> str:
    """The name of a class with its probability and logit."""
    probability = coda_keras.evaluation.probabilities(logits)[i]
    return f"{names[i]} {probability:.3f} (logit {logits[i]:.2f})"


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    flags = Parser(prog=prog, description=__doc__)
    flags.add_argument("images", nargs="+", type=Path, help="image files, and folders of them")
    flags.add_argument(
        "--model",
        help="a trained .keras file, or the name of a trained preset; the most accurate of these "
        "if omitted",
    )
    flags.add_argument("--classes", help="comma-separated; default: the class predicted")
    flags.add_argument("--labels", help="text file with the name of a class in every line")
    flags.add_argument(
        "--out", type=Path, default=Path("explained"), help="folder for pictures (%(default)s)"
    )
    flags.add_argument("--overwrite", action="store_true", help="replace pictures in --out")
    flags.add_argument(
        "--top", type=positive_int, default=TOP, metavar="N", help="classes printed (%(default)s)"
    )
    flags.add_argument("--size", type=positive_int, help="pixels a side, other than the net's own")
    flags.add_argument("--resize", action="store_true", help="crop and resize images to fit")
    return flags.parse_args(arguments)


if __name__ == "__main__":
    main()
