"""What DAUs align with, on noisy digits: Fig. 2 and Fig. 3 of the paper.

    coda-keras mnist --data FOLDER

FOLDER has the files of MNIST (train-images-idx3-ubyte.gz and so on) or a data set that TensorFlow
Datasets has prepared; without --data it is fetched. `--dataset digits` takes scikit-learn's digits,
which need no download.

Fig. 2: a single layer of DAUs that see the whole image, and a CoDA-Net of five layers, both trained
on noisy digits; the weights W_{0->L}(x) and contributions for the label and for the strongest other
class. Fig. 3: a DAU of rank 3, maximised over 3,072 noisy samples of three digits; the eigenvectors
of AB are these digits. The folder given by --output receives figure2 and figure3 as PNG and PDF,
the two nets, and mnist.json with all numbers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from coda_keras_recipes.mnist_figures import (
    SHOWN,
    TEMPERATURES,
    draw_figure2,
    draw_figure3,
    save,
    table_figure2,
    table_figure3,
)

import coda_keras
from coda_keras.data.idx import load_idx
from coda_keras.data.images import ImageData, load_digits
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, positive_int, tensorflow_command
from coda_keras.utils.files import check_folder, write_json
from coda_keras.utils.progress import tracked

NOISE = 0.3  # standard deviation, of images in [0, 1]
# Filters, rank, kernel size and stride of every layer.
LAYERS = {
    "single layer": [(10, 32, 1, 1)],
    "five layers": [(16, 16, 5, 2), (16, 16, 3, 1), (32, 16, 3, 2), (32, 16, 3, 1), (10, 32, 1, 1)],
}
EPOCHS, BATCH_SIZE, LEARNING_RATE = 8, 64, 3e-3
SAMPLES, SAMPLE_NOISE = 1024, 0.5  # of each digit in Fig. 3
RANK, MAXIMISED = 3, 50  # of the unit there; passes over all samples


@tensorflow_command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    check_folder(args.output)
    data = load(args).limit(args.limit_train, args.limit_test)
    for part in ("train", "test"):
        first_of_shown(data, part)  # a mistake in the limits ends the command before it trains
    draw(args, data)


def draw(args: argparse.Namespace, data: ImageData) -> None:
    """Draws both figures and writes all numbers."""
    import keras

    keras.utils.set_random_seed(args.seed)
    results = {"figure2": figure2(args, data), "figure3": figure3(args, data)}
    print(*table_figure2(results["figure2"]), "", *table_figure3(results["figure3"]), sep="\n")
    about = {"note": data.note, **provenance.record(vars(args))}
    write_json(args.output / "mnist.json", {**results, **about})
    for name in ("figure2.png", "figure3.png", "mnist.json"):
        print(args.output / name)


def figure2(args: argparse.Namespace, data: ImageData) -> dict[str, Any]:
    """Trains both nets and draws why they say the label, and the strongest other class."""
    from coda_keras.training.checkpoints import save_model

    test = noisy(data.test_images, args.seed + 1)
    shown = first_of_shown(data, "test")
    results, rows = {}, []
    for name, layers in LAYERS.items():
        net = build(layers, TEMPERATURES[name], data)
        train(net, data, args)
        save_model(net, args.output / f"{name.replace(' ', '_')}.keras")
        logits = net.predict(test, BATCH_SIZE, verbose=0)
        pairs = label_and_rival(logits, data.test_labels)
        results[name] = {
            "parameters": net.count_params(),
            "test_images": len(test),
            "test_accuracy": float(np.mean(logits.argmax(axis=1) == data.test_labels)),
            **aligned(net, test, pairs),
        }
        rows.append((name, net.explain(test[shown], pairs[shown]).numpy()))
    save(draw_figure2(test[shown], rows, data.class_names), args.output / "figure2")
    return results


def first_of_shown(data: ImageData, part: str) -> list[int]:
    """Index of the first image of each shown digit in a part of the data, `"train"` or `"test"`.

    Raises:
        ValueError: if one of the digits does not occur.
    """
    labels = data.train_labels if part == "train" else data.test_labels
    for digit in SHOWN:
        if digit not in labels:
            raise ValueError(f"No {part} image shows a {digit}. Raise --limit-{part}.")
    return [int(np.flatnonzero(labels == digit)[0]) for digit in SHOWN]


def build(
    layers: Sequence[tuple[int, int, int, int]], temperature: float, data: ImageData
) -> "coda_keras.CoDANet":
    """A CoDA-Net; a single layer sees the whole image as one patch."""
    units = [coda_keras.DAUConv2D(*layer) for layer in layers]
    whole = [coda_keras.GlobalPatch2D()] if len(layers) == 1 else []
    size = data.train_images.shape[1:3]
    return coda_keras.CoDANet(
        [*whole, *units], temperature, image_size=size, class_names=data.class_names
    )


def train(net: "coda_keras.CoDANet", data: ImageData, args: argparse.Namespace) -> None:
    """Minimises the one-vs-all cross-entropy, with noise anew in every epoch."""
    import keras

    steps = args.epochs * -(-len(data.train_images) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    loss = coda_keras.OneVsAllCrossentropy()
    net.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    for epoch in tracked(range(args.epochs), "training", "epoch"):
        images = noisy(data.train_images, [args.seed, epoch])
        net.fit(images, data.train_labels, BATCH_SIZE, verbose=0)


def noisy(images: np.ndarray, seed: int | list[int]) -> np.ndarray:
    """uint8 grey images as floats with Gaussian noise, clipped to [0, 1]."""
    noise = np.random.default_rng(seed).normal(0, NOISE, (*images.shape[:3], 1))
    return np.clip(images / 255 + noise, 0, 1).astype("float32")


def label_and_rival(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Class ids `(N, 2)`: the label, and the strongest of the other classes."""
    others = np.where(np.arange(logits.shape[1]) == labels[:, None], -np.inf, logits)
    return np.stack([labels, others.argmax(axis=1)], axis=1)


def aligned(net: "coda_keras.CoDANet", images: np.ndarray, pairs: np.ndarray) -> dict[str, float]:
    """Mean cosines of W_{0->L}(x) and x for both classes, and how complete contributions are."""
    from coda_keras.layers.alignment import cosines

    cosine, errors = [], []
    for start in range(0, len(images), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        explanation = net.explain(images[part], pairs[part]).numpy()
        encoded = np.concatenate([images[part], 1 - images[part]], axis=-1)
        cosine.append(cosines(explanation.weights, encoded[:, None]))
        errors.append(explanation.completeness_error.max())
    label, rival = np.concatenate(cosine).mean(axis=0)
    return {
        "cosine_of_label": float(label),
        "cosine_of_strongest_other": float(rival),
        "completeness_error": float(max(errors)),
    }


def figure3(args: argparse.Namespace, data: ImageData) -> dict[str, Any]:
    """Maximises a DAU over noisy samples of three digits and draws the eigenvectors of its AB."""
    import keras

    from coda_keras.layers import alignment

    pictures = data.train_images[first_of_shown(data, "train")][..., 0] / 255
    digits = pictures.reshape(len(SHOWN), -1)
    samples = digits.repeat(SAMPLES, axis=0)
    samples += np.random.default_rng([args.seed, 3]).normal(0, SAMPLE_NOISE, samples.shape)
    samples = samples.astype("float32")
    unit = coda_keras.DAUConv2D(filters=1, rank=RANK, kernel_size=1, use_bias=False)
    alignment.maximise(unit, samples[:, None, None], MAXIMISED)
    eigenvalues, vectors = alignment.eigenvectors(unit)
    vectors, cosine = matched(vectors, digits)
    singular, likeness = matched(alignment.principal_subspace(samples, RANK), digits)
    output = np.mean(keras.ops.convert_to_numpy(unit(samples[:, None, None])))
    best = alignment.aligned_subspace(samples, RANK)
    results = {
        "samples": len(samples),
        "eigenvalues": [str(value) for value in np.round(eigenvalues, 4)],
        "cosine_of_eigenvectors": cosine.tolist(),
        "cosine_of_singular_vectors": likeness.tolist(),
        "reached": float(output / np.linalg.norm(samples, axis=1).mean()),
        "reached_at_best": alignment.reached(samples, best),
    }
    noise = samples[::SAMPLES].reshape(pictures.shape)
    figure = draw_figure3(pictures, noise, (vectors, cosine), (singular, likeness))
    save(figure, args.output / "figure3")
    return results


def matched(vectors: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in the order and with the signs of the digits nearest to them, and their cosines."""
    from scipy.optimize import linear_sum_assignment

    units = digits / np.linalg.norm(digits, axis=1, keepdims=True)
    table = units @ vectors.T
    rows, columns = linear_sum_assignment(-np.abs(table))
    cosine = table[rows, columns]
    return vectors[columns] * np.sign(cosine)[:, None], np.abs(cosine)


def load(args: argparse.Namespace) -> ImageData:
    """The digits that the flags name."""
    if args.dataset == "digits":
        return load_digits()
    if args.data and not (args.data / "mnist").is_dir():
        return load_idx(args.data)
    from coda_keras.data.tf_batches import load_tfds

    data = load_tfds("mnist", args.data)
    train, test = (np.repeat(grey, 3, -1) for grey in (data.train_images, data.test_images))
    return data._replace(train_images=train, test_images=test)


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    flags = Parser(prog=prog, description=__doc__)
    flags.add_argument(
        "--dataset", choices=("mnist", "digits"), default="mnist", help="(default: %(default)s)"
    )
    flags.add_argument(
        "--data",
        type=Path,
        help="folder with the files of MNIST, or of data sets prepared by TensorFlow Datasets "
        "(default: TensorFlow Datasets' own)",
    )
    flags.add_argument(
        "--epochs", type=positive_int, default=EPOCHS, help="of both nets (default: %(default)s)"
    )
    flags.add_argument("--seed", type=int, default=0, help="of initial values, order and noise")
    flags.add_argument("--limit-train", type=positive_int, metavar="N")
    flags.add_argument("--limit-test", type=positive_int, metavar="N")
    flags.add_argument(
        "--output", type=Path, default=Path("runs/mnist"), help="(default: %(default)s)"
    )
    return flags.parse_args(arguments)


if __name__ == "__main__":
    main()
