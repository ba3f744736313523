"""Parquet files read as single files, and their columns as numpy arrays, with errors that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
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


def read_table(path: Path, columns: Sequence[str] | None = None, *, dictionaries: Sequence[str] = ()) -> pa.Table:
    """A parquet file, or some of its columns.

    Args:
        path: the file.
        columns: names; None: all.
        dictionaries: text columns to be read as dictionary arrays: plain text of more than 2 GiB is no one array.

    Raises:
        DatasetError: missing or damaged, or it lacks a column.
    """
    # Not `pq.read_table`: that takes `name=value` anywhere in the path for a column.
    with parquet_errors(path), pq.ParquetFile(path, read_dictionary=list(dictionaries)) as file:
        absent = [name for name in columns or () if name not in file.schema_arrow.names]
        if absent:
            raise DatasetError(f"{path} lacks the columns {absent}; it has {file.schema_arrow.names}.")
        return file.read(columns=columns)


def read_schema(path: Path) -> pa.Schema:
    """Columns and metadata of a parquet file; reads its footer only.

    Raises:
        DatasetError: missing or damaged.
    """
    with parquet_errors(path):
        return pq.read_schema(path)


class ColumnError(ValueError):
    """A column's values do not make an array; `rows` are all bad ones, ascending, empty if no single row is."""

    def __init__(self, message: str, rows: np.ndarray | None = None) -> None:
        super().__init__(message)
        self.rows = np.zeros(0, np.int64) if rows is None else np.unique(rows)


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Plain values `[n]`, lists of equal length `[n, ...]`; lists of records (annotations) stay Python objects `[n]`.

    Lists may be of fixed or variable type, nested (arrays of rank 2 and more) and wrapped in an extension type: writers
    of LeRobot datasets differ.

    Raises:
        ColumnError: an empty value, or lists of different lengths.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # text of more than 2 GB stays in pieces
        return np.concatenate([to_numpy(pa.chunked_array([chunk])) for chunk in array.chunks])
    if _holds_records(array.type):
        return _objects(array)
    shape = [len(array)]
    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        _refuse_empty(array, shape)
        if not _is_list(array.type):
            break
        inner = array.flatten()
        _check_lengths(array, shape)
        shape.append(len(inner) // max(len(array), 1))
        array = inner
    return array.to_numpy(zero_copy_only=False).reshape(shape)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _holds_records(kind: pa.DataType) -> bool:
    while _is_list(kind):
        kind = kind.value_type  # type: ignore[attr-defined]
    return pa.types.is_struct(kind)


def _objects(array: pa.Array) -> np.ndarray:
    values = np.empty(len(array), object)
    values[:] = array.to_pylist()
    return values


def _refuse_empty(array: pa.Array, shape: list[int]) -> None:
    if array.null_count:
        empty = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
        raise ColumnError(f"has {array.null_count} empty values", empty * shape[0] // len(array))


def _check_lengths(array: pa.Array, shape: list[int]) -> None:
    if pa.types.is_fixed_size_list(array.type):
        return
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    differing = np.flatnonzero(lengths != lengths[:1])
    if len(differing):
        what = f"holds lists that differ in length: {lengths[0]} and {lengths[differing[0]]}"
        raise ColumnError(what, differing * shape[0] // len(array))
