"""Conversion of another format's episodes to a LeRobot dataset: the part that all converters share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from inspire_fast.core.files import write_json
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.files import Version
from inspire_fast.data.lerobot.writer import DatasetWriter, require_new_dataset
from inspire_fast.data.video import Codec

REPORT_FILE = "conversion.json"
RECORDINGS = "recordings"


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode in memory.

    Attributes:
        columns: column -> values, one per frame; cameras uint8 `[n, h, w, 3]`.
        task: the instruction.
        notes: its entry in the report, besides the name (JSON-able).
    """

    columns: Mapping[str, np.ndarray]
    task: str
    notes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An episode to be read.

    Attributes:
        name: in the source.
        read: reads it; raises `ValueError` if it is bad.
    """

    name: str
    read: Callable[[], Episode]


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Options of the `DatasetWriter`.

    Attributes:
        images: PNGs in parquet (exact) or mp4.
        codec: of videos.
        version: of LeRobot's format.
        overwrite: replace what is there.
        skip_bad_episodes: leave out and list episodes that cannot be read or written, instead of stopping.
    """

    images: Literal["image", "video"] = "image"
    codec: Codec = "av1"
    version: Version = "v3.0"
    overwrite: bool = False
    skip_bad_episodes: bool = False


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The outcome of a conversion.

    Attributes:
        root: the dataset.
        names: its episodes' names in the source, in order.
        frames: of all of them.
        skipped: name -> reason for leaving it out.
    """

    root: Path
    names: Sequence[str]
    frames: int
    skipped: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"{self.root}: {len(self.names)} episodes, {self.frames} frames"]
        return "\n".join([*lines, *(f"left out: {name}: {reason}" for name, reason in self.skipped.items())])


@dataclass(frozen=True, kw_only=True)
class Description:
    """Facts about a dataset that its episodes do not tell.

    Attributes:
        fps: frames per second.
        robot_type: free text kept with the dataset.
        names: column -> names of its elements, a list or an object; LeRobot's writers use both.
        annotation_types: column of annotations (the dtype `language`) -> its arrow type.
    """

    fps: float
    robot_type: str | None
    names: Mapping[str, Any] = field(default_factory=dict)
    annotation_types: Mapping[str, pa.DataType] = field(default_factory=dict)


def convert(
    episodes: Iterable[Pending],
    root: Path,
    description: Description,
    *,
    storage: Storage | None = None,
    done: Callable[[Path, Sequence[str]], None] | None = None,
) -> Conversion:
    """Writes the episodes one by one; the first readable one decides the columns.

    `conversion.json` in the dataset's folder lists which episode of the source became which, and those left out.

    Args:
        episodes: in the order wanted.
        root: the dataset's future folder.
        description: rate, robot and names.
        storage: options of the writer.
        done: called with the finished dataset and its episodes' names, e.g. to add labels.

    Raises:
        DatasetError: an episode is bad and none is to be skipped, or none is good; names the episode.
        FileExistsError: `root` is not empty.
    """
    storage = storage or Storage()
    require_new_dataset(root, overwrite=storage.overwrite)
    run = _Run(root, description, storage)
    try:
        for pending in tqdm(episodes, desc="episodes", unit="ep", disable=None):
            run.add(pending)
        run.close()
    except BaseException:
        run.discard()
        raise
    write_json(root / REPORT_FILE, {"episodes": run.notes, "skipped": run.skipped}, indent=1)
    names = [note["source"] for note in run.notes]
    if done is not None:
        done(root, names)
    return Conversion(root=root, names=names, frames=sum(note["frames"] for note in run.notes), skipped=run.skipped)


class _Run:
    """A conversion in progress: the writer, once an episode was readable, and the report so far."""

    def __init__(self, root: Path, description: Description, storage: Storage) -> None:
        self._root, self._description, self._storage = root, description, storage
        self._writer: DatasetWriter | None = None
        self.notes: list[dict[str, Any]] = []
        self.skipped: dict[str, str] = {}

    def add(self, pending: Pending) -> None:
        try:
            episode = pending.read()
            if self._writer is None:
                self._writer = self._open(episode.columns)
            self._writer.add_episode(episode.columns, episode.task)
        except FileExistsError:
            raise
        except ValueError as error:
            if not self._storage.skip_bad_episodes:
                raise DatasetError(f"{pending.name}: {error}") from error
            self.skipped[pending.name] = str(error)
            return
        length = len(next(iter(episode.columns.values())))
        self.notes.append({"episode": len(self.notes), "source": pending.name, "frames": length, **episode.notes})

    def close(self) -> None:
        if self._writer is None or not self.notes:
            raise DatasetError(f"No episode for {self._root}: {self.skipped or 'the source is empty'}.")
        self._writer.close()

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.discard()

    def _open(self, columns: Mapping[str, np.ndarray]) -> DatasetWriter:
        description, storage = self._description, self._storage
        return DatasetWriter(
            self._root,
            fps=description.fps,
            robot_type=description.robot_type,
            features={name: self._feature(name, values) for name, values in columns.items()},
            image_storage=storage.images,
            video_codec=storage.codec,
            version=storage.version,
            overwrite=storage.overwrite,
            annotation_types=description.annotation_types,
        )

    def _feature(self, name: str, values: np.ndarray) -> dict[str, Any]:
        if name in self._description.annotation_types:
            return {"dtype": "language", "shape": (1,)}
        return _feature(values, self._description.names.get(name))


def recording_path(root: Path, episode: int) -> Path:
    """File in a dataset's folder for the simulator's states of an episode."""
    return root / RECORDINGS / f"episode_{episode:06d}.npz"


def _feature(values: np.ndarray, names: Any) -> dict[str, Any]:
    if values.dtype == np.uint8 and values.ndim == 4:
        return {"dtype": "image", "shape": values.shape[1:]}
    dtype = "string" if values.dtype.kind in "OU" else values.dtype.name
    feature = {"dtype": dtype, "shape": values.shape[1:] or (1,)}
    return feature if names is None else {**feature, "names": names}
