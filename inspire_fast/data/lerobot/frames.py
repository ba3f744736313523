"""Camera frames of a LeRobot dataset, decoded from its parquet files or videos and cached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import io
from pathlib import Path
import threading
from typing import Any

import numpy as np
from PIL import Image, ImageOps
import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.frame_cache import ByteLRU
from inspire_fast.data.lerobot.meta import Episode, Feature, Meta
from inspire_fast.data.lerobot.parquet import parquet_errors
from inspire_fast.data.video import VideoReader

# Assumed size of an open container with its decoder.
_READER_BYTES = 8 << 20
_BINARY = (pa.types.is_binary, pa.types.is_large_binary)
_TEXT = (pa.types.is_string, pa.types.is_large_string)


@dataclass(frozen=True, kw_only=True)
class _EncodedImages:
    """One image column of one parquet row group. Equal images share one entry of `pool` (-1: stored in a file)."""

    codes: np.ndarray
    pool: pa.Array
    paths: pa.Array


class FrameStore:
    """Decoded frames by feature, episode and frame, within a memory budget. Threads may share it."""

    def __init__(self, meta: Meta, *, cache_bytes: int) -> None:
        self._meta = meta
        # Row groups of encoded images are used far more often than single frames, so the oldest frames go first.
        self._cache = ByteLRU(cache_bytes)
        self._groups: dict[Path, tuple[pq.FileMetaData, np.ndarray]] = {}  # footer, first row of each row group
        self._unrepeated: set[str] = set()  # cameras whose images were all different so far

    def image(self, name: str, episode: Episode, frame: int, time_s: float) -> np.ndarray:
        """One frame, read-only: uint8 `[h, w, 3]` RGB, or a depth map `[h, w, 1]` (see `LeRobotDataset.row`).

        Args:
            name: an image or video feature.
            episode: the episode.
            frame: frame number in the episode.
            time_s: the frame's timestamp in the episode; videos are looked up by it.

        Raises:
            DatasetError: the file is missing, damaged or too short; names file, episode and frame.
        """
        try:
            if self._meta.features[name].dtype == "video":
                return self._from_video(name, episode, frame, time_s)
            return self._from_parquet(name, episode, frame)
        except DatasetError as error:
            raise DatasetError(f"Episode {episode.index}, frame {frame}, {name!r}: {error}") from error

    def _from_video(self, name: str, episode: Episode, frame: int, time_s: float) -> np.ndarray:
        place = episode.videos[name]
        # By frame, not by time: where episodes begin between the ticks of the frame rate, times may round to each
        # other.
        key = ("frame", name, episode.index, frame)
        image = self._cache.get(key)
        if image is None:
            # A reader per thread: a shared one would make the loader's threads wait and seek for each other.
            owner = ("reader", place.path, threading.get_ident())
            reader = self._cache.get(owner) or VideoReader(place.path)
            self._cache.put(owner, reader, _READER_BYTES)
            image = _frozen(self._decode(reader, self._meta.features[name], place.from_s + time_s))
            if place.to_s is not None and place.from_s + time_s > place.to_s + 0.5 / self._meta.fps:
                raise DatasetError(
                    f"its time is {time_s:.3f} s, but the episode's part of {place.path} lasts "
                    f"{place.to_s - place.from_s:.3f} s (`from_timestamp` .. `to_timestamp`); what follows there is "
                    "another episode's. Times count from the episode's beginning."
                )
            self._cache.put(key, image, image.nbytes)
        return image

    def _decode(self, reader: VideoReader, feature: Feature, time_s: float) -> np.ndarray:
        tolerance_s = 0.5 / self._meta.fps
        if not feature.depth_map:
            return reader.frame(time_s, tolerance_s)
        if reader.pixel_format != "gray12le":  # a depth map that was encoded as a plain grey image
            return reader.frame(time_s, tolerance_s, "gray")[..., None]
        return depth_m(reader.frame(time_s, tolerance_s, "gray12le"), feature.info)[..., None]

    def _from_parquet(self, name: str, episode: Episode, frame: int) -> np.ndarray:
        group, row = self._row_group(episode.data_path, episode.file_row + frame)
        images = self._images(name, episode.data_path, group)
        code = int(images.codes[row])
        place = images.paths[row].as_py()
        if code < 0 and not place:
            raise DatasetError(f"{episode.data_path} holds no image there, neither bytes nor a path.")
        stored = self._meta.root / (place or "")
        key = ("image", name, episode.data_path, group, code) if code >= 0 else ("image", stored)
        image = self._cache.get(key)
        if image is None:
            data = io.BytesIO(images.pool[code].as_buffer()) if code >= 0 else stored
            try:
                with Image.open(data) as opened:
                    ImageOps.exif_transpose(opened, in_place=True)  # as `datasets`, LeRobot's reader, turns it
                    if self._meta.features[name].depth_map:
                        image = _frozen(np.array(opened)[..., None])
                    elif opened.mode[0] in "IF":  # as colour, all of it would be cut to white
                        raise OSError(
                            f"its pixels have more than 8 bits (Pillow's mode {opened.mode}); declare it in "
                            "meta/info.json as a depth map (`is_depth_map`), or store colours of 8 bits"
                        )
                    else:
                        image = _frozen(np.array(opened if opened.mode == "RGB" else opened.convert("RGB")))
            except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError on a damaged PNG
                where = episode.data_path if code >= 0 else stored
                raise DatasetError(f"the image in {where} cannot be decoded: {error}") from error
            self._cache.put(key, image, image.nbytes)
        return image

    def _row_group(self, path: Path, row: int) -> tuple[int, int]:
        """The row group of a file's row, and the row's place in it."""
        if path not in self._groups:
            with parquet_errors(path):
                footer = pq.read_metadata(path)
            sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
            self._groups[path] = footer, np.cumsum([0, *sizes])
        starts = self._groups[path][1]
        if row >= starts[-1]:
            raise DatasetError(f"{path} ends {row - starts[-1] + 1} rows too early; the file is incomplete.")
        group = int(np.searchsorted(starts, row, side="right")) - 1
        return group, row - int(starts[group])

    def _images(self, name: str, path: Path, group: int) -> _EncodedImages:
        key = ("row group", name, path, group)
        images = self._cache.get(key)
        if images is None:
            footer = self._groups[path][0]
            with parquet_errors(path):
                leaf = _bytes_leaf(footer, name)
                # Read through a dictionary, repeated images are one object; without repeats, building the dictionary
                # costs as much as reading.
                repeats = name not in self._unrepeated and _has_dictionary(footer.row_group(group), leaf)
                file = pq.ParquetFile(path, metadata=footer, read_dictionary=[leaf] if repeats else None)
                # One thread: the loader's threads read other groups at the same time.
                column = file.read_row_group(group, columns=[name], use_threads=False)[name].combine_chunks()
            data, paths = _bytes_and_paths(column)
            if repeats:
                codes, pool = data.indices.fill_null(-1).to_numpy(zero_copy_only=False), data.dictionary
                if len(pool) == len(codes) > 1:
                    self._unrepeated.add(name)
            else:
                codes, pool = np.where(data.is_null().to_numpy(zero_copy_only=False), -1, np.arange(len(data))), data
            images = _EncodedImages(codes=codes, pool=pool, paths=paths)
            self._cache.put(key, images, column.nbytes)
        return images


def _bytes_leaf(footer: pq.FileMetaData, name: str) -> str:
    """Parquet's name of the column with a camera's encoded images.

    LeRobot stores a struct of `bytes` and `path`; plain bytes and plain paths are read, too.

    Raises:
        DatasetError: the file lacks the column, or the column holds something else.
    """
    schema = footer.schema.to_arrow_schema()
    if name not in schema.names:
        raise DatasetError(f"the file has no such column; it has {schema.names}.")
    kind = schema.field(name).type
    if pa.types.is_struct(kind) and {f.name for f in kind} & {"bytes", "path"}:
        return f"{name}.bytes"
    if any(is_kind(kind) for is_kind in (*_BINARY, *_TEXT)):
        return name if any(is_kind(kind) for is_kind in _BINARY) else ""
    raise DatasetError(
        f"the column is of type {kind}; images are encoded files (PNG, JPEG, ...): a struct of `bytes` and `path`, "
        "plain bytes, or paths below the dataset's folder."
    )


def _bytes_and_paths(column: pa.Array) -> tuple[Any, pa.Array]:
    """Encoded images and their paths; nulls for those that are not stored."""
    if pa.types.is_struct(column.type):
        parts = {f.name: column.field(f.name) for f in column.type}
    elif any(is_kind(column.type) for is_kind in _TEXT):
        parts = {"path": column}
    else:
        parts = {"bytes": column}
    absent = pa.nulls(len(column), pa.binary()), pa.nulls(len(column), pa.string())
    return parts.get("bytes", absent[0]), parts.get("path", absent[1])


def _has_dictionary(group: pq.RowGroupMetaData, leaf: str) -> bool:
    columns = (group.column(number) for number in range(group.num_columns))
    return next((column.has_dictionary_page for column in columns if column.path_in_schema == leaf), False)


def _frozen(image: np.ndarray) -> np.ndarray:
    image.flags.writeable = False
    return image


def declared_hw(feature: Feature) -> tuple[int, int] | None:
    """Height and width that `info.json` declares for a camera, whose shape is `(h, w, c)` or `(c, h, w)`."""
    if len(feature.shape) != 3:
        return None
    first, middle, last = feature.shape
    return (middle, last) if first in (1, 3, 4) and last not in (1, 3, 4) else (first, middle)


def require_declared_size(feature: Feature, image: np.ndarray) -> None:
    """Refuses a picture of another size than `info.json` declares: another camera's, or a turned one.

    Raises:
        DatasetError: names the camera and both sizes.
    """
    declared, stored = declared_hw(feature), image.shape[:2]
    if declared is not None and stored != declared:
        raise DatasetError(
            f"{feature.name!r} is {stored[0]} x {stored[1]}; meta/info.json declares {declared[0]} x {declared[1]} "
            "(h x w). Leave the episode out, or correct the declared shape."
        )


def depth_m(codes: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
    """LeRobot's 12-bit depth codes (0..4095) -> metres, float32; logarithmic unless the camera's `info` differs."""
    near, far, shift = (
        float(info.get(f"video.{key}", default))
        for key, default in (("depth_min", 0.01), ("depth_max", 10.0), ("shift", 3.5))
    )
    fraction = codes.astype(np.float32) / 4095
    if info.get("video.use_log", True):
        low, high = np.log(near + shift), np.log(far + shift)
        return np.clip(np.exp(low + fraction * (high - low)) - shift, near, far).astype(np.float32)
    return (near + fraction * (far - near)).astype(np.float32)
