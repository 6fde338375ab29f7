"""Writes a trained net for another runtime, and compares what the file answers there.

    coda-keras export --model s_coda_quarter_cifar10 --format onnx --out exported

One graph takes images and class ids to logits, probabilities, contribution maps, weights and
residuals; docs/guides/export.md has a program for each runtime. The file is run in its runtime and
compared with Keras before it appears. `tf_saved_model` has the signatures of a servable;
`coda-keras package` makes versions for model servers.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from coda_keras.exporting.formats import FORMATS, move
from coda_keras.utils import extras
from coda_keras.utils.command_line import Parser, check_new, command
from coda_keras.utils.files import check_folder


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    if args.format in extras.EXTRAS:
        extras.require(args.format)
    check_folder(args.out)
    row = FORMATS[args.format]
    path = args.out / f"{args.name or Path(args.model).stem}{row.suffix}"
    check_new([path, *map(path.with_suffix, row.beside)], args.overwrite)
    found = export(args.model, path, args.format, args.image_size)
    parts = (f"{name} {value:.1e}" for name, value in sorted(found.items()))
    print(path)
    if found:
        print(
            f"Differences from Keras, divided by the largest value of an image: {', '.join(parts)}."
        )


def export(model: str, path: Path, format: str, image_size: int | None = None) -> dict[str, float]:
    """Writes a net in a format once the file answers as the net does.

    Args:
        model: path of a `.keras` file, or the name of a preset with trained weights.
        path: what to write.
        format: a name in `FORMATS`.
        image_size: int, other than the net's own; None for that.

    Returns:
        How far every output is from the net's, `coda_keras_export.parity.differences`; nothing for
        a SavedModel, which is checked as servables are.

    Raises:
        ValueError: if the model cannot be exported, or the file answers otherwise than it does.
        OSError: if the file cannot be written.
        ModuleNotFoundError: if the extra of the format is not installed.
    """
    from coda_keras_export import parity, runtimes

    from coda_keras.models.loading import load_model
    from coda_keras.models.precision import float32_copy

    net = float32_copy(load_model(model), image_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=path.parent) as folder:
        made = Path(folder, path.name)
        net.export(made, format)
        if format == "tf_saved_model":
            from coda_keras_export.servable.verification import verify

            verify(made, net, net.class_names)
            found = {}
        else:
            found = parity.verify(runtimes.load(made, format), net)
        move(made, path)
    return found


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument(
        "--model", required=True, help="the trained .keras file, or a preset with weights"
    )
    parser.add_argument("--format", required=True, choices=list(FORMATS), help="what to write")
    parser.add_argument("--out", type=Path, required=True, help="folder for the file")
    parser.add_argument(
        "--name", help="of the file without its ending; that of the model if omitted"
    )
    parser.add_argument("--image-size", type=int, help="other than the net's own, in pixels")
    parser.add_argument("--overwrite", action="store_true", help="replace a file in --out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
