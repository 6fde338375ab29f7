"""The paper's metrics and figures for any trained model, beside post-hoc methods.

    coda-keras interpret --model runs/cifar10/model.keras

computes localisation (eq. 11), pixel removal (C.4) and the sanity check for all attribution
methods, and draws the figures of the paper. The first --model is studied by all methods, further
ones (other temperatures) by their own contributions, the --baseline by all post-hoc methods:

    coda-keras interpret --model runs/t1000/model.keras --model runs/t10/model.keras \\
        --baseline runs/resnet56/model.keras --output runs/t1000/interpretation

The data are those of CIFAR-10; --dataset and --data name those of another recipe, for example

    coda-keras interpret --model runs/image_folder/model.keras --data FOLDER

The folder given by --output receives results.json, results.md, and every figure as PNG and PDF.
The same command continues an interrupted run; asked for more grids, images or methods it computes
only these. With --ray a Ray cluster computes, and this machine alone writes: a run may begin on one
machine and end on twenty. docs/interpretation.md explains the figures.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coda_keras_recipes import data_sets
from coda_keras_recipes.explain_data import add_ray

from coda_keras.attribution import registry as methods
from coda_keras.data.images import ImageData
from coda_keras.evaluation import registry as metrics
from coda_keras.models.pretrained import cards, check_exists
from coda_keras.study.registry import DRAWN, VIDEO
from coda_keras.utils import extras
from coda_keras.utils.command_line import Parser, positive_int, tensorflow_command
from coda_keras.utils.files import check_folder

GRIDS, FEW_GRIDS, GRID_SIZE = 500, 25, 3
IMAGES, FEW_IMAGES, SANITY_IMAGES = 1024, 100, 16
POINTS = 128
OCCLUSION_STRIDE = 2
RISE_MASKS = 6000
LIME_SAMPLES, LIME_KERNEL_SIZE = 256, 4
BATCH_SIZE = 32
SEED = 42


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    drawn = chosen("--figures", args.figures, DRAWN)
    asked = {"methods": chosen_methods(args.methods), "metrics": chosen_metrics(args.metrics)}
    # What is known at once before what takes minutes.
    for folder in filter(None, (args.output, args.logdir)):
        check_folder(folder)
    for path in [*args.model, *([args.baseline] if args.baseline else [])]:
        check_exists(path)
    if args.ray is not None:
        extras.require("cluster")
    interpret(args, asked, drawn)


def interpret(args: argparse.Namespace, asked: dict[str, Any], drawn: list[str]) -> None:
    """Makes the study, its figures and its tables.

    Args:
        args: the parsed flags.
        asked: `methods` and `metrics` of `Settings`.
        drawn: names of what is drawn.
    """
    from coda_keras.evaluation.published import published_cifar10
    from coda_keras.models.loading import load_model
    from coda_keras.study import Study, draw
    from coda_keras.study.video import read_frames
    from coda_keras.tensorboard.summaries import Board
    from coda_keras.utils import provenance

    # TensorFlow warns of compiling for several image sizes, which is meant here.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    settings = settings_of(args, asked)
    name, data = load_data(args)
    data = data.limit(test=args.limit_test)
    if args.video and VIDEO in drawn:
        # Read again at the end; a mistake is better told at once.
        read_frames(args.video, data.test_images.shape[1])

    published = published_cifar10() if name == "cifar10" else None
    # A preset is named by itself, a file by its folder.
    models = [load_model(model) if str(model) in cards() else model for model in args.model]
    study = Study(models, data, settings, args.output, args.baseline, name, published=published)
    study.run(lambda line: print(line, flush=True), args.ray, args.cpus)
    about = {"command": provenance.command(), "arguments": provenance.plain(vars(args))}
    # Numbers first: they took longest.
    study.write(**about)
    board = Board(args.logdir)
    files, skipped = draw(study, drawn, args.video, board)
    board.table(study.write(files, skipped, **about))
    board.close()
    print(f"numbers  {args.output / 'results.md'}, {args.output / 'results.json'}")


def load_data(args: argparse.Namespace) -> tuple[str, ImageData]:
    """The name of the data, and the test images with all that belongs to them."""
    from coda_keras.models.loading import image_size, load_model

    model = args.model[0]
    return data_sets.load(args, model, lambda: image_size(load_model(model)))


def settings_of(args: argparse.Namespace, asked: dict[str, Any]) -> Any:
    """What the flags ask the study for, as `Settings`."""
    from coda_keras.study import Settings

    return Settings(
        **asked,
        images=args.images,
        few_images=args.few_images,
        items={"localisation": args.grids, "sanity": args.sanity_images},
        few_items={"localisation": args.few_grids},
        method_arguments={
            "occlusion": {"stride": args.occlusion_stride},
            "rise": {"num_masks": args.rise_masks},
            "lime": {"num_samples": args.lime_samples, "kernel_size": args.lime_kernel_size},
        },
        metric_arguments={
            "localisation": {"grid_size": args.grid_size, "rule": args.grid_rule},
            "pixel_removal": {"points": args.points},
        },
        batch_size=args.batch_size,
        seed=args.seed,
        baseline_activation=args.baseline_activation,
    )


def chosen_methods(text: str) -> list[str] | None:
    """The methods that --methods names; None for all whose packages are installed."""
    if text == "all":
        return None
    return chosen("--methods", text, methods.STUDIED, methods.find)


def chosen_metrics(text: str) -> Sequence[str]:
    """The metrics that --metrics names."""
    if text == "paper":
        return metrics.STUDIED
    return chosen("--metrics", text, tuple(metrics.METRICS))


def chosen(
    flag: str, text: str, known: Sequence[str], check: Callable[[str], Any] | None = None
) -> list[str]:
    """Reads a comma-separated list of names, in which "all" stands for all that are known.

    Args:
        flag: what the list was given by.
        text: the list.
        known: all names.
        check: raises ValueError for a name that there is not; None takes those of `known` only.
    """
    more = "" if check is None else " (occlusion_K for any K)"
    check = check or tuple(known).index
    words = [] if text == "none" else [word for word in text.split(",") if word]
    names = [name for word in words for name in (known if word == "all" else [word])]
    for name in names:
        try:
            check(name)
        except ValueError:
            raise ValueError(
                f"{flag} {text}: expected some of {', '.join(known)}{more}, or all, or none."
            ) from None
    return list(dict.fromkeys(names))


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    flags = Parser(prog=prog, description=__doc__)

    def add(group: Any, name: str, text: str, default: Any = None, **options: Any) -> None:
        shown = "" if default is None else f" (default: {default})"
        group.add_argument(name, default=default, help=text + shown, **options)

    def number(group: Any, name: str, text: str, default: int | None = None) -> None:
        add(group, name, text, default, type=positive_int, metavar="N")

    what = flags.add_argument_group("models and data")
    what.add_argument(
        "--model",
        type=Path,
        action="append",
        required=True,
        help="a trained .keras file or preset; several times to compare temperatures",
    )
    add(what, "--baseline", "an ordinary classifier to compare with, as .keras file", type=Path)
    add(
        what,
        "--baseline-activation",
        "how the baseline's logits become probabilities; sigmoid if a recipe here trained it",
        "sigmoid",
        choices=("sigmoid", "softmax"),
    )
    data_sets.add_flags(what)
    number(what, "--limit-test", "use only the first N test images")
    add(what, "--output", "folder of results", Path("runs/interpretation"), type=Path)
    add(what, "--logdir", "folder for TensorBoard; none without", type=Path)

    how = flags.add_argument_group("metrics and methods")
    known = ", ".join(metrics.METRICS)
    add(how, "--metrics", f"comma-separated: {known}; or paper, all, none", "paper")
    known = f"{', '.join(methods.STUDIED)}, occlusion_K for any K"
    add(how, "--methods", f"comma-separated: {known}; or all", "all")
    number(how, "--grids", "multi-images for localisation", GRIDS)
    number(how, "--grid-size", "images per side of a multi-image", GRID_SIZE)
    text = "how their images are chosen; published: as by the authors, whose results are shown"
    add(how, "--grid-rule", text, "blocks", choices=metrics.GRID_RULES)
    number(how, "--images", "test images for the other metrics", IMAGES)
    number(how, "--few-grids", "multi-images for SmoothGrad, RISE and LIME", FEW_GRIDS)
    number(how, "--few-images", "test images for SmoothGrad, RISE and LIME", FEW_IMAGES)
    number(
        how, "--sanity-images", "test images for the sanity check (RISE and LIME: 4)", SANITY_IMAGES
    )
    number(how, "--points", "steps of pixel removal", POINTS)
    number(
        how, "--occlusion-stride", "the paper: 2 on CIFAR-10, 4 on TinyImagenet", OCCLUSION_STRIDE
    )
    number(how, "--rise-masks", "masks of RISE", RISE_MASKS)
    number(how, "--lime-samples", "hidden variants of LIME", LIME_SAMPLES)
    add_ray(how, "compute", "call")
    text = "LIME's quickshift; 1 finds more superpixels"
    number(how, "--lime-kernel-size", text, LIME_KERNEL_SIZE)
    number(how, "--batch-size", "images the model sees at once; bounds the memory", BATCH_SIZE)
    add(how, "--seed", "of the multi-images and of all that is random", SEED, type=int)

    shown = flags.add_argument_group("figures")
    add(shown, "--figures", f"comma-separated: {', '.join(DRAWN)}; or all, none", "all")
    add(shown, "--video", "animated GIF or folder of frames to explain; default: a pan over a grid")
    return flags.parse_args(arguments)


if __name__ == "__main__":
    main()
