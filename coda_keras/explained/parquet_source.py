"""Parquet files with encoded images as sources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coda_keras.explained import parquet_files
from coda_keras.explained.records import Records, Size, decoded, joined

# Rows whose encoded images are in memory at once, and characters of names.
_AT_ONCE, _MAX_NAME = 32, 4096
# Columns that name an image and its class, the first that is there.
IDS, LABELS = ("id", "path", "file_name", "filename"), ("label", "labels", "class")


@dataclass(frozen=True)
class ParquetFiles:
    """Rows `start` to `stop` of files, whose images are bytes, or bytes and paths."""

    root: str
    column: str
    files: list[str] = field(repr=False)
    counts: list[int] = field(repr=False)
    start: int
    stop: int

    @classmethod
    def open(cls, place: Path, column: str) -> "ParquetFiles":
        paths = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
        counts = [parquet_files.metadata(path).num_rows for path in paths]
        if not sum(counts):
            raise ValueError(f"There are no images in {place}.")
        for path in paths:
            with parquet_files.reading(path):
                schema = pq.read_schema(path)
            kind = schema.field(column).type if column in schema.names else None
            if kind is None or not (_is_bytes(kind) or pa.types.is_struct(kind)):
                raise ValueError(
                    f"{path} has no column of encoded images named {column}. It has "
                    f"{', '.join(schema.names)}. Name one by --column."
                )
        files = [path.name for path in paths]
        root = str(paths[0].parent.resolve())
        return cls(root, column, files, counts, 0, sum(counts))

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, rows: slice) -> "ParquetFiles":
        start, stop, _ = rows.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + stop)

    def read(self, size: Size) -> Records:
        parts = []
        for first, batch in self._batches():
            ids, labels = zip(*(self._named(batch, row, first) for row in range(len(batch))))
            images = batch.column(self.column)
            contents = [partial(_content, images, row) for row in range(len(batch))]
            parts.append(decoded(ids, labels, contents, size))
        return joined(parts, size)

    def identity(self) -> dict[str, Any]:
        sizes = [Path(self.root, name).stat().st_size for name in self.files]
        about = {"files": len(self.files), "bytes": sum(sizes), "column": self.column}
        return {"kind": "parquet", "images": len(self), **about}

    def class_names(self) -> Sequence[str] | None:
        return None

    def _batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Some rows at a time, and the number of the first; row groups of others are not read."""
        first = 0
        for name, count in zip(self.files, self.counts):
            if first < self.stop and first + count > self.start:
                path = Path(self.root, name)
                with parquet_files.reading(path), parquet_files.opened(path) as file:
                    yield from self._batches_of(file, first)
            first += count

    def _batches_of(self, file: pq.ParquetFile, first: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        names = {*_first_of(file.schema_arrow, IDS, LABELS), self.column}
        for group in range(file.num_row_groups):
            row, count = first, file.metadata.row_group(group).num_rows
            first += count
            if row < self.stop and row + count > self.start:
                for batch in file.iter_batches(_AT_ONCE, [group], sorted(names)):
                    skipped = min(max(self.start - row, 0), len(batch))
                    kept = batch.slice(skipped, max(self.stop - row - skipped, 0))
                    if len(kept):
                        yield row + skipped, kept
                    row += len(batch)

    def _named(self, batch: pa.RecordBatch, row: int, first: int) -> tuple[str, Any]:
        """Id and label of a row."""
        names = [_first_of(batch.schema, columns) for columns in (IDS, LABELS)]
        identity, label = (batch.column(name[0])[row].as_py() if name else None for name in names)
        image = batch.column(self.column)
        if identity is None and pa.types.is_struct(image.type) and "path" in image.type.names:
            identity = image.field("path")[row].as_py()
        identity = str(first + row if identity is None else identity)
        if max(len(identity), len(label) if isinstance(label, str) else 0) > _MAX_NAME:
            raise ValueError(
                f"{self.root}: the name or the label of row {first + row} has more than "
                f"{_MAX_NAME} characters."
            )
        return identity, label


def _first_of(schema: pa.Schema, *kinds: Sequence[str]) -> list[str]:
    """The first column of each kind that is there."""
    found = (next((name for name in names if name in schema.names), None) for names in kinds)
    return [name for name in found if name]


def _content(images: pa.Array, row: int) -> bytes:
    """The bytes of an image; those of none are no image."""
    image = images[row].as_py()
    return (image.get("bytes") if isinstance(image, dict) else image) or b""


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
