"""Explained data sets, opened again: rows chosen by their values, and their maps and images."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coda_keras.explained import parquet_files, parts
from coda_keras.explained.description import DESCRIPTION, described
from coda_keras.explained.schema import schema
from coda_keras.explained.sources import open_source
from coda_keras.explorer.view import View
from coda_keras.utils.text import listed, nearest

# What rows are chosen by: everything but the arrays.
SCALARS = ["row", "id", "label", "predicted", "probability", "residual", "negative", "error"]


class Explanations:
    """What `explain_to_parquet` has written into a folder.

    Args:
        folder: path.

    Attributes:
        about: dict, what the files say of their making.

    Raises:
        ValueError: if the folder holds no such files.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        about, files = described(self.folder), sorted(self.folder.glob("part-*.parquet"))
        if about is None or not files:
            raise ValueError(f"{folder} holds no explanations as explain_to_parquet writes them.")
        self.about: dict[str, Any] = about
        self._files = files
        expected = schema(about)
        for file in files:
            found = parquet_files.metadata(file).schema.to_arrow_schema()
            if not found.equals(expected):
                raise ValueError(f"{file} has other columns than {DESCRIPTION} says.")

    def choose(
        self,
        sort: str | None = None,
        descending: bool = False,
        low: float | None = None,
        high: float | None = None,
        predicted: str | None = None,
        label: str | None = None,
        wrong: bool = False,
        limit: int | None = None,
    ) -> tuple[list[int], int]:
        """Numbers of the rows that fit; those with an error never do.

        Args:
            sort: name of a column of numbers; None for the order of the source.
            descending: bool, whether the largest come first.
            low, high: smallest and largest value of the column `sort`; None for any.
            predicted, label: a class by its name or number; None for any.
            wrong: bool, whether only images count whose label is known and not predicted.
            limit: int, how many rows are returned at most; None for all.

        Returns:
            `(rows, total)`: the numbers, and how many rows fit.

        Raises:
            ValueError: if there is no such class, or no row fits.
        """
        with parquet_files.reading(self.folder):
            table = pa.concat_tables(pq.read_table(file, columns=SCALARS) for file in self._files)
        if table["row"].null_count:
            raise ValueError(f"{self.folder} has rows without numbers.")
        fits = pc.is_null(table["error"])
        for column, name in (("predicted", predicted), ("label", label)):
            if name is not None:
                fits = pc.and_(fits, pc.equal(table[column], self._class(name)))
        if wrong:
            fits = pc.and_(fits, pc.not_equal(table["predicted"], table["label"]))
        values = table[sort or "row"]
        if low is not None:
            fits = pc.and_(fits, pc.greater_equal(values, low))
        if high is not None:
            fits = pc.and_(fits, pc.less_equal(values, high))
        table = table.filter(fits)
        if not len(table):
            raise ValueError(f"None of the images in {self.folder} fits.")
        keys = [(sort or "row", "descending" if descending else "ascending"), ("row", "ascending")]
        table = table.sort_by(keys[: 1 if keys[0][0] == "row" else 2])
        return table["row"].to_pylist()[:limit], len(table)

    def view(self, rows: list[int]) -> View:
        """Images, logits and maps of rows, for the explorer.

        Args:
            rows: their numbers, none of which has an error.

        Raises:
            ValueError: if there are no maps, or the images cannot be read again.
            FileNotFoundError: if their source has gone.
        """
        if self.about["maps"] == "none":
            raise ValueError(f"{self.folder} has no maps. Explain the data anew with maps.")
        with parquet_files.reading(self.folder):
            table = self._rows(rows)
        names, predicted = self.about["class_names"], table["predicted"].to_pylist()
        values = table.select(["id", "predicted", "offset", "logits", "map", "negative"])
        known = set(range(len(names)))
        if any(column.null_count for column in values.columns) or not known.issuperset(predicted):
            raise ValueError(f"{self.folder} has rows without numbers, or of no class.")
        size = tuple(self.about["image_size"])
        maps = np.stack([np.float32(value) for value in table["map"].to_numpy()])
        labels, offsets = table["label"].to_pylist(), np.array(table["offset"])[:, None]
        return View(
            images=self._images(rows, size),
            logits=np.stack(table["logits"].to_numpy()),
            class_ids=np.array(predicted)[:, None],
            maps=maps.reshape(len(rows), 1, *size),
            class_names=names,
            bias=self.about["bias"],
            offsets=offsets if offsets.any() else None,
            labels=None if None in labels else np.array(labels),
            names=table["id"].to_pylist(),
            negative=np.array(table["negative"]),
            title=self.about["card"]["name"],
        )

    def _class(self, name: str) -> int:
        names = self.about["class_names"]
        if name in names:
            return names.index(name)
        if name.isdecimal() and int(name) < len(names):
            return int(name)
        raise ValueError(f"There is no class {name!r}.{nearest(name, names)}")

    def _rows(self, rows: list[int]) -> pa.Table:
        """The rows in that order, from the files that hold them."""
        count = self.about["rows_of_part"]
        tables = []
        for number in sorted({row // count for row in rows}):
            table = pq.read_table(parts.path(self.folder, number))
            tables.append(table.filter(pc.is_in(table["row"], pa.array(rows, pa.int64()))))
        whole = pa.concat_tables(tables)
        order = {row: index for index, row in enumerate(whole["row"].to_pylist())}
        if missing := [row for row in rows if row not in order]:
            raise ValueError(f"{self.folder} lacks the rows {listed(missing)}.")
        return whole.take([order[row] for row in rows])

    def _images(self, rows: list[int], size: tuple[int, int]) -> np.ndarray:
        opened = self.about["opened"]
        if not opened:
            raise ValueError(f"{self.folder} does not say where its images are.")
        source = open_source(**opened)[: self.about["images"]]
        if source.identity() != self.about["source"]:
            raise ValueError(f"{opened['place']} has other images than those explained.")
        records = [source[row : row + 1].read(size) for row in rows]
        for record in records:
            if record.errors[0] is not None:
                raise ValueError(record.errors[0])
        return np.concatenate([record.images for record in records])
