"""Supplements D and E of the paper in numbers: DAUs beside PCA, and beside capsules.

    coda-keras supplement

D: maximised over a set of inputs, a DAU of rank r learns a subspace of r dimensions. The table has
what of the largest conceivable output, the mean norm of the inputs, is reached by the subspace of
PCA (the SVD of the inputs), by the best subspace, and by trained DAUs; and what they keep of the
squared norm, which is what PCA maximises. In the second half every tenth input is ten times as
bright. The inputs are scikit-learn's digits, or MNIST: --data names a folder with its files.

E: capsules after one step of dynamic routing (Sabour et al., 2017), and DAUs with B = I whose A are
the capsules' matrices side by side. The capsules' vectors are the dynamic weights of the DAUs, and
their products with the inputs the outputs; what more steps of routing do no DAU does.

--output receives all numbers as supplement.json.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import coda_keras
from coda_keras.data.idx import load_idx
from coda_keras.data.images import ImageData, load_digits
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, command, positive_int
from coda_keras.utils.files import check_folder, write_json
from coda_keras.utils.progress import tracked
from coda_keras.utils.text import markdown_table

RANKS = (1, 3, 10)
EPOCHS, BATCH_SIZE = 100, 64
BRIGHTER, EVERY = 10.0, 10
RESCALES = {"l2": "DAU, L2", "squash": "DAU, SQ"}
# Capsules below and their dimensions, capsules above, inputs.
BELOW, POSE, ABOVE, INPUTS = 3, 4, 5, 100
STEPS = (1, 2, 3)


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    check_folder(args.output)
    data = load_idx(args.data) if args.data else load_digits()
    compute(args, data)


def compute(args: argparse.Namespace, data: ImageData) -> None:
    """Prints both tables and writes all numbers."""
    import keras

    keras.utils.set_random_seed(args.seed)
    images = data.limit(train=args.limit_train).train_images[..., 0] / 255
    results = {"D": supplement_d(images.reshape(len(images), -1)), "E": supplement_e(args.seed)}
    write_json(args.output / "supplement.json", {**results, **provenance.record(vars(args))})
    print(args.output / "supplement.json")


def supplement_d(inputs: np.ndarray) -> list[dict[str, Any]]:
    """What PCA, the best subspace and DAUs reach, for equally and unequally bright inputs."""
    from coda_keras.layers import alignment

    brightness = np.where(np.arange(len(inputs)) % EVERY, 1.0, BRIGHTER)
    cases = {"digits": inputs, "some brighter": inputs * brightness[:, None]}
    rows = []
    for (name, values), rank in tracked([*product(cases.items(), RANKS)], "training", "rank"):
        subspaces = {
            "PCA": alignment.principal_subspace(values, rank),
            "best subspace": alignment.aligned_subspace(values, rank),
        }
        row: dict[str, Any] = {"inputs": name, "rank": rank}
        for label, subspace in subspaces.items():
            row[label] = alignment.reached(values, subspace)
        for rescale, label in RESCALES.items():
            row[label], subspaces[label] = trained(values, rank, rescale)
        for label, subspace in subspaces.items():
            row[f"{label}, squares"] = alignment.kept(values, subspace)
        rows.append(row)
    tell("D. Mean output over mean norm of the inputs", table_d(rows))
    tell("D. Squared norm kept by the subspaces", table_d(rows, squares=True))
    return rows


def trained(inputs: np.ndarray, rank: int, rescale: str) -> tuple[float, np.ndarray]:
    """What a maximised DAU reaches, and orthonormal rows that span the columns of its A."""
    import keras

    from coda_keras.layers.alignment import matrices, maximise

    unit = coda_keras.DAUConv2D(
        filters=1, rank=rank, kernel_size=1, rescale=rescale, use_bias=False
    )
    patches = inputs.astype("float32")[:, None, None]
    maximise(unit, patches, EPOCHS, batch_size=BATCH_SIZE)
    outputs = keras.ops.convert_to_numpy(unit(patches))
    columns, _ = np.linalg.qr(matrices(unit)[0])
    return float(outputs.mean() / np.linalg.norm(inputs, axis=1).mean()), columns.T


def supplement_e(seed: int) -> list[dict[str, Any]]:
    """Capsules and DAUs on the same inputs, and how far apart they are."""
    import keras

    random = np.random.default_rng(seed)
    depth = BELOW * POSE
    poses = random.normal(size=(INPUTS, BELOW, POSE))
    transforms = random.normal(size=(BELOW, ABOVE, depth, POSE))
    units = as_units(transforms)
    patches = poses.reshape(INPUTS, 1, 1, depth).astype("float32")
    weights = keras.ops.convert_to_numpy(units.dynamic_weights(patches))
    weights = weights.reshape(INPUTS, ABOVE, depth)
    outputs = keras.ops.convert_to_numpy(units(patches)).reshape(INPUTS, ABOVE)
    rows = []
    for steps in STEPS:
        vectors = routed(poses, transforms, steps)
        agreement = np.einsum("njd,nd->nj", vectors, poses.reshape(INPUTS, depth))
        rows += [
            compared("vectors, dynamic weights", steps, vectors, weights),
            compared("their products with the inputs, outputs", steps, agreement, outputs),
        ]
    tell("E. Capsules and DAUs with B = I, root mean squares", table_e(rows))
    return rows


def as_units(transforms: np.ndarray) -> "coda_keras.DAUConv2D":
    """DAUs whose dynamic weights are the vectors of capsules after one step of routing."""
    below, above, depth, pose = transforms.shape
    units = coda_keras.DAUConv2D(filters=above, rank=depth, kernel_size=1, use_bias=False)
    units.build((None, 1, 1, depth))
    # The first step couples every capsule below equally to all those above.
    side_by_side = transforms.transpose(2, 1, 0, 3).reshape(depth, above, below * pose) / above
    units.set_weights([np.eye(depth)[None, None], side_by_side[None, None]])
    return units


def routed(poses: np.ndarray, transforms: np.ndarray, steps: int) -> np.ndarray:
    """Vectors `(N, above, d)` of capsules by dynamic routing, procedure 1 of Sabour et al. (2017).

    Args:
        poses: `(N, below, pose)`.
        transforms: `(below, above, d, pose)`.
        steps: int, iterations.
    """
    from scipy.special import softmax

    votes = np.einsum("ijdp,nip->nijd", transforms, poses)
    logits = np.zeros(votes.shape[:3])
    for _ in range(steps):
        coupling = softmax(logits, axis=2)
        total = np.einsum("nij,nijd->njd", coupling, votes)
        norm = np.linalg.norm(total, axis=-1, keepdims=True)
        vectors = total * norm / (1 + norm**2)
        logits += np.einsum("nijd,njd->nij", votes, vectors)
    return vectors


def compared(quantity: str, steps: int, capsules: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    """A row of the table: root mean squares of both, and the largest difference."""
    return {
        "quantity": quantity,
        "routing steps": steps,
        "capsules": float(np.sqrt(np.mean(capsules**2))),
        "DAUs": float(np.sqrt(np.mean(units**2))),
        "largest difference": float(np.abs(capsules - units).max()),
    }


def table_d(rows: Sequence[Mapping[str, Any]], squares: bool = False) -> list[str]:
    """The lines of a table in Markdown of supplement D."""
    labels = ["PCA", "best subspace", *RESCALES.values()]
    columns = [f"{label}, squares" if squares else label for label in labels]
    return _table({"inputs": "inputs", "rank": "rank", **dict(zip(labels, columns))}, rows)


def table_e(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of a table in Markdown of supplement E."""
    columns = ("quantity", "routing steps", "capsules", "DAUs", "largest difference")
    return _table(dict(zip(columns, columns)), rows)


def _table(keys: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return markdown_table(list(keys), ([written(row[k]) for k in keys.values()] for row in rows))


def tell(title: str, lines: Sequence[str]) -> None:
    """Prints a table under its title."""
    print(title, "", *lines, "", sep="\n", flush=True)


def written(value: object) -> str:
    """A cell of a table."""
    if isinstance(value, float):
        return f"{value:.1e}" if abs(value) < 1e-3 else f"{value:.4f}"
    return str(value)


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    flags = Parser(prog=prog, description=__doc__)
    flags.add_argument(
        "--data", type=Path, help="folder with MNIST (default: scikit-learn's digits)"
    )
    flags.add_argument("--seed", type=int, default=0, help="of initial values, and of the capsules")
    flags.add_argument("--limit-train", type=positive_int, metavar="N", help="inputs of D")
    flags.add_argument(
        "--output", type=Path, default=Path("runs/supplement"), help="(default: %(default)s)"
    )
    return flags.parse_args(arguments)


if __name__ == "__main__":
    main()
