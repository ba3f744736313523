"""Parquet files read as single files, with errors that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.data.errors import DatasetError


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turns a missing file and pyarrow's failures into a `DatasetError` that names the file."""
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; the dataset is incomplete.")
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read as parquet: {error}") from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A parquet file, or some of its columns.

    Raises:
        DatasetError: missing or damaged, or it lacks a column.
    """
    # Not `pq.read_table`: that takes `name=value` anywhere in the path for a column.
    with parquet_errors(path), pq.ParquetFile(path) as file:
        absent = [name for name in columns or () if name not in file.schema_arrow.names]
        if absent:
            raise DatasetError(f"{path} lacks the columns {absent}; it has {file.schema_arrow.names}.")
        return file.read(columns=columns)


def column_names(path: Path) -> list[str]:
    """The columns that a parquet file has; reads its footer only.

    Raises:
        DatasetError: missing or damaged.
    """
    with parquet_errors(path):
        return pq.read_schema(path).names
