"""Parquet files from anywhere: their sizes are checked first, and damage is told in one line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coda_keras.utils.inflating import check_size
from coda_keras.utils.text import short

# Bytes that a file of any size may have in memory.
FREE = 2**28


@contextlib.contextmanager
def reading(place: str | os.PathLike) -> Iterator[None]:
    """Raises ValueError about `place` where Arrow cannot read a file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{place} is no Parquet, or damaged: {short(error, 200)}") from error


def metadata(file: Path) -> pq.FileMetaData:
    """What a file says of its content.

    Raises:
        ValueError: if it is damaged, or says that it has more rows than bytes or columns that
            inflate to absurdly many bytes.
    """
    with reading(file):
        about: Any = pq.read_metadata(file)
    stored = file.stat().st_size
    groups = [about.row_group(index) for index in range(about.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    if rows != about.num_rows or not 0 <= rows <= stored:
        raise ValueError(f"{file} says that it has {about.num_rows} rows in {stored} bytes.")
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    try:
        check_size(sum(column.total_uncompressed_size for column in columns), stored, FREE)
    except ValueError as error:
        raise ValueError(f"{file}: {error}.") from error
    return about


def opened(file: Path) -> pq.ParquetFile:
    """Opens a file whose equal texts and images are in memory once, however many rows have them."""
    schema: Any = pq.read_metadata(file).schema
    columns = [schema.column(index) for index in range(len(schema))]
    shared = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    return pq.ParquetFile(file, read_dictionary=[path for path in shared if path.count(".") < 2])
