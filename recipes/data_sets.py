"""The data that a recipe trained on, for the commands that look at its net."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coda_keras.data.image_files import is_image_name
from coda_keras.data.images import ImageData
from coda_keras.training import Settings
from coda_keras.training.run_folder import earlier
from coda_keras.utils.command_line import positive_number
from coda_keras.utils.text import nearest

# Recipes whose `load` takes settings; all other names are those of TensorFlow Datasets.
RECIPES = ("cifar10", "digits", "image_folder", "imagenet", "tiny_imagenet")
FOLDER = "image_folder"
HELP = (
    f"{', '.join(RECIPES)}, each as the recipe of that name loads it, or a name of TensorFlow "
    f"Datasets (default: {FOLDER} if --data holds a folder of images for every class, else cifar10)"
)


def add_flags(parser: Any) -> None:
    """Adds the flags that say which data it is, to a parser or a group of one."""
    parser.add_argument("--dataset", metavar="NAME", help=HELP)
    parser.add_argument(
        "--data",
        metavar="PLACE",
        help="folder of the data, or of prepared data sets, or an .npz file, as the recipe had it; "
        "default: TensorFlow Datasets' own",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="folder for decoded images, as for the recipe"
    )
    parser.add_argument(
        "--test-fraction",
        type=positive_number,
        metavar="PART",
        help=f"part of every class of an undivided {FOLDER} to test on (default: that of the "
        f"model's run, else {Settings.test_fraction})",
    )


def load(
    args: argparse.Namespace, model: str | Path, image_size: Callable[[], tuple[Any, ...]]
) -> tuple[str, ImageData]:
    """Loads the data that the flags name.

    Args:
        args: with the flags of `add_flags`.
        model: what is looked at; the folder of its run tells how images were set aside.
        image_size: function that returns height and width of its images, None where it takes any.

    Returns:
        `(name, data)`, the name as it stands in titles.

    Raises:
        ValueError: if there is no such data set, or it is no set of labelled images.
        FileNotFoundError: if it is not there and cannot be downloaded.
    """
    place = args.data and Path(args.data)
    name = args.dataset or (FOLDER if place and _has_classes(place) else "cifar10")
    if place and place.suffix == ".npz":
        from coda_keras.data.images import load_npz

        return args.dataset or place.stem, load_npz(place)
    if name not in RECIPES:
        _check_name(name, place)
        from coda_keras.data import tf_records

        return name, tf_records.load(name, place, image_size()[0], args.cache)
    if name == FOLDER and place is None:
        raise ValueError(f"--dataset {FOLDER} needs --data, the folder.")
    more = {}
    if name == FOLDER:
        size = image_size()[0]
        if size is None:
            raise ValueError(f"{model} takes images of any size. Give it an `image_size`.")
        fraction = args.test_fraction or earlier(Path(model).parent, "test_fraction")
        more = {"image_size": size, "test_fraction": fraction or Settings.test_fraction}
    recipe = importlib.import_module(f"coda_keras_recipes.{name}")
    data = recipe.load(Settings(data=args.data, cache=args.cache, **more))
    return place.resolve().name if name == FOLDER and place else name, data


def _check_name(name: str, place: Path | None) -> None:
    import tensorflow_datasets as tfds

    known = [*RECIPES, *tfds.list_builders(with_community_datasets=False)]
    there = place is not None and (place / name).is_dir()
    if name.partition("/")[0].partition(":")[0] not in known and not there:
        raise ValueError(
            f"There is no data set {name}.{nearest(name, known)} Expected one of "
            f"{', '.join(RECIPES)}, or a name of TensorFlow Datasets."
        )


def _has_classes(place: Path) -> bool:
    """Whether a folder holds images in folders of classes, of `train` or itself."""
    files = (path for pattern in ("*/*", "train/*/*") for path in place.glob(pattern))
    return any(map(is_image_name, files))
