"""The columns of explained images, and what the files say of their making."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from coda_keras.evaluation import probabilities
from coda_keras.explained.records import Records
from coda_keras.explanation.explanation import Explanation

FORMAT = 1
# Key of the JSON in the metadata of every file.
KEY = b"coda_keras"
MAPS = ("float16", "float32", "none")

_COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("row", pa.int64(), "number of the image in the source, from 0"),
    ("id", pa.string(), "path of the image in its folder, or its name or number in the source"),
    ("label", pa.int32(), "true class as a number of the net's classes, where it is known"),
    ("label_name", pa.string(), "name of the true class, where there is one"),
    ("predicted", pa.int32(), "class of the largest logit, which is the class explained"),
    ("predicted_name", pa.string(), "its name, or its number where the net has no names"),
    ("probability", pa.float32(), "probability of the predicted class, from 0 to 1: a sigmoid"),
    (
        "residual",
        pa.float32(),
        "logit minus bias, offset and the sum of all contributions: rounding",
    ),
    ("offset", pa.float32(), "what constants inside of the net add to the logit; 0 for most nets"),
    ("negative", pa.float32(), "share of the magnitudes in the map that is negative, from 0 to 1"),
    ("error", pa.string(), "why the image could not be explained; null for all others"),
)


def schema(about: dict[str, Any]) -> pa.Schema:
    """The schema of the files.

    Args:
        about: of the files, as `description` returns it.
    """
    classes, (height, width) = len(about["class_names"]), about["image_size"]
    fields = [pa.field(name, kind, metadata={"about": text}) for name, kind, text in _COLUMNS]
    logits = pa.list_(pa.float32(), classes)
    fields.append(pa.field("logits", logits, metadata={"about": "one of each class"}))
    if about["maps"] != "none":
        number = pa.float16() if about["maps"] == "float16" else pa.float32()
        shapes = {"map": (height, width), "contributions": (height, width, 6)}
        shapes = shapes if about["channels"] else {"map": shapes["map"]}
        for name, shape in shapes.items():
            text = f"what every pixel adds to the logit; row by row, of shape {shape}"
            kind = pa.list_(number, int(np.prod(shape)))
            fields.append(
                pa.field(name, kind, metadata={"about": text, "shape": json.dumps(shape)})
            )
    return pa.schema(fields, metadata={KEY: json.dumps(about).encode()})


def table(
    first: int, records: Records, explanation: Explanation, about: dict[str, Any]
) -> pa.Table:
    """Rows of N images as they are written.

    Args:
        first: number of the first image in the source.
        records: the images as they were read.
        explanation: of them, NumPy arrays; the rows of images that have an error count for nothing.
        about: as for `schema`.
    """
    names = about["class_names"]
    broken = np.array([error is not None for error in records.errors])
    logits = np.asarray(explanation.logits, "float32")
    predicted = logits.argmax(axis=-1)
    maps = np.asarray(explanation.contribution_map, "float32")
    magnitudes = np.abs(maps).sum(axis=(1, 2))
    negative = np.maximum(-maps, 0).sum(axis=(1, 2)) / np.where(magnitudes, magnitudes, 1)
    labels = [_label(label, about) for label in records.labels]
    values: dict[str, Any] = {
        "row": np.arange(first, first + len(broken)),
        "id": records.ids,
        "label": [number for number, _ in labels],
        "label_name": [name for _, name in labels],
        "predicted": pa.array(predicted.astype("int32"), mask=broken),
        "predicted_name": pa.array([names[i] for i in predicted], mask=broken),
        "probability": pa.array(np.float32(probabilities(logits).max(axis=-1)), mask=broken),
        "residual": pa.array(np.float32(explanation.residual), mask=broken),
        "offset": pa.array(np.float32(explanation.offset), mask=broken),
        "negative": pa.array(np.float32(negative), mask=broken),
        "error": records.errors,
        "logits": _lists(logits, "float32", broken),
    }
    if about["maps"] != "none":
        values["map"] = _lists(maps, about["maps"], broken)
        if about["channels"]:
            values["contributions"] = _lists(explanation.contributions, about["maps"], broken)
    columns = schema(about)
    arrays = [
        value if isinstance(value, pa.Array) else pa.array(value, columns.field(name).type)
        for name, value in values.items()
    ]
    return pa.Table.from_arrays(arrays, schema=columns)


def _label(label: int | str | None, about: dict[str, Any]) -> tuple[int | None, str | None]:
    """Number and name of a true class: by the name where the net knows it, else by the number."""
    of_source, of_net = about["label_names"], about["class_names"]
    name = label if isinstance(label, str) else None
    if isinstance(label, int) and of_source is not None and 0 <= label < len(of_source):
        name = of_source[label]
    if name in of_net:
        return of_net.index(name), name
    if isinstance(label, int) and 0 <= label < len(of_net):
        return label, name or of_net[label]
    return None, name


def _lists(values: np.ndarray, dtype: str, broken: np.ndarray) -> pa.Array:
    """Rows as lists of equal length; null where an image is broken."""
    rows = np.asarray(values).reshape(len(values), -1)
    limits = np.finfo(dtype)
    # Beyond 65,504 float16 would be infinite.
    numbers = np.clip(rows, limits.min, limits.max).astype(dtype)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(numbers.reshape(-1)), rows.shape[1], mask=pa.array(broken)
    )
