"""Columns come out alike however their writer nested them; values that are missing or uneven are placed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from inspire_fast.data.lerobot.parquet import ColumnError, to_numpy

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


def column(values, kind: pa.DataType | None = None, pieces: int = 1) -> pa.ChunkedArray:
    array = pa.array(values, kind)
    size = -(-len(array) // pieces)
    return pa.chunked_array([array.slice(i, size) for i in range(0, len(array), size)])


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32(), 3), pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float64())]
)
def test_lists(kind: pa.DataType, pieces: int) -> None:
    values = to_numpy(column(VALUES.tolist(), kind, pieces))
    np.testing.assert_array_equal(values, VALUES)
    assert values.dtype == kind.value_type.to_pandas_dtype()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("inner", [pa.list_(pa.float32(), 3), pa.list_(pa.float32())])
@pytest.mark.parametrize("outer", [lambda t: pa.list_(t, 2), pa.list_])
def test_arrays_of_higher_rank(inner: pa.DataType, outer) -> None:
    matrices = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.testing.assert_array_equal(to_numpy(column(matrices.tolist(), outer(inner), 2)), matrices)


def test_slices_of_lists() -> None:
    """A slice of an arrow array still holds all values behind it."""
    for kind in (pa.list_(pa.float32(), 3), pa.list_(pa.float32())):
        np.testing.assert_array_equal(to_numpy(column(VALUES.tolist(), kind).slice(1, 2)), VALUES[1:3])


def test_plain_values() -> None:
    np.testing.assert_array_equal(to_numpy(column([True, False, True])), [True, False, True])
    assert to_numpy(column(["a", "b"], pa.large_string())).tolist() == ["a", "b"]
    assert to_numpy(column(["a", "b", "a"]).dictionary_encode()).tolist() == ["a", "b", "a"]
    records = to_numpy(column([[{"role": "user", "text": "hi"}], [], None]))
    assert records.tolist() == [[{"role": "user", "text": "hi"}], [], None]


@pytest.mark.parametrize(
    ("values", "message", "row"),
    [
        ([1.0, None, 2.0], "1 empty values", 1),
        ([[1.0, 2.0], [3.0, None]], "1 empty values", 1),
        ([[1.0], [2.0], [3.0, 4.0]], "differ in length: 1 and 2", 2),
        ([[[1.0], [2.0]], [[1.0], [2.0, 3.0]]], "differ in length: 1 and 2", 1),
    ],
)
def test_refusals_name_the_row(values, message: str, row: int) -> None:
    with pytest.raises(ColumnError, match=message) as caught:
        to_numpy(column(values))
    assert caught.value.rows.tolist() == [row]
