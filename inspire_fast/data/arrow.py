"""Columns of a parquet file as numpy arrays, whatever way their writer nested them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


class ColumnError(ValueError):
    """A column's values do not make an array. `row` is the first that does not, None where it is no single one."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Plain values `[n]`, lists of equal length `[n, ...]`; lists of records (annotations) stay Python objects `[n]`.

    Lists may be of fixed or variable type, nested (arrays of rank 2 and more) and wrapped in an extension type, as the
    different writers of LeRobot datasets have them.

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
        first = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise ColumnError(f"has {array.null_count} empty values", first * shape[0] // len(array))


def _check_lengths(array: pa.Array, shape: list[int]) -> None:
    if pa.types.is_fixed_size_list(array.type):
        return
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    differing = np.flatnonzero(lengths != lengths[:1])
    if len(differing):
        first = int(differing[0])
        raise ColumnError(
            f"holds lists that differ in length: {lengths[0]} and {lengths[first]}", first * shape[0] // len(array)
        )
