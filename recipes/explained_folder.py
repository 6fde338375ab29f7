"""What `coda-keras explain-data` has written, in the explorer: rows by class, confidence, error."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from coda_keras.explained.description import DESCRIPTION
from coda_keras.utils import extras
from coda_keras.utils.command_line import positive_int
from coda_keras.utils.files import write_text

COLUMNS = ("row", "label", "predicted", "probability", "negative", "residual")
LIMIT = 100


def is_one(paths: Sequence[Path]) -> bool:
    """Whether that is one folder of explained images."""
    return len(paths) == 1 and (paths[0] / DESCRIPTION).is_file()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose rows."""
    group = parser.add_argument_group("of a folder of `coda-keras explain-data`")
    group.add_argument(
        "--sort",
        choices=COLUMNS,
        help="column by which images are sorted: negative is the share of the map that is "
        "negative, residual what rounding leaves (default: row)",
    )
    group.add_argument("--descending", action="store_true", help="the largest first")
    group.add_argument("--from", type=float, dest="low", help="smallest value of that column")
    group.add_argument("--to", type=float, dest="high", help="largest value of that column")
    group.add_argument("--predicted", metavar="CLASS", help="only images predicted as this class")
    group.add_argument("--label", metavar="CLASS", help="only images of this true class")
    group.add_argument("--wrong", action="store_true", help="only images predicted wrongly")
    group.add_argument(
        "--limit", type=positive_int, default=LIMIT, help="images of the page (%(default)s)"
    )


def explore(args: argparse.Namespace) -> None:
    """Writes the page of the rows that the flags choose."""
    from coda_keras_recipes.explore import check_output

    for name in ("model", "server", "serve", "live", "labels", "classes"):
        if getattr(args, name):
            raise ValueError(f"--{name} is for images; {args.images[0]} is explained already.")
    check_output(args)
    extras.require("parquet")
    from coda_keras import explorer
    from coda_keras.explained.reading import Explanations

    names = ("sort", "descending", "low", "high", "predicted", "label", "wrong", "limit")
    explanations = Explanations(args.images[0])
    rows, total = explanations.choose(**{name: getattr(args, name) for name in names})
    page = explorer.page(explanations.view(rows), f"{args.images[0]}: {len(rows)} of {total}")
    write_text(args.output, page)
    print(f"explorer  {args.output}, {len(rows)} of {total} images", flush=True)
