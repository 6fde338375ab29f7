"""An explorer of images: where each logit comes from, pixel by pixel, as one HTML file.

    coda-keras explore --model runs/cifar10/model.keras cat.png ship.jpg

writes explorer.html, which opens offline in any browser. Further models are compared side by side:

    coda-keras explore --model runs/t1000/model.keras --model runs/t10/model.keras cat.png

With --server a served model is asked by gRPC (coda-keras serve); --model is then its name:

    coda-keras explore --server localhost:8500 --model coda cat.png

With --serve the command goes on and serves the page on this machine, so that pixels can be taken
away and the model says what it sees without them.

With --live the net itself is in the page: it explains, takes pixels away and takes photographs
that are dropped on it, offline. Without images it begins with the ten that come along:

    coda-keras explore --live --model s_coda_quarter_cifar10 --output live.html

What `coda-keras explain-data` has written is opened by its folder, and needs no model:

    coda-keras explore explanations --wrong --sort probability --descending

shows the images that the net was surest of and wrong about. docs/explorer.md shows the viewer.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from coda_keras_recipes import explained_folder
from coda_keras_recipes.explored_images import live_view, pictures
from coda_keras_recipes.explored_nets import Local, Served

from coda_keras import explorer
from coda_keras.explorer.server import PREDICT
from coda_keras.utils.command_line import Parser, command, integer, positive_int, seconds
from coda_keras.utils.files import write_text

OUTPUT = Path("explorer.html")
CLASSES, FEWEST = 20, 3
# Of all maps of a page, which has about 22 bytes for each. 40 maps of 224x224.
PIXELS = 2**21
OLD_SERVABLE = (
    "The served model has no signature classify_without: package it again, and pixels can go."
)

# Logits of images without some pixels.
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    if explained_folder.is_one(args.images):
        explained_folder.explore(args)
        return
    check_files(args)
    if args.live:
        views = [live_view(Local(name), args) for name in args.model]
        page = explorer.page(views, title(args))
        write_text(args.output, page)
        print(f"explorer  {args.output}, {len(page.encode()) / 1e6:.1f} MB with the net in it")
        return
    views, predicts = explained(args)
    write_text(args.output, explorer.page(views, title(args)))
    print(f"explorer  {args.output}", flush=True)
    if args.serve:
        with explorer.local_server(*served_page(args, views, predicts), args.port) as server:
            url = f"http://127.0.0.1:{server.server_port}/"
            print(f"serving   {url} (Ctrl-C ends it)", flush=True)
            with suppress(KeyboardInterrupt):
                server.serve_forever()


def check_files(args: argparse.Namespace) -> None:
    """Raises ValueError if an image is missing or the page would be written over something."""
    if not args.model:
        raise ValueError("Name the model by --model, or a folder of `coda-keras explain-data`.")
    for file in args.images:
        if not file.is_file():
            raise ValueError(f"There is no image file {file}.")
    check_output(args)
    if any(args.output.exists() and args.output.samefile(file) for file in args.images):
        raise ValueError(f"{args.output} is one of the images. Name another file with --output.")


def check_output(args: argparse.Namespace) -> None:
    """Raises ValueError if the page would be written over something."""
    if args.output.is_dir() or (args.output.exists() and not args.overwrite):
        raise ValueError(
            f"{args.output} exists. Give --overwrite to replace a page, or name another file with "
            "--output."
        )


def title(args: argparse.Namespace) -> str:
    """The title of the page."""
    return f"Explanations of {', '.join(args.model)}"


def explained(args: argparse.Namespace) -> tuple[list[explorer.View], list[Predict | None]]:
    """A view for each model, and what it predicts without some pixels."""
    sources = [Served(args, name) if args.server else Local(name) for name in args.model]
    return [view(args, source) for source in sources], [source.predict for source in sources]


def served_page(
    args: argparse.Namespace, views: list[explorer.View], predicts: list[Predict | None]
) -> tuple[str, explorer.Removal | None]:
    """The page that asks for new predictions, and what answers it."""
    if not all(predicts):
        return explorer.page(views, title(args), no_model=OLD_SERVABLE), None
    removal = explorer.Removal(views, predicts)
    return explorer.page(views, title(args), predict=PREDICT), removal


def view(args: argparse.Namespace, source: Local | Served) -> explorer.View:
    """The images as a model sees them, explained for its likeliest classes."""
    return source.view(
        pictures(args.images, source.size, args.resize),
        class_names=source.labels(args.labels),
        names=[file.name for file in args.images],
        title=source.name,
        classes=args.classes or classes_with_maps(len(args.images), source.size),
    )


def classes_with_maps(images: int, size: Sequence[int]) -> int:
    """How many classes of an image have maps: fewer where pages would be too large for browsers.

    >>> classes_with_maps(10, (32, 32)), classes_with_maps(4, (224, 224))
    (20, 10)
    """
    maps = PIXELS // (images * size[0] * size[1])
    return min(CLASSES, max(FEWEST, maps))


def parse(arguments: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    flags = Parser(prog=prog, description=__doc__)
    flags.add_argument(
        "images", nargs="*", type=Path, help="image files, or a folder of `coda-keras explain-data`"
    )
    flags.add_argument(
        "--model",
        action="append",
        help="a .keras file, a trained preset, or with --server the name of a served "
        "model; several times to compare",
    )
    flags.add_argument("--server", help="host:port of a model server to ask by gRPC")
    flags.add_argument(
        "--output", type=Path, default=OUTPUT, help="HTML file to write (default: %(default)s)"
    )
    flags.add_argument("--overwrite", action="store_true", help="replace the page of --output")
    flags.add_argument("--labels", help="text file with the name of a class in every line")
    flags.add_argument(
        "--classes",
        type=positive_int,
        metavar="N",
        help=f"classes of an image that have maps, the likeliest first (default: {CLASSES}, but "
        f"as few as {FEWEST} where images are many and large)",
    )
    flags.add_argument(
        "--live",
        action="store_true",
        help="put the net into the page, which then explains photographs that are dropped on it",
    )
    flags.add_argument("--resize", action="store_true", help="crop and resize images to fit")
    flags.add_argument(
        "--serve",
        action="store_true",
        help="serve the page on this machine, so that pixels can be taken away",
    )
    flags.add_argument(
        "--port",
        type=integer(0, 65535),
        default=0,
        help="TCP port of --serve (default: a free one)",
    )
    flags.add_argument(
        "--timeout", type=seconds, default=30, help="of a request to --server, in s (%(default)s)"
    )
    explained_folder.add_flags(flags)
    args = flags.parse_args(arguments)
    if not args.images and not args.live:
        flags.error("the following arguments are required: images")
    if args.live and (args.server or args.serve or args.classes):
        flags.error("--live computes in the page: it goes without --server, --serve and --classes")
    return args


if __name__ == "__main__":
    main()
