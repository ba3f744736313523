"""Camera frames of a LeRobot dataset: from the bytes in its parquet files or out of its videos, each decoded once."""

from __future__ import annotations

from dataclasses import dataclass
import io
from pathlib import Path
import threading

import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.data.cache import ByteLRU
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot_meta import Episode, Meta
from inspire_fast.data.parquet import parquet_errors
from inspire_fast.data.video import VideoReader

# What an open container with its decoder is counted as.
_READER_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class _EncodedImages:
    """One image column of one parquet row group. Equal images share one entry of `pool` (-1: stored in a file)."""

    codes: np.ndarray
    pool: pa.Array
    paths: pa.Array


class FrameStore:
    """Decoded frames by feature, episode and frame, within a budget of memory. Safe to share between threads."""

    def __init__(self, meta: Meta, *, cache_bytes: int) -> None:
        self._meta = meta
        # Row groups of encoded pictures are used far more often than single frames, so the oldest frames go first.
        self._cache = ByteLRU(cache_bytes)
        self._footers: dict[Path, pq.FileMetaData] = {}

    def image(self, name: str, episode: Episode, frame: int, time_s: float) -> np.ndarray:
        """One frame, uint8 `[h, w, 3]`, RGB, read-only.

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
                return self._from_video(name, episode, time_s)
            return self._from_parquet(name, episode, frame)
        except DatasetError as error:
            raise DatasetError(f"Episode {episode.index}, frame {frame}, {name!r}: {error}") from error

    def _from_video(self, name: str, episode: Episode, time_s: float) -> np.ndarray:
        place = episode.videos[name]
        time_s += place.from_s
        key = ("frame", place.path, round(time_s * self._meta.fps))
        image = self._cache.get(key)
        if image is None:
            # A reader per thread: a shared one would make the loader's threads wait and seek for each other.
            owner = ("reader", place.path, threading.get_ident())
            reader = self._cache.get(owner) or VideoReader(place.path)
            self._cache.put(owner, reader, _READER_BYTES)
            image = _frozen(reader.frame(time_s, tolerance_s=0.5 / self._meta.fps))
            self._cache.put(key, image, image.nbytes)
        return image

    def _from_parquet(self, name: str, episode: Episode, frame: int) -> np.ndarray:
        group, row = self._row_group(episode.data_path, episode.file_row + frame)
        images = self._images(name, episode.data_path, group)
        code = int(images.codes[row])
        stored = self._meta.root / (images.paths[row].as_py() or "")
        key = ("image", name, episode.data_path, group, code) if code >= 0 else ("image", stored)
        image = self._cache.get(key)
        if image is None:
            data = io.BytesIO(images.pool[code].as_buffer()) if code >= 0 else stored
            try:
                with Image.open(data) as opened:
                    image = _frozen(np.array(opened.convert("RGB")))
            except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError on a damaged PNG
                where = episode.data_path if code >= 0 else stored
                raise DatasetError(f"the image in {where} cannot be decoded: {error}") from error
            self._cache.put(key, image, image.nbytes)
        return image

    def _row_group(self, path: Path, row: int) -> tuple[int, int]:
        """Row group that holds a file's row, and the row's place in it."""
        with parquet_errors(path):
            footer = self._footers.get(path) or self._footers.setdefault(path, pq.read_metadata(path))
        for group in range(footer.num_row_groups):
            size = footer.row_group(group).num_rows
            if row < size:
                return group, row
            row -= size
        raise DatasetError(f"{path} ends {row + 1} rows too early; the file is incomplete.")

    def _images(self, name: str, path: Path, group: int) -> _EncodedImages:
        key = ("row group", name, path, group)
        images = self._cache.get(key)
        if images is None:
            with parquet_errors(path):
                file = pq.ParquetFile(path, metadata=self._footers[path], read_dictionary=[f"{name}.bytes"])
                column = file.read_row_group(group, columns=[name])[name].combine_chunks()
            data = column.field("bytes")
            images = _EncodedImages(
                codes=data.indices.fill_null(-1).to_numpy(zero_copy_only=False),
                pool=data.dictionary,
                paths=column.field("path"),
            )
            self._cache.put(key, images, column.nbytes)
        return images


def _frozen(image: np.ndarray) -> np.ndarray:
    image.flags.writeable = False
    return image
