"""Parquet files with encoded images as sources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coda_keras.explained.records import Records, Size, decoded

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
        try:
            counts = [pq.read_metadata(path).num_rows for path in paths]
            schema = pq.read_schema(paths[0])
        except pa.ArrowInvalid as error:
            raise ValueError(f"{place} is no Parquet, or damaged: {error}") from error
        kind = schema.field(column).type if column in schema.names else None
        if kind is None or not (_is_bytes(kind) or pa.types.is_struct(kind)):
            raise ValueError(
                f"{place} has no column of encoded images named {column}. It has "
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
        rows = list(self._rows())
        ids = [identity for identity, _, _ in rows]
        labels = [label for _, label, _ in rows]
        return decoded(ids, labels, [partial(_content, image) for *_, image in rows], size)

    def identity(self) -> dict[str, Any]:
        sizes = [Path(self.root, name).stat().st_size for name in self.files]
        about = {"files": len(self.files), "bytes": sum(sizes), "column": self.column}
        return {"kind": "parquet", "images": len(self), **about}

    def class_names(self) -> Sequence[str] | None:
        return None

    def _rows(self) -> Iterator[tuple[str, Any, Any]]:
        """Id, label and image of every row; row groups of others are not read."""
        first = 0
        for name, count in zip(self.files, self.counts):
            if first < self.stop and first + count > self.start:
                yield from self._rows_of(name, first)
            first += count

    def _rows_of(self, name: str, first: int) -> Iterator[tuple[str, Any, Any]]:
        with pq.ParquetFile(Path(self.root, name)) as file:
            named = next((column for column in IDS if column in file.schema_arrow.names), None)
            label = next((column for column in LABELS if column in file.schema_arrow.names), None)
            columns = [column for column in (named, label, self.column) if column]
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                low, high = max(self.start, first), min(self.stop, first + count)
                if low < high:
                    table = file.read_row_group(group, columns).slice(low - first, high - low)
                    for number, row in enumerate(table.to_pylist(), low):
                        image = row[self.column]
                        path = image.get("path") if isinstance(image, dict) else None
                        identity = row[named] if named else path or number
                        yield str(identity), row[label] if label else None, image
                first += count


def _content(image: bytes | dict[str, Any] | None) -> bytes:
    """The bytes of an image; those of none are no image."""
    content = image.get("bytes") if isinstance(image, dict) else image
    return content or b""


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
