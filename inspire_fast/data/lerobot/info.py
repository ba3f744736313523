"""`meta/info.json` of a LeRobot dataset, with checks of every field that the reader uses."""

from __future__ import annotations

from collections.abc import Mapping
import json
import math
from pathlib import Path
from typing import Any

from inspire_fast.core.files import read_text
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError

SUPPORTED_VERSIONS = ("v2.0", "v2.1", "v3.0")


def read_info(root: Path) -> dict[str, Any]:
    """Reads and checks `meta/info.json`.

    Raises:
        DatasetNotFoundError: the file is missing.
        DatasetError: it is damaged or of an unknown version, or a field is missing or invalid; names the field.
    """
    path = root / "meta" / "info.json"
    if not path.is_file():
        found = (
            "the folder does not exist" if not root.is_dir() else f"it holds {sorted(p.name for p in root.iterdir())}"
        )
        raise DatasetNotFoundError(
            f"No LeRobot dataset at {root}: looked for meta/info.json, but {found}. "
            "Pass the folder that contains `meta`, `data` and, with videos, `videos`."
        )
    try:
        info = json.loads(read_text(path))
    except ValueError as error:  # no JSON, or no text
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(info, dict):
        raise DatasetError(f"{path} must hold a JSON object; got {info!r:.80}.")
    version = info.get("codebase_version")
    if version not in SUPPORTED_VERSIONS:
        raise DatasetError(
            f"{path}: codebase_version is {version!r}; this reader supports {', '.join(SUPPORTED_VERSIONS)}. "
            "Convert older datasets with LeRobot's own scripts."
        )
    missing = [key for key in ("fps", "features", "data_path", "total_episodes", "total_frames") if key not in info]
    if missing:
        raise DatasetError(f"{path} lacks the fields {missing}.")
    _check_numbers(path, info)
    _check_features(path, info["features"])
    _check_paths(path, info)
    return info


def _check_numbers(path: Path, info: Mapping[str, Any]) -> None:
    fps = info["fps"]
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < math.inf:
        raise DatasetError(f"{path}: `fps` must be a number above 0; got {fps!r}.")
    for key in ("total_episodes", "total_frames"):
        if type(info[key]) is not int or info[key] < 0:
            raise DatasetError(f"{path}: `{key}` must be a whole number; got {info[key]!r}.")


def _check_features(path: Path, features: Any) -> None:
    if not isinstance(features, dict):
        raise DatasetError(f"{path}: `features` must be an object, column -> type; got {features!r:.80}.")
    for name, spec in features.items():
        if not isinstance(spec, dict) or not isinstance(spec.get("dtype"), str):
            raise DatasetError(f"{path}: `features.{name}` must be an object with a `dtype`; got {spec!r:.80}.")
        shape = spec.get("shape")
        if shape is not None and not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
            raise DatasetError(f"{path}: `features.{name}.shape` must be a list of whole numbers; got {shape!r:.80}.")
        for key in ("info", "video_info"):
            if not isinstance(spec.get(key), dict | None):
                raise DatasetError(f"{path}: `features.{name}.{key}` must be an object; got {spec[key]!r:.80}.")


def _check_paths(path: Path, info: Mapping[str, Any]) -> None:
    videos = any(spec["dtype"] == "video" for spec in info["features"].values())
    shared = info["codebase_version"] == "v3.0"
    place = {"chunk_index": 0, "file_index": 0} if shared else {"episode_chunk": 0, "episode_index": 0}
    paths = {"data_path": place, **({"video_path": {**place, "video_key": 0}} if videos else {})}
    for key, values in paths.items():
        try:
            str.format(info.get(key), **values)  # pyright: ignore[reportArgumentType]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise DatasetError(
                f"{path}: `{key}` must be a path with the placeholders {sorted(values)}; got {info.get(key)!r}."
            ) from error
    chunked = any("{episode_chunk" in str(info.get(key)) for key in ("data_path", "video_path"))
    if not shared and chunked and (type(info.get("chunks_size")) is not int or info["chunks_size"] < 1):
        raise DatasetError(
            f"{path}: `chunks_size`, the episodes per folder, must be a whole number from 1 on (LeRobot's is 1000); "
            f"got {info.get('chunks_size', 'no such field')!r}."
        )
