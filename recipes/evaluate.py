"""Scores a trained CoDA-Net on all test images: accuracy, completeness, localisation.

    coda-keras evaluate --model s_coda_cifar10

The model is a preset with trained weights, which come with the package, or a .keras file of a run.
The data are those of CIFAR-10; --dataset and --data name those of another recipe, for example

    coda-keras evaluate --model runs/image_folder/model.keras --data FOLDER

--views flip scores the mean of what the net says about an image and its mirror image. --views
shifts also moves both by a pixel. The mean is one net, with one exact contribution map.

Localisation is that of the net's own contributions (eq. 11). --occlusion-grids adds that of
occlusion by 9x9 pixels. `coda-keras interpret` compares all attribution methods.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coda_keras_recipes import data_sets

import coda_keras
from coda_keras.data.images import FloatImages
from coda_keras.models.pretrained import check_exists
from coda_keras.utils.command_line import (
    Parser,
    non_negative_int,
    positive_int,
    tensorflow_command,
)
from coda_keras.utils.files import check_file, write_json


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    check_exists(args.model)
    # What is known at once before what takes minutes.
    for path in filter(None, (args.gallery, args.output)):
        check_file(path)
    if args.gallery:
        from coda_keras.figures.rendering import check_format

        check_format(args.gallery)
    evaluate(args)


def evaluate(args: argparse.Namespace) -> None:
    """Scores the net, prints the scores and writes what was asked for."""
    from coda_keras import training
    from coda_keras.models.loading import check_fits, image_size
    from coda_keras.models.precision import float32_copy

    net = coda_keras.load_model(args.model)
    name, data = data_sets.load(args, args.model, lambda: image_size(net))
    data = data.limit(test=args.limit_test)
    check_fits(net, args.model, data.test_images, len(data.class_names))
    # A net that takes images of any size is scored on those of one.
    net = float32_copy(net, data.test_images.shape[1:3])
    net = net if args.views is None else coda_keras.with_views(net, args.views)
    scores = training.score(
        net,
        data,
        args.grids,
        args.occlusion_grids,
        fewer=args.fewer,
        grid_size=args.grid_size,
        all_correct=args.all_correct,
    )
    tell(scores, args.grid_size, name, data.note)
    if args.gallery:
        logits = training.predict(net, FloatImages(data.test_images))
        gallery = training.draw_gallery(net, data, logits)
        coda_keras.figures.save_figure(gallery, args.gallery)
        print(f"contribution maps   {args.gallery}")
    if args.output:
        views = {} if args.views is None else {"views": args.views}
        write_json(args.output, {**scores, **views, "data": name, "note": data.note})
        print(f"all numbers         {args.output}")


def tell(scores: dict[str, Any], grid_size: int, data: str, note: str | None) -> None:
    """Prints scores."""
    images = f"{scores['test_images']} images of {data}"
    print(f"test accuracy       {scores['test_accuracy']:.4f} on {images}")
    if note:
        print(f"                    {note}")
    print(f"completeness error  {scores['completeness_error']:.1e} at most")
    if scores.get("grids"):
        size = f"{grid_size}x{grid_size}"
        print(f"localisation        {scores['localisation']:.4f} on {scores['grids']} {size} grids")
    if scores.get("published_rule_grids"):
        published, grids = scores["published_rule_localisation"], scores["published_rule_grids"]
        print(f"                    {published:.4f} on {grids} grids by the authors' rule")
    if scores.get("grids_without_threshold"):
        score, grids = scores["localisation_without_threshold"], scores["grids_without_threshold"]
        print(f"                    {score:.4f} on {grids} grids without the threshold of 50%")
    if "occlusion_grids" in scores:
        print(
            f"                    {scores['localisation_beside_occlusion']:.4f} on the first "
            f"{scores['occlusion_grids']}; occlusion {scores['occlusion_localisation']:.4f}"
        )


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--model", required=True, help="a trained preset's name, or a .keras file")
    data_sets.add_flags(parser)
    parser.add_argument(
        "--grids",
        type=non_negative_int,
        default=250,
        help="grids of images; 0 for none (default: 250)",
    )
    parser.add_argument(
        "--occlusion-grids",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="on how many of them occlusion by 9x9 pixels is scored too, half a minute each",
    )
    parser.add_argument(
        "--grid-size",
        type=positive_int,
        default=3,
        help="images a side of a grid, each of another class (default: 3, as in the paper)",
    )
    parser.add_argument(
        "--fewer",
        action="store_true",
        help="take fewer grids if the net has too few confident images",
    )
    parser.add_argument(
        "--all-correct",
        action="store_true",
        help="also grids of all images classified correctly, without the paper's threshold of "
        "50%%, for nets that are rarely so confident",
    )
    parser.add_argument(
        "--gallery", type=Path, help="file for the most confident images with their maps"
    )
    parser.add_argument(
        "--views",
        choices=["flip", "shifts"],
        help="average over views of an image: its mirror image, and both moved by a pixel",
    )
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    parser.add_argument("--limit-test", type=positive_int, metavar="N")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
