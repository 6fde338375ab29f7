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

COMMANDS = (
    Command(
        "train cifar10",
        "coda_keras_recipes.cifar10:main",
        "S-CoDA-SQ on CIFAR-10: Section 4.1 and supplement C.1 of the paper.",
    ),
    Command(
        "train digits",
        "coda_keras_recipes.digits:main",
        "A small CoDA-Net on scikit-learn's handwritten digits: the whole way in minutes.",
    ),
    Command(
        "train image_folder",
        "coda_keras_recipes.image_folder:main",
        "A net of one's own photographs: trains on a folder of images, explains, and packages.",
    ),
    Command(
        "train imagenet",
        "coda_keras_recipes.imagenet:main",
        "L-CoDA-SQ on the first 100 classes of ImageNet: Section 4.1 and supplement C.1.",
    ),
    Command(
        "train resnet56",
        "coda_keras_recipes.resnet56:main",
        "The ResNet-56 (He et al., 2016) on CIFAR-10, to compare with: Fig. B.4b of the paper.",
    ),
    Command(
        "train tiny_imagenet",
        "coda_keras_recipes.tiny_imagenet:main",
        "XL-CoDA-SQ on Tiny ImageNet: Section 4.1 and supplement C.1 of the paper.",
    ),
    Command(
        "explain",
        "coda_keras_recipes.explain:main",
        "Explains images: the classes a trained net sees, and the pixels that speak for them.",
    ),
    Command(
        "package",
        "coda_keras_export.package:main",
        "Makes a servable of a trained net: `<out>/<name>/<integer version>/`.",
    ),
    Command(
        "serve",
        "coda_keras_export.serve:main",
        "Serves a folder of servables over TensorFlow Serving's gRPC API.",
    ),
    Command(
        "ask",
        "coda_keras_export.client:main",
        "Sends images to a served net, prints the classes and saves the contribution maps as PNG.",
    ),
    Command(
        "interpret",
        "coda_keras_recipes.interpret:main",
        "The paper's metrics and figures for any trained model, beside post-hoc methods.",
    ),
    Command(
        "demo",
        "coda_keras_recipes.demo:main",
        "The whole way once, without a download: explain photographs, train, export, serve, ask.",
    ),
    Command(
        "evaluate",
        "coda_keras_recipes.evaluate:main",
        "Scores a trained CoDA-Net on all test images: accuracy, completeness, localisation.",
    ),
    Command(
        "experiments",
        "coda_keras_recipes.experiments:main",
        "The paper's experiments by name, with its numbers and ours.",
    ),
    Command(
        "explore",
        "coda_keras_recipes.explore:main",
        "An explorer of images: where each logit comes from, pixel by pixel, as one HTML file.",
    ),
    Command(
        "mnist",
        "coda_keras_recipes.mnist:main",
        "What DAUs align with, on noisy digits: Fig. 2 and Fig. 3 of the paper.",
    ),
    Command(
        "release",
        "coda_keras_recipes.release:main",
        "Makes a trained preset of a finished run: weights in half precision and a model card.",
    ),
    Command(
        "supplement",
        "coda_keras_recipes.supplement:main",
        "Supplements D and E of the paper in numbers: DAUs beside PCA, and beside capsules.",
    ),
    Command(
        "sweep",
        "coda_keras_recipes.sweep:main",
        "Runs experiments of the paper one after another, or one per GPU; draws Fig. B.1 to B.3.",
    ),
    Command(
        "sweep_figures",
        "coda_keras_recipes.sweep_figures:main",
        "Fig. B.1, B.2 and B.3 from the results of `coda-keras sweep`.",
    ),
)
