"""The commands of `coda-keras`: a row for each, and nothing else to do to add one.

The target is a function under `coda_keras.utils.command_line.command`:

    @command
    def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
        args = parse(arguments, prog)

`arguments` are those of the command line without the command's name, None for `sys.argv[1:]`;
`prog` is what usage and errors call the command, None for the file's name. Both go to
`Parser(prog=prog, ...).parse_args(arguments)`. `coda-keras NAME`, `python -m coda_keras NAME` and
`python recipes/NAME.py` call the same function. Its module must be imported without Keras, which
is imported by the functions that need it: `--help` and mistakes answer at once.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """A command.

    Attributes:
        name: what is typed after `coda-keras`; of a training two words.
        target: `"module:function"`.
        help: one line.
    """

    name: str
    target: str
    help: str


TRAIN = "train"

_ROWS = (
    ("train cifar10", "coda_keras_recipes.cifar10:main", "S-CoDA-SQ on CIFAR-10."),
    ("train digits", "coda_keras_recipes.digits:main", "A small net on scikit-learn's digits."),
    ("train image_folder", "coda_keras_recipes.image_folder:main", "A net of your photographs."),
    ("train imagenet", "coda_keras_recipes.imagenet:main", "L-CoDA-SQ on ImageNet-100."),
    ("train resnet56", "coda_keras_recipes.resnet56:main", "A ResNet-56, to compare with."),
    ("train teacher", "coda_keras_recipes.teacher:main", "A net from which others learn CIFAR-10."),
    ("train tiny_imagenet", "coda_keras_recipes.tiny_imagenet:main", "XL-CoDA-SQ, Tiny ImageNet."),
    ("explain", "coda_keras_recipes.explain:main", "Explains images, pixel by pixel."),
    (
        "explain-data",
        "coda_keras_recipes.explain_data:main",
        "Explains a data set and keeps the result as Parquet.",
    ),
    ("package", "coda_keras_export.package:main", "Makes a servable of a trained net."),
    ("export", "coda_keras_export.export:main", "Writes a net for ONNX, OpenVINO or LiteRT."),
    ("serve", "coda_keras_export.serve:main", "Serves servables over gRPC."),
    ("ask", "coda_keras_export.client:main", "Sends images to a served net and saves the maps."),
    ("accept", "coda_keras_export.accept:main", "Checks a running server."),
    ("interpret", "coda_keras_recipes.interpret:main", "Scores explanations of any net."),
    ("demo", "coda_keras_recipes.demo:main", "Explains, trains, exports, serves and asks, once."),
    ("evaluate", "coda_keras_recipes.evaluate:main", "Scores a trained net on all test images."),
    ("experiments", "coda_keras_recipes.experiments:main", "The paper's experiments and numbers."),
    ("explore", "coda_keras_recipes.explore:main", "An explorer of images, as one HTML file."),
    ("mnist", "coda_keras_recipes.mnist:main", "What DAUs align with: Fig. 2 and 3."),
    (
        "import",
        "coda_keras.commands.import_net:main",
        "Makes a net of weights that others published.",
    ),
    ("release", "coda_keras_recipes.release:main", "Makes a trained preset of a finished run."),
    ("supplement", "coda_keras_recipes.supplement:main", "Supplements D and E in numbers."),
    ("sweep", "coda_keras_recipes.sweep:main", "Runs many experiments of the paper."),
    ("sweep_figures", "coda_keras_recipes.sweep_figures:main", "Draws Fig. B.1, B.2 and B.3."),
)
COMMANDS = [Command(*row) for row in _ROWS]
