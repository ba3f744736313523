"""Spatial facts of a dataset in `labels/facts.parquet`: one row per episode, frame and target.

The file stores geometry, never answers: a new question or threshold needs no relabelling. It names its dataset, and
labels of another dataset are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.core.errors import OutOfRangeError
from inspire_fast.core.files import open_atomic
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.lerobot.meta import Meta, load_meta
from inspire_fast.data.lerobot.parquet import read_schema, read_table

FACTS_PATH = "labels/facts.parquet"
_METADATA_KEY = b"inspire_fast"
_SCHEMA = pa.schema(
    [
        ("episode", pa.int64()),
        ("frame", pa.int64()),
        ("target", pa.int32()),  # place in the instruction's order; -1: the frame is labelled and has no target
        ("phrase", pa.string()),
        ("offset_m", pa.list_(pa.float32(), 3)),
        ("grasped", pa.bool_()),
        ("point_px", pa.list_(pa.float32(), 2)),
        ("rotations", pa.map_(pa.string(), pa.list_(pa.float32(), 9))),
        ("gripper_px", pa.list_(pa.float32(), 2)),  # of the frame: the same on each of its targets
    ]
)
_LATER = ("gripper_px", "rotations")  # columns that older files lack, the youngest first
_WRITTEN_ROWS = 1 << 15  # rows that are held as Python objects at a time


@dataclass(frozen=True, kw_only=True)
class DatasetIdentity:
    """Identity of a dataset: its size, and a hash of what its frames are.

    Hashed are the episodes' lengths and tasks, the frame rate, and each column's shape and, unless it holds pictures,
    type. Anything else in `info.json` may change (LeRobot's tools rewrite it), and so may the storage of pictures.
    """

    total_episodes: int
    total_frames: int
    sha256: str

    @classmethod
    def of(cls, meta: Meta) -> DatasetIdentity:
        """The identity of a dataset as it is on disk now."""
        columns = {
            name: ("picture" if column["dtype"] in ("image", "video") else column["dtype"], column.get("shape"))
            for name, column in meta.info["features"].items()
        }
        return cls._hashed(meta, {"fps": float(meta.info["fps"]), "columns": columns})

    @classmethod
    def of_earlier_versions(cls, meta: Meta) -> DatasetIdentity:
        """The identity that earlier versions of this package wrote, which hashed all of `info.json`."""
        return cls._hashed(meta, meta.info)

    @classmethod
    def _hashed(cls, meta: Meta, what: Mapping[str, Any]) -> DatasetIdentity:
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
        digest.update(json.dumps([(episode.length, episode.tasks) for episode in meta.episodes]).encode())
        return cls(total_episodes=len(meta.episodes), total_frames=meta.total_frames, sha256=digest.hexdigest())

    def is_of(self, meta: Meta) -> bool:
        """Whether this is the identity of the dataset."""
        return self in (self.of(meta), self.of_earlier_versions(meta))

    def __str__(self) -> str:
        return f"{self.total_episodes} episodes, {self.total_frames} frames, {self.sha256[:12]}"


def write_facts(
    root: Path,
    episodes: Mapping[int, Sequence[SceneFacts | None]],
    *,
    robot: str,
    frame_description: str,
    producer: str = "",
) -> Path:
    """Writes the facts of a dataset atomically, replacing earlier ones. The same facts give the same bytes.

    Args:
        root: the dataset.
        episodes: episode -> facts per frame (None: not labelled). Episodes may be left out.
        robot: registry name of the embodiment.
        frame_description: the frame of `offset_m` in words, e.g. "world axes, +x front, +y right, +z up".
        producer: of the facts, e.g. "hindsight"; empty: unknown.

    Raises:
        DatasetError: the dataset lacks an episode, or its length differs.
    """
    meta = load_meta(root)
    header = {"robot": robot, "frame": frame_description, "dataset": asdict(DatasetIdentity.of(meta))}
    if producer:
        header["producer"] = producer
    schema = _SCHEMA.with_metadata({_METADATA_KEY: json.dumps(header, sort_keys=True)})
    path = root / FACTS_PATH
    rows = _all_rows(meta, episodes)
    with open_atomic(path) as stream, pq.ParquetWriter(stream, schema) as file:
        batch = list(itertools.islice(rows, _WRITTEN_ROWS))
        file.write_table(pa.Table.from_pylist(batch, schema=schema))  # even without rows
        while batch := list(itertools.islice(rows, _WRITTEN_ROWS)):
            file.write_table(pa.Table.from_pylist(batch, schema=schema))
    return path


def _require_episode(meta: Meta, number: int, frames: Sequence[SceneFacts | None]) -> None:
    if not 0 <= number < len(meta.episodes):
        raise DatasetError(f"Facts of episode {number}: {meta.root} has the episodes 0..{len(meta.episodes) - 1}.")
    if len(frames) != meta.episodes[number].length:
        raise DatasetError(
            f"Facts of episode {number} cover {len(frames)} frames; the episode in {meta.root} has "
            f"{meta.episodes[number].length}."
        )


def stored_producer(root: Path) -> str | None:
    """Producer of the facts of the dataset at `root`; empty if the file does not name one, None without facts.

    Raises:
        DatasetError: damaged; names the file.
    """
    path = root / FACTS_PATH
    if not path.is_file():
        return None
    try:
        metadata = pq.read_schema(path).metadata or {}
        return str(json.loads(metadata.get(_METADATA_KEY, b"{}")).get("producer", ""))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as facts: {error}") from error


def _all_rows(meta: Meta, episodes: Mapping[int, Sequence[SceneFacts | None]]) -> Iterator[dict[str, Any]]:
    for number in sorted(episodes):
        frames = episodes[number]  # once: they may be read from a file
        _require_episode(meta, number, frames)
        for frame, scene in enumerate(frames):
            if scene is not None:
                yield from _rows(number, frame, scene)


def _rows(episode: int, frame: int, scene: SceneFacts) -> list[dict[str, Any]]:
    gripper = None if scene.gripper_px is None else list(scene.gripper_px)
    place = {"episode": episode, "frame": frame, "gripper_px": gripper}
    if not scene.targets:
        return [{**place, "target": -1}]
    return [
        {
            **place,
            "target": number,
            "phrase": target.phrase,
            "offset_m": target.offset_m.tolist(),
            "grasped": bool(target.grasped),
            "point_px": None if target.point_px is None else list(target.point_px),
            "rotations": [(frame, np.ravel(matrix).tolist()) for frame, matrix in sorted(target.rotations.items())],
        }
        for number, target in enumerate(scene.targets)
    ]


class FactsTable:
    """Facts by episode and frame, read with `load`.

    Attributes:
        robot: registry name of the facts' embodiment.
        frame_description: the frame of `offset_m` in words.
    """

    def __init__(self, table: pa.Table, meta: Meta, *, robot: str, frame_description: str) -> None:
        self.robot, self.frame_description = robot, frame_description
        self._episodes = meta.episodes
        starts = np.array([episode.start for episode in meta.episodes])
        rows = starts[table["episode"].to_numpy()] + table["frame"].to_numpy()
        steps = np.diff(rows), np.diff(table["target"].to_numpy())
        if not ((steps[0] > 0) | ((steps[0] == 0) & (steps[1] > 0))).all():  # not written by `write_facts`
            order = np.lexsort((table["target"].to_numpy(), rows))
            table, rows = table.take(pa.array(order)), rows[order]
        self._rows = rows
        self._frames_labelled = int(np.count_nonzero(np.diff(rows))) + (len(rows) > 0)
        self._targets = table["target"].to_numpy()
        self._phrases = table["phrase"].combine_chunks()
        self._offsets = np.array(table["offset_m"].combine_chunks().fill_null([0.0] * 3).flatten()).reshape(-1, 3)
        self._grasped = table["grasped"].combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)
        self._points = table["point_px"]
        self._grippers = table["gripper_px"] if "gripper_px" in table.column_names else None
        stored = table["rotations"] if "rotations" in table.column_names else None
        self._rotations = stored if stored is not None and any(len(c.keys) for c in stored.chunks) else None

    @classmethod
    def load(cls, root: Path, folder: Path | None = None) -> FactsTable:
        """Reads the facts of the dataset at `root`.

        Args:
            root: the dataset.
            folder: of `facts.parquet`, if it is not the dataset's `labels` (which may be read-only).

        Raises:
            DatasetNotFoundError: the dataset has no facts.
            DatasetError: they are damaged or belong to another dataset; names both.
        """
        path = root / FACTS_PATH if folder is None else folder / Path(FACTS_PATH).name
        meta = load_meta(root)
        if not path.is_file():
            raise DatasetNotFoundError(
                f"{root} has no labels: looked for {path}. Label the dataset first (`uv run "
                "scripts/label_dataset.py`), or train without questions (`--dialogue.script pi0_fast`)."
            )
        schema = read_schema(path)
        if _METADATA_KEY not in (schema.metadata or {}) or not any(map(schema.equals, _known_schemas())):
            raise DatasetError(f"{path} is not a facts file of this package; its columns are {schema.names}.")
        header = json.loads(schema.metadata[_METADATA_KEY])
        if not (labelled := DatasetIdentity(**header["dataset"])).is_of(meta):
            raise DatasetError(
                f"{path} labels another dataset ({labelled}) than the one at {root} ({DatasetIdentity.of(meta)}). "
                "Label this dataset again."
            )
        table = read_table(path, dictionaries=["phrase"])
        return cls(table, meta, robot=header["robot"], frame_description=header["frame"])

    def __len__(self) -> int:
        """Number of labelled frames."""
        return self._frames_labelled

    def rows_with_targets(self) -> np.ndarray:
        """Dataset rows whose facts name a target, ascending, once per target."""
        return self._rows[self._targets >= 0]

    def facts(self, episode: int, frame: int) -> SceneFacts | None:
        """Facts of one frame; None if it is not labelled.

        Raises:
            IndexError: no such episode or frame.
        """
        if not 0 <= episode < len(self._episodes) or not 0 <= frame < self._episodes[episode].length:
            raise OutOfRangeError(f"No episode {episode} with a frame {frame} in this dataset.")
        row = self._episodes[episode].start + frame
        first, stop = np.searchsorted(self._rows, [row, row + 1])
        if first == stop:
            return None
        targets = tuple(self._target(i) for i in range(first, stop) if self._targets[i] >= 0)
        return SceneFacts(targets=targets, gripper_px=_point(self._grippers, first))

    def _target(self, i: int) -> TargetFacts:
        return TargetFacts(
            phrase=self._phrases[i].as_py(),
            offset_m=self._offsets[i],
            grasped=bool(self._grasped[i]),
            point_px=_point(self._points, i),
            rotations=self._frames(i),
        )

    def _frames(self, i: int) -> dict[str, np.ndarray]:
        if self._rotations is None:
            return {}
        stored = self._rotations[i].as_py() or []
        return {frame: np.array(matrix, np.float32).reshape(3, 3) for frame, matrix in stored}


def _point(points: pa.ChunkedArray | None, i: int) -> tuple[float, float] | None:
    point = None if points is None else points[i].as_py()
    return None if point is None else (point[0], point[1])


def _known_schemas() -> list[pa.Schema]:
    """The schema, and those of older files."""
    schemas = [_SCHEMA]
    for name in _LATER:
        schemas.append(schemas[-1].remove(schemas[-1].get_field_index(name)))
    return schemas
