"""Checks and conversions of an episode's columns before they are written to a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
import io
from typing import Any, Literal

import numpy as np
from PIL import Image
import pyarrow as pa

from inspire_fast.data.lerobot.meta import Feature
from inspire_fast.data.lerobot.schema import INDEX_FEATURES, arrow_type, is_scalar


def parse_features(
    features: Mapping[str, Mapping[str, Any]], image_storage: Literal["image", "video"]
) -> dict[str, Feature]:
    """LeRobot's feature dictionaries, checked; cameras get the dtype `image_storage`.

    Raises:
        ValueError: a name of a column that the writer adds, or an unknown key, dtype or shape.
    """
    parsed = {}
    for name, spec in features.items():
        if name in INDEX_FEATURES or "/" in name:
            raise ValueError(
                f"Feature {name!r}: the writer adds {list(INDEX_FEATURES)} itself, and '/' is not allowed."
            )
        if not {"dtype", "shape"} <= set(spec) <= {"dtype", "shape", "names"}:
            raise ValueError(f"Feature {name!r} needs `dtype` and `shape` (and may have `names`); got {sorted(spec)}.")
        feature = Feature(name=name, dtype=spec["dtype"], shape=tuple(spec["shape"]), names=spec.get("names"))
        if feature.visual:
            if len(feature.shape) != 3 or feature.shape[-1] != 3:
                raise ValueError(f"Camera {name!r} needs the shape (height, width, 3); got {feature.shape}.")
            names = feature.names or ["height", "width", "channel"]
            feature = Feature(name=name, dtype=image_storage, shape=feature.shape, names=names)
        if feature.dtype not in ("video", "language"):
            arrow_type(feature)  # raises on what cannot be stored
        parsed[name] = feature
    return parsed


def episode_length(columns: Mapping[str, Any], features: Mapping[str, Feature], episode: int) -> int:
    """Number of frames, the same for all features.

    Raises:
        ValueError: missing, unknown, empty or unequally long columns; names the episode.
    """
    if set(columns) != set(features):
        missing, extra = sorted(set(features) - set(columns)), sorted(set(columns) - set(features))
        raise ValueError(f"Episode {episode}: missing columns {missing}, unknown columns {extra}.")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"Episode {episode}: columns must be equally long and not empty; got {lengths}.")
    return next(iter(lengths.values()))


def checked_values(values: Any, feature: Feature, episode: int) -> np.ndarray:
    """A numeric or text column as it is stored: `[n]` for the shape (1,), else `[n, k]`.

    Raises:
        ValueError: wrong shape, a dtype that would lose information, NaN or infinity.
    """
    where = f"Episode {episode}, column {feature.name!r}"
    if not feature.numeric:
        return np.array([*values, None], dtype=object)[:-1]  # lists of equal length stay single values
    array, dtype = np.asarray(values), np.dtype(feature.dtype)
    shape = () if feature.shape == (1,) and array.ndim == 1 else feature.shape
    if array.shape[1:] != shape:
        raise ValueError(f"{where}: expected {feature.shape} per frame; got {array.shape[1:]}.")
    if not np.can_cast(array.dtype, dtype, casting="same_kind"):
        raise ValueError(f"{where}: {array.dtype} cannot be stored as {dtype} without changing kind; convert it first.")
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        frame = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ValueError(f"{where}: NaN or infinity at frame {frame}.")
    array = array.astype(dtype)
    return array.reshape(len(array)) if is_scalar(feature) else array


def deduplicate(images: Sequence[np.ndarray], feature: Feature, episode: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The index of each frame's image among the distinct ones, and the distinct images.

    Raises:
        ValueError: an image whose shape or type is not the feature's.
    """
    seen: dict[bytes, int] = {}
    codes, unique = np.empty(len(images), np.int64), []
    for frame, image in enumerate(images):
        if image.dtype != np.uint8 or image.shape != feature.shape:
            raise ValueError(
                f"Episode {episode}, frame {frame}, camera {feature.name!r}: expected uint8 {feature.shape}; "
                f"got {image.dtype} {image.shape}."
            )
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        codes[frame] = seen.setdefault(digest, len(seen))
        if codes[frame] == len(unique):
            unique.append(image)
    return codes, unique


def image_column(codes: np.ndarray, unique: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Rows of an image column: PNG bytes (equal ones are one object) and the file name that LeRobot gives them."""
    encoded = []
    for image in unique:
        buffer = io.BytesIO()
        # Level 1: three times as quick as the default and hardly larger on camera images.
        Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
        encoded.append(buffer.getvalue())
    return [{"bytes": encoded[code], "path": f"frame-{frame:06d}.png"} for frame, code in enumerate(codes)]


def to_arrow(values: Any, kind: pa.DataType) -> pa.Array:
    """A checked column as the arrow array of its stored type."""
    if isinstance(values, np.ndarray) and values.ndim > 1 and not values.shape[1]:
        return pa.array([[]] * len(values), kind)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), kind.list_size)
    return pa.array(values, kind)
