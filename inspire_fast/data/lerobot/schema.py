"""Parquet schemas of LeRobot's tables: column types and the metadata that `datasets` and pandas read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa

from inspire_fast.data.lerobot.meta import Feature
from inspire_fast.data.lerobot.stats import STAT_NAMES

# Columns that every dataset has; the writer fills them.
INDEX_FEATURES = {
    "timestamp": Feature(name="timestamp", dtype="float32", shape=(1,)),
    "frame_index": Feature(name="frame_index", dtype="int64", shape=(1,)),
    "episode_index": Feature(name="episode_index", dtype="int64", shape=(1,)),
    "index": Feature(name="index", dtype="int64", shape=(1,)),
    "task_index": Feature(name="task_index", dtype="int64", shape=(1,)),
}


def data_schema(
    features: Mapping[str, Feature], *, legacy: bool = False, types: Mapping[str, pa.DataType] | None = None
) -> pa.Schema:
    """Schema of the data files without videos, with the feature description of `datasets` (`legacy`: before its v4).

    `types` are those of annotations: column -> its type in the dataset that it comes from.
    """
    stored = {name: feature for name, feature in features.items() if feature.dtype != "video"}
    given = types or {}
    list_type = "Sequence" if legacy else "List"
    description = {
        name: _described(given[name], list_type) if name in given else _datasets_feature(feature, list_type)
        for name, feature in stored.items()
    }
    return pa.schema(
        [pa.field(name, given[name] if name in given else arrow_type(feature)) for name, feature in stored.items()],
        metadata={"huggingface": json.dumps({"info": {"features": description}})},
    )


def arrow_type(feature: Feature) -> pa.DataType:
    """Parquet type of one column.

    Raises:
        ValueError: the format has no plain storage for the dtype or rank.
    """
    if feature.dtype == "image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if feature.dtype == "string":
        return pa.string()
    if len(feature.shape) > 1:
        raise ValueError(f"Feature {feature.name!r}: arrays of shape {feature.shape} are not stored; flatten them.")
    try:
        scalar = pa.from_numpy_dtype(np.dtype(feature.dtype))
    except (TypeError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"Feature {feature.name!r}: unknown dtype {feature.dtype!r}.") from error
    if is_scalar(feature):
        return scalar
    return pa.list_(scalar, math.prod(feature.shape) or -1)  # arrow has no lists of the fixed length 0


def is_scalar(feature: Feature) -> bool:
    """Whether the column stores one plain value per row."""
    return math.prod(feature.shape) == 1 and len(feature.shape) < 2


def _datasets_feature(feature: Feature, list_type: str) -> dict[str, Any]:
    if feature.dtype == "image":
        return {"_type": "Image"}
    value = {"dtype": feature.dtype, "_type": "Value"}
    if is_scalar(feature):
        return value
    return {"feature": value, "length": math.prod(feature.shape) or -1, "_type": list_type}


def _described(kind: pa.DataType, list_type: str) -> Any:
    """The description of any arrow type of lists, records and plain values."""
    if pa.types.is_struct(kind):
        return {field.name: _described(field.type, list_type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _described(kind.value_type, list_type)
        # Before `datasets` 4, a Sequence of records was a record of lists; a plain list was what List is now.
        return [inner] if list_type == "Sequence" else {"feature": inner, "_type": list_type}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def episodes_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Schema of `meta/episodes/chunk-*/file-*.parquet`: bounds, files, then each feature's statistics."""
    integers = ("length", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index")
    fields = [
        ("episode_index", pa.int64()),
        ("tasks", pa.list_(pa.string())),
        *((name, pa.int64()) for name in integers),
    ]
    for name, feature in features.items():
        if feature.dtype == "video":
            fields += [(f"videos/{name}/{part}", pa.int64()) for part in ("chunk_index", "file_index")]
            fields += [(f"videos/{name}/{part}", pa.float64()) for part in ("from_timestamp", "to_timestamp")]
    for name, feature in features.items():
        if feature.visual or feature.numeric:
            fields += [(f"stats/{name}/{stat}", _stat_type(feature, stat)) for stat in STAT_NAMES]
    fields += [("meta/episodes/chunk_index", pa.int64()), ("meta/episodes/file_index", pa.int64())]
    return pa.schema(fields)


def _stat_type(feature: Feature, stat: str) -> pa.DataType:
    if stat == "count":
        return pa.list_(pa.int64())
    if feature.visual:
        return pa.list_(pa.list_(pa.list_(pa.float64())))
    whole = np.issubdtype(np.dtype(feature.dtype), np.integer) or feature.dtype == "bool"
    return pa.list_(pa.int64() if whole and stat in ("min", "max") else pa.float64())


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """`meta/tasks.parquet`: a pandas frame with the column `task_index`, indexed by the task's text."""
    column = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    index = {"name": None, "field_name": "__index_level_0__", "pandas_type": "unicode", "numpy_type": "object"}
    labels = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [{**labels, "metadata": {"encoding": "UTF-8"}}],
        "columns": [{**column, "metadata": None}, {**index, "metadata": None}],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    schema = pa.schema(
        [("task_index", pa.int64()), ("__index_level_0__", pa.large_string())], metadata={"pandas": json.dumps(pandas)}
    )
    return pa.table({"task_index": list(range(len(tasks))), "__index_level_0__": list(tasks)}, schema=schema)
