"""Episodes of another format into a LeRobot dataset: the part that every converter shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
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
        notes: what the report says about it beside its name (JSON-able).
    """

    columns: Mapping[str, np.ndarray]
    task: str
    notes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An episode that is yet to be read: its name in the source, and what reads it (raising `ValueError` when it is bad)."""

    name: str
    read: Callable[[], Episode]


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How the dataset is written; see `DatasetWriter`.

    Attributes:
        images: PNGs in parquet (exact) or mp4.
        codec: of videos.
        version: of LeRobot's format.
        overwrite: replace what is there.
        skip_bad_episodes: leave out episodes that cannot be read or written, and list them, instead of stopping.
    """

    images: Literal["image", "video"] = "image"
    codec: Codec = "av1"
    version: Version = "v3.0"
    overwrite: bool = False
    skip_bad_episodes: bool = False


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What became of the source.

    Attributes:
        root: the dataset.
        names: its episodes' names in the source, in order.
        frames: of all of them.
        skipped: name -> why it was left out.
    """

    root: Path
    names: Sequence[str]
    frames: int
    skipped: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"{self.root}: {len(self.names)} episodes, {self.frames} frames"]
        return "\n".join([*lines, *(f"left out: {name}: {reason}" for name, reason in self.skipped.items())])


def convert(
    episodes: Iterable[Pending],
    root: Path,
    *,
    fps: int,
    robot_type: str | None,
    names: Mapping[str, Any] | None = None,
    storage: Storage | None = None,
    done: Callable[[Path, Sequence[str]], None] | None = None,
) -> Conversion:
    """Writes the episodes one by one; the first that can be read says which columns there are.

    `conversion.json` beside the data says which episode of the source became which, and which were left out.

    Args:
        episodes: in the order wanted.
        root: the folder to become the dataset.
        fps: frames per second.
        robot_type: free text kept with the dataset.
        names: column -> names of its elements, a list or an object, as LeRobot's writers have both.
        storage: see `Storage`.
        done: called with the finished dataset and its episodes' names (to write labels beside it, say).

    Raises:
        DatasetError: an episode is bad and none is to be skipped, or none is good; names the episode.
        FileExistsError: `root` is not empty.
    """
    storage = storage or Storage()
    require_new_dataset(root, overwrite=storage.overwrite)
    kept: list[str] = []
    notes: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    writer: DatasetWriter | None = None
    frames = 0
    try:
        for pending in tqdm(episodes, desc="episodes", unit="ep", disable=None):
            try:
                episode = pending.read()
                if writer is None:
                    writer = _open(root, episode.columns, fps, robot_type, names or {}, storage)
                writer.add_episode(episode.columns, episode.task)
            except FileExistsError:
                raise
            except ValueError as error:
                if not storage.skip_bad_episodes:
                    raise DatasetError(f"{pending.name}: {error}") from error
                skipped[pending.name] = str(error)
                continue
            length = len(next(iter(episode.columns.values())))
            kept.append(pending.name)
            notes.append({"episode": len(notes), "source": pending.name, "frames": length, **episode.notes})
            frames += length
        if writer is None or not kept:
            raise DatasetError(f"No episode for {root}: {skipped or 'the source is empty'}.")
        writer.close()
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    report = {"episodes": notes, "skipped": skipped}
    write_json(root / REPORT_FILE, report, indent=1)
    if done is not None:
        done(root, kept)
    return Conversion(root=root, names=kept, frames=frames, skipped=skipped)


def recording_path(root: Path, episode: int) -> Path:
    """Where the simulator's states of an episode are kept beside the data."""
    return root / RECORDINGS / f"episode_{episode:06d}.npz"


def _open(
    root: Path,
    columns: Mapping[str, np.ndarray],
    fps: int,
    robot_type: str | None,
    names: Mapping[str, Any],
    storage: Storage,
) -> DatasetWriter:
    return DatasetWriter(
        root,
        fps=fps,
        robot_type=robot_type,
        features={name: _feature(values, names.get(name)) for name, values in columns.items()},
        image_storage=storage.images,
        video_codec=storage.codec,
        version=storage.version,
        overwrite=storage.overwrite,
    )


def _feature(values: np.ndarray, names: Any) -> dict[str, Any]:
    if values.dtype == np.uint8 and values.ndim == 4:
        return {"dtype": "image", "shape": values.shape[1:]}
    dtype = "string" if values.dtype.kind in "OU" else values.dtype.name
    feature = {"dtype": dtype, "shape": values.shape[1:] or (1,)}
    return feature if names is None else {**feature, "names": names}
