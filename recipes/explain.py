"""Explains images of one's own: the classes a trained net sees, and the pixels that speak for them.

    python recipes/explain.py --model runs/digits/model.keras --resize digit.png

prints the most probable classes of every image and writes a picture into the folder given by --out:
the image, the contribution of every pixel to the logit in red (for) and blue (against), and the
weights that were applied to the pixels, as colours. --classes explains several classes side by
side, by their names or numbers.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"


import numpy as np
from coda_keras_export.images import open_image, output_paths

from coda_keras import evaluation, figures
from coda_keras.explanation.explanation import require_inherent
from coda_keras.models.loading import load_model
from coda_keras.training import Parser, command, positive_int
from coda_keras.utils.files import check_folder

TOP = 3


@command
def main():
    args = parse()
    for file in args.images:
        if not file.is_file():
            raise ValueError(f"There is no image file {file}.")
    check_folder(args.out)
    paths = output_paths(args.out, args.images, args.overwrite)
    net = load_model(args.model)
    require_inherent(net)
    size = net.image_size if args.size is None else (args.size, args.size)
    if size is None:
        raise ValueError(f"{args.model} takes images of any size. Give one by --size.")
    names = class_names(net, args.labels)
    for file, path in zip(args.images, paths):
        picture, _ = open_image(file, *size, args.resize)
        image = np.asarray(picture, "float32")[None] / 255
        ids = chosen(args.classes, names, np.asarray(net(image)))
        explanation = net.explain(image, [ids]).numpy()
        logits = explanation.logits[0]
        figures.save_figure(draw(picture, explanation, names), path)
        best = ", ".join(said(logits, each, names) for each in np.argsort(-logits)[: args.top])
        print(f"{file}: {best}; why {', '.join(names[each] for each in ids)}: {path}", flush=True)


def class_names(net, path):
    """Names of the classes: from a file, from the net, or their numbers."""
    names = getattr(net, "class_names", None) or [str(number) for number in range(net.classes)]
    if path:
        names = Path(path).read_text("utf-8").splitlines()
    if len(names) != net.classes:
        raise ValueError(f"{path} has {len(names)} lines, the net has {net.classes} classes.")
    return names


def chosen(text, names, logits):
    """Class ids from a comma-separated list of names or numbers; None for the predicted class."""
    if text is None:
        return [int(logits[0].argmax())]
    numbers = range(len(names))
    ids = {**dict(zip(map(str, numbers), numbers)), **dict(zip(names, numbers))}
    unknown = [each for each in text.split(",") if each not in ids]
    if unknown:
        raise ValueError(f"There is no class {unknown[0]!r}. The net has: {', '.join(names)}.")
    return [ids[each] for each in text.split(",")]


def draw(picture, explanation, names):
    """The image, the maps of its classes on one scale, and the weights of the first."""
    logits = explanation.logits[0]
    return figures.plot_contributions(
        np.asarray(picture),
        explanation.contribution_map[0],
        [f"{names[each]}, logit {logits[each]:.2f}" for each in explanation.class_ids[0]],
        weights=explanation.weights[0, 0],
    )


def said(logits, each, names):
    return f"{names[each]} {evaluation.probabilities(logits)[each]:.3f} (logit {logits[each]:.2f})"


def parse():
    flags = Parser(description=__doc__)
    flags.add_argument("images", nargs="+", type=Path, help="image files")
    flags.add_argument(
        "--model", required=True, help="a trained .keras file, or the name of a trained preset"
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
    return flags.parse_args()


if __name__ == "__main__":
    main()
