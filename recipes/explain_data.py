"""Explains a whole data set and keeps the result as Parquet, a row an image.

    coda-keras explain-data photographs --model runs/image_folder/model.keras --out explanations
    coda-keras explain-data cifar10 --split test --model s_coda_cifar10 --out explained-cifar10
    coda-keras explain-data photographs --model s_coda_cifar10 --out wide --ray

The source is a folder of images, whose folders' names are labels; an .npz file; a Parquet file or a
folder of them, with encoded images; or a name of TensorFlow Datasets. The same command continues
where it stopped, however it stopped. An image that cannot be read is a row with an error; the exit
code is then 1.

With --ray a Ray cluster explains the images: by an actor for each GPU, or for so many cores. All
its machines need the source and --out at the same paths.

    coda-keras explore explanations

opens the result. docs/guides/many-images.md has the columns.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coda_keras.models.pretrained import check_exists
from coda_keras.utils import extras
from coda_keras.utils.command_line import Parser, command, positive_int
from coda_keras.utils.files import check_folder


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    check_folder(args.out)
    check_exists(args.model)
    extras.require("parquet")
    if args.ray is not None:
        extras.require("cluster")
    from coda_keras.explained.explaining import explain_to_parquet

    names = ("split", "data_dir", "column", "size", "maps", "limit", "batch_size", "ray", "cpus")
    options = {name: getattr(args, name) for name in names}
    channels = args.channels == 6
    done = explain_to_parquet(args.model, args.source, args.out, channels=channels, **options)
    errors = f", {done.errors} of them with an error" if done.errors else ""
    print(f"explained  {done.rows} images{errors}: {done.folder}")
    if done.errors:
        sys.exit(1)


def add_ray(parser: Any, what: str, taker: str) -> None:
    """Adds the flags that name a Ray cluster, and say how many cores work takes there.

    Args:
        parser: of a command, or a group of its flags.
        what: what the cluster does.
        taker: what takes the cores.
    """
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help=f"{what} on a Ray cluster: that at ADDRESS, or the one that Ray finds, or a new one "
        "on this machine",
    )
    parser.add_argument(
        "--cpus",
        type=positive_int,
        default=1,
        metavar="N",
        help=f"with --ray and without GPUs: cores of each {taker} (%(default)s)",
    )


def parse(arguments: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    flags = Parser(prog=prog, description=__doc__)
    flags.add_argument("source", help="folder, .npz file, Parquet, or TensorFlow Datasets' name")
    flags.add_argument(
        "--model", required=True, help="a trained .keras file, or the name of a trained preset"
    )
    flags.add_argument("--out", type=Path, required=True, help="folder for the Parquet files")
    flags.add_argument(
        "--split", default="test", help="of an .npz file or of TensorFlow Datasets (%(default)s)"
    )
    flags.add_argument("--data-dir", help="folder of prepared TensorFlow Datasets")
    flags.add_argument(
        "--column", default="image", help="of the images in Parquet files (%(default)s)"
    )
    flags.add_argument("--size", type=positive_int, help="pixels a side, for nets of any size")
    flags.add_argument(
        "--maps",
        choices=("float16", "float32", "none"),
        default="float16",
        help="type of the numbers in the contribution maps (%(default)s)",
    )
    flags.add_argument(
        "--channels",
        type=int,
        choices=(1, 6),
        default=1,
        help="6 keeps the contributions of all six channels beside the maps (%(default)s)",
    )
    flags.add_argument("--limit", type=positive_int, metavar="N", help="only the first N images")
    flags.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="images that the net sees at once"
    )
    add_ray(flags, "explain", "actor")
    return flags.parse_args(arguments)


if __name__ == "__main__":
    main()
