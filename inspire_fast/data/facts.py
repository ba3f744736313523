"""Spatial facts of a dataset in `labels/facts.parquet`: one row per episode, frame and target.

The file stores geometry, never answers: a new question or threshold needs no relabelling. It names its dataset and
samples its rows, and labels of another dataset or of other rows are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import copy
from dataclasses import asdict, dataclass
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.core.console import command_line
from inspire_fast.core.errors import OutOfRangeError
from inspire_fast.core.files import open_atomic
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.fact_rows import SCHEMA, FactRows
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Meta, load_meta
from inspire_fast.data.lerobot.parquet import read_schema, read_table
from inspire_fast.data.lerobot.row_samples import Samples, sample_rows
from inspire_fast.data.picture_facts import PointMap, moved, turned
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.spec import ImageOrientation

FACTS_PATH = "labels/facts.parquet"
NO_ROBOT = ""
"""The robot of labels of single pictures, whose places are in the pictures as they are."""
_METADATA_KEY = b"inspire_fast"
_SCHEMA = SCHEMA.insert(0, pa.field("episode", pa.int64()))
# Columns that older files lack.
_LATER = frozenset({"rotations", "gripper_px", "box_px", "trace_px", "camera", "quality"})
_WRITTEN_ROWS = 1 << 15  # that make a row group; the last episode's are added whole


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
    episodes: Mapping[int, Sequence[SceneFacts | None] | FactRows],
    *,
    robot: str,
    frame_description: str,
    producer: str = "",
) -> Path:
    """Writes the facts of a dataset atomically, replacing earlier ones. The same facts give the same bytes.

    Args:
        root: the dataset.
        episodes: episode -> facts per frame (None: not labelled), or their rows. Each is looked up once, in order, and
            not kept. Episodes may be left out.
        robot: registry name of the embodiment, or `NO_ROBOT`.
        frame_description: the frame of `offset_m` in words, e.g. "world axes, +x front, +y right, +z up".
        producer: of the facts, e.g. "hindsight"; empty: unknown.

    Raises:
        DatasetError: the dataset lacks an episode, or its length differs.
    """
    meta = load_meta(root)
    header = {"robot": robot, "frame": frame_description, "dataset": asdict(DatasetIdentity.of(meta))}
    known = [number for number in sorted(episodes) if 0 <= number < len(meta.episodes)]
    header["rows"] = sample_rows(LeRobotDataset(root), known)
    if producer:
        header["producer"] = producer
    schema = _SCHEMA.with_metadata({_METADATA_KEY: json.dumps(header, sort_keys=True)})
    path = root / FACTS_PATH
    with open_atomic(path) as stream, pq.ParquetWriter(stream, schema) as file:
        for group in _row_groups(meta, episodes):
            file.write_table(group.replace_schema_metadata(schema.metadata))
    return path


def _row_groups(meta: Meta, episodes: Mapping[int, Sequence[SceneFacts | None] | FactRows]) -> Iterator[pa.Table]:
    """Rows of all episodes in order, several episodes at a time; one group even without rows."""
    waiting = [_SCHEMA.empty_table()]
    for number in sorted(episodes):
        given = episodes[number]
        rows = given if isinstance(given, FactRows) else FactRows.of(given)
        _require_episode(meta, number, rows.frames)
        waiting.append(rows.table.add_column(0, "episode", pa.array(np.full(len(rows.table), number))))
        if sum(map(len, waiting)) >= _WRITTEN_ROWS:
            yield pa.concat_tables(waiting)
            waiting = [_SCHEMA.empty_table()]
    yield pa.concat_tables(waiting)


def _require_episode(meta: Meta, number: int, frames: int) -> None:
    if not 0 <= number < len(meta.episodes):
        raise DatasetError(f"Facts of episode {number}: {meta.root} has the episodes 0..{len(meta.episodes) - 1}.")
    if frames != meta.episodes[number].length:
        raise DatasetError(
            f"Facts of episode {number} cover {frames} frames; the episode in {meta.root} has "
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


class FactsTable:
    """Facts by episode and frame, read with `load`.

    Attributes:
        robot: registry name of the facts' embodiment.
        frame_description: the frame of `offset_m` in words.
        made_from: samples of the rows that were labelled, see `lerobot.row_samples`; none in older files.
    """

    def __init__(
        self, path: Path, meta: Meta, *, robot: str, frame_description: str, made_from: Samples | None = None
    ) -> None:
        self.robot, self.frame_description, self.made_from = robot, frame_description, made_from or {}
        self._episodes, self._path = meta.episodes, path
        self._move: PointMap | None = None
        # One column after another: all together take twice the memory of what is kept.
        rows = np.array([episode.start for episode in meta.episodes])[_column(path, "episode").to_numpy()]
        rows += _column(path, "frame").to_numpy()
        targets, order = _column(path, "target").to_numpy(), None
        if not _ascend(rows, targets):  # not written by `write_facts`
            order = np.lexsort((targets, rows))
            rows, targets = rows[order], targets[order]
        self._rows, self._targets = rows, targets
        self._frames_labelled = int(np.count_nonzero(np.diff(rows))) + (len(rows) > 0)
        self._columns: dict[str, pa.Array] = {}
        for name in read_schema(path).names[3:]:
            column = _column(path, name)
            if not _is_empty(column):
                whole = column.combine_chunks()
                self._columns[name] = whole if order is None else whole.take(pa.array(order))

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
                f"{root} has no labels: looked for {path}. Label the dataset first "
                f"(`{command_line('label_dataset')}`), or train without questions (`--dialogue.script pi0_fast`)."
            )
        schema = read_schema(path)
        if _METADATA_KEY not in (schema.metadata or {}) or not _is_known(schema):
            raise DatasetError(f"{path} is not a facts file of this package; its columns are {schema.names}.")
        header = json.loads(schema.metadata[_METADATA_KEY])
        if not (labelled := DatasetIdentity(**header["dataset"])).is_of(meta):
            raise DatasetError(
                f"{path} labels another dataset ({labelled}) than the one at {root} ({DatasetIdentity.of(meta)}). "
                "Label this dataset again."
            )
        return cls(path, meta, robot=header["robot"], frame_description=header["frame"], made_from=header.get("rows"))

    def __len__(self) -> int:
        """Number of labelled frames."""
        return self._frames_labelled

    @property
    def cameras(self) -> frozenset[str]:
        """Canonical cameras that the labels name; labels without a name are of the robot's first."""
        named = self._columns.get("camera")
        return frozenset() if named is None else frozenset(named.unique().drop_null().to_pylist())

    @property
    def in_pictures(self) -> bool:
        """Whether any label is a place in a picture."""
        return not {"point_px", "gripper_px", "box_px", "trace_px"}.isdisjoint(self._columns)

    def in_orientation(self, wanted: ImageOrientation) -> FactsTable:
        """The same facts, with places in pictures of that orientation; they are stored in their robot's.

        Raises:
            DatasetError: there are places in pictures, and this version does not know the labels' robot.
        """
        if not self.in_pictures or self.robot == NO_ROBOT:
            return self
        if self.robot not in ROBOTS:
            raise DatasetError(
                f"{self._path} has places in pictures of robot {self.robot!r}, which this version does not know; their "
                f"orientation is unknown. It knows {sorted(ROBOTS)}. Label the dataset again."
            )
        if (given := ROBOTS[self.robot].image_orientation) == wanted:
            return self
        other = copy.copy(self)
        other._move = turned(given, wanted)  # noqa: SLF001  (a copy of ours)
        return other

    def rows_with_targets(self) -> np.ndarray:
        """Dataset rows whose facts name a target, ascending, once per target."""
        return self._rows[self._targets >= 0]

    def facts(self, episode: int, frame: int) -> SceneFacts | None:
        """Facts of one frame; None if it is not labelled.

        Raises:
            IndexError: no such episode or frame.
            DatasetError: facts that are none, such as a point outside of the picture; names file, episode and frame.
        """
        if not 0 <= episode < len(self._episodes) or not 0 <= frame < self._episodes[episode].length:
            raise OutOfRangeError(f"No episode {episode} with a frame {frame} in this dataset.")
        row = self._episodes[episode].start + frame
        first, stop = np.searchsorted(self._rows, [row, row + 1])
        if first == stop:
            return None
        trace = self._value("trace_px", first)
        try:
            scene = SceneFacts(
                targets=tuple(self._target(i) for i in range(first, stop) if self._targets[i] >= 0),
                gripper_px=_point(self._value("gripper_px", first)),
                trace_px=None if trace is None else np.array(trace, np.float32).reshape(-1, 2),
                camera=self._value("camera", first),
                quality=self._value("quality", first),
            )
        except ValueError as error:
            raise DatasetError(f"{self._path}, episode {episode}, frame {frame}: {error}") from error
        return scene if self._move is None else moved(scene, self._move)

    def episode(self, number: int) -> FactRows:
        """Facts of one episode, as rows."""
        episode = self._episodes[number]
        first, stop = np.searchsorted(self._rows, [episode.start, episode.stop])
        targets = self._targets[first:stop]
        columns = [pa.array(self._rows[first:stop] - episode.start), pa.array(targets)]
        for field in list(SCHEMA)[2:]:
            kept = self._columns.get(field.name)
            columns.append(_empty(field, targets) if kept is None else kept[first:stop])
        table = pa.table(
            [column.cast(field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
        )
        return FactRows(frames=episode.length, table=table)

    def _target(self, i: int) -> TargetFacts:
        stored, offset, box = (self._value(name, i) for name in ("rotations", "offset_m", "box_px"))
        return TargetFacts(
            phrase=self._value("phrase", i),
            offset_m=None if offset is None else np.array(offset, np.float32),
            grasped=bool(self._value("grasped", i)),
            point_px=_point(self._value("point_px", i)),
            box_px=None if box is None else (box[0], box[1], box[2], box[3]),
            rotations={frame: np.array(matrix, np.float32).reshape(3, 3) for frame, matrix in stored or ()},
        )

    def _value(self, name: str, i: int) -> Any:
        return self._columns[name][i].as_py() if name in self._columns else None


def _column(path: Path, name: str) -> pa.ChunkedArray:
    texts = [text for text in ("phrase", "camera", "quality") if text == name]
    return read_table(path, [name], dictionaries=texts)[name]


def _is_empty(column: pa.ChunkedArray) -> bool:
    """Whether a column says nothing; it is not kept."""
    if pa.types.is_map(column.type):
        return not any(len(chunk.keys) for chunk in column.chunks)
    return column.null_count == len(column)


def _empty(field: pa.Field, targets: np.ndarray) -> pa.Array:
    """The values of such a column for targets `[n]`."""
    nothing = [] if pa.types.is_map(field.type) else None
    return pa.array([None if target < 0 else nothing for target in targets.tolist()], field.type)


def _ascend(rows: np.ndarray, targets: np.ndarray) -> bool:
    """Whether facts are in the order of dataset rows `[n]`, then of targets `[n]`."""
    steps = np.diff(rows)
    return bool(((steps > 0) | ((steps == 0) & (np.diff(targets) > 0))).all())


def _point(point: list[float] | None) -> tuple[float, float] | None:
    return None if point is None else (point[0], point[1])


def _is_known(schema: pa.Schema) -> bool:
    """Whether a file of this schema can be read: it is ours, or lacks later columns."""
    return schema.equals(pa.schema([f for f in _SCHEMA if f.name in schema.names or f.name not in _LATER]))
