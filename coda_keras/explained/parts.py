"""The files of an explained data set, each of which appears complete or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from coda_keras.data.images import TEST_BATCH, TEST_PIXELS
from coda_keras.explained import parquet_files
from coda_keras.explained.records import Read, Size
from coda_keras.explained.schema import table
from coda_keras.explanation.dataset import explain_dataset
from coda_keras.explanation.explanation import Explanation
from coda_keras.utils.files import replacing

# What a part takes in memory, about, and the rows that it has at most.
PART_BYTES, PART_ROWS = 2**25, 1000
NAME = "part-{:06}.parquet"


class Counts(NamedTuple):
    """Rows of a part, and how many of them have an error."""

    rows: int
    errors: int


def rows_of_part(size: Size, maps: str, channels: bool) -> int:
    """How many rows a part has, a multiple of the batch or less than one."""
    pixels = size[0] * size[1]
    written = 0 if maps == "none" else np.dtype(maps).itemsize * (7 if channels else 1)
    rows = max(1, min(PART_ROWS, PART_BYTES // (pixels * (3 + written))))
    batch = batch_rows(size)
    return max(rows // batch * batch, min(rows, batch))


def batch_rows(size: Size) -> int:
    """Images that the net sees at once."""
    return max(1, min(TEST_BATCH, TEST_PIXELS // (size[0] * size[1])))


def path(folder: str | os.PathLike, number: int) -> Path:
    """The file of a part."""
    return Path(folder) / NAME.format(number)


def counts(file: Path) -> Counts:
    """What a file says of its rows."""
    about = parquet_files.metadata(file)
    column = about.schema.to_arrow_schema().get_field_index("error")
    groups = [about.row_group(index) for index in range(about.num_row_groups)]
    nulls = sum(group.column(column).statistics.null_count for group in groups)
    return Counts(about.num_rows, about.num_rows - nulls)


class Explainer:
    """Explains parts and writes their files.

    Args:
        net: a `CoDANet`.
        folder: of the files.
        about: dict, as for `coda_keras.explained.schema.schema`.
        batch_size: int, images that the net sees at once.
    """

    def __init__(
        self, net: Any, folder: str | os.PathLike, about: dict[str, Any], batch_size: int
    ) -> None:
        self.net, self.folder, self.about, self.batch_size = net, folder, about, batch_size

    def __call__(self, part: Read, explained: Callable[[int], Any] = lambda count: None) -> Counts:
        """Explains a part and writes its file.

        Args:
            part: its images.
            explained: called with the number of images of every batch.
        """
        images = part.records.images
        starts = range(0, len(images), self.batch_size)
        # Black images where there are errors: batches of other shapes would be compiled anew.
        batches = (images[i : i + self.batch_size].astype("float32") / 255.0 for i in starts)
        fields = ["logits", "contribution_map", "residual", "offset"]
        fields += ["contributions"] if self.about["channels"] else []
        rows: dict[str, list[np.ndarray]] = {name: [] for name in fields}
        for explanation in explain_dataset(self.net, batches, fields=fields, progress=False):
            for name, values in rows.items():
                values.append(getattr(explanation, name))
            explained(len(explanation.logits))
        whole = {name: np.concatenate(values) for name, values in rows.items()}
        self.write(part, Explanation(**{**dict.fromkeys(Explanation.axes), **whole}))
        return Counts(len(images), sum(error is not None for error in part.records.errors))

    def write(self, part: Read, explanation: Explanation) -> None:
        """Writes the file of a part, whose explanation has NumPy arrays."""
        columns = table(part.first, part.records, explanation, self.about)
        lists = [name for name in columns.schema.names if name in ("map", "contributions")]
        with replacing(path(self.folder, part.number)) as temporary:
            pq.write_table(
                columns,
                temporary,
                compression="zstd",
                use_dictionary=["label_name", "predicted_name", "error"],
                # Signs and exponents, which compress, beside each other.
                use_byte_stream_split=[f"{name}.list.element" for name in lists],
                write_statistics=["row", "label", "predicted", "probability", "error"],
            )


class Made:
    """What makes an `Explainer` in another process.

    Args:
        model: the content of a `.keras` file.
        folder, about, batch_size: as for `Explainer`.
    """

    def __init__(
        self, model: bytes, folder: str | os.PathLike, about: dict[str, Any], batch_size: int
    ) -> None:
        self._model = model
        self._rest = folder, about, batch_size

    def __call__(self) -> Explainer:
        import tempfile

        from coda_keras.models.loading import load_model

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.keras"
            file.write_bytes(self._model)
            net = load_model(file)
        return Explainer(net, *self._rest)
