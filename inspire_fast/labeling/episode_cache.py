"""Cache of labelled episodes on disk, so that an interrupted run resumes and facts need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import write_text
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.meta import Episode


@dataclass(frozen=True, kw_only=True)
class CachedEpisode:
    """One labelled episode; its facts are in a file.

    Attributes:
        path: written by `save`.
        frames: number of frames.
        frames_labelled: number of frames with at least one target.
        report: the producer's entry of the report.
        rows: digest of the dataset's rows that it was labelled from.
    """

    path: Path
    frames: int
    frames_labelled: int
    report: Mapping[str, Any]
    rows: str

    def facts(self) -> list[SceneFacts | None]:
        """The facts per frame, read from the file."""
        return [_scene(scene) for scene in json.loads(self.path.read_text(encoding="utf-8"))["facts"]]


@dataclass(frozen=True, kw_only=True)
class Labels(Mapping[int, Sequence[SceneFacts | None]]):
    """Facts per episode, each read on request: those of the cache, and those of a table for unchanged episodes.

    Attributes:
        cached: episode -> result of this run.
        others: episodes that keep their labels.
        table: their facts; None if there are none.
    """

    cached: Mapping[int, CachedEpisode]
    others: Mapping[int, Episode]
    table: FactsTable | None = None

    def __getitem__(self, number: int) -> Sequence[SceneFacts | None]:
        if number in self.cached:
            return self.cached[number].facts()
        if self.table is None:
            raise KeyError(number)
        return [self.table.facts(number, frame) for frame in range(self.others[number].length)]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted({*self.cached, *self.others}))

    def __len__(self) -> int:
        return len({*self.cached, *self.others})


def save(
    path: Path, frames: Sequence[SceneFacts | None], report: Mapping[str, Any], *, inputs: str, rows: str
) -> CachedEpisode:
    """Writes an episode's facts and report, atomically.

    Args:
        path: of the file.
        frames: facts per frame.
        report: the producer's entry of the report.
        inputs: digest of the episode's own input files.
        rows: digest of the dataset's rows.
    """
    facts = [
        scene and {"gripper_px": scene.gripper_px, "targets": [vars(target) for target in scene.targets]}
        for scene in frames
    ]
    stored = {"facts": facts, "report": report, "inputs": inputs, "rows": rows}
    # Arrays and numpy scalars; float32 survives the way through JSON.
    text = json.dumps(stored, default=lambda value: value.tolist())
    write_text(path, text)
    return _cached(path, json.loads(text))


def load(path: Path, *, inputs: str, rows: str) -> CachedEpisode | None:
    """The result of an interrupted run; None if there is none, or if inputs or rows have changed since."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    return _cached(path, stored) if (stored["inputs"], stored["rows"]) == (inputs, rows) else None


def digest(files: Sequence[Path]) -> str:
    """Digest of names, sizes and contents of an episode's files; the producer reports missing ones."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        total.update(f"{file.name} {len(content)} ".encode() + content)
    return total.hexdigest()


def _cached(path: Path, stored: Mapping[str, Any]) -> CachedEpisode:
    facts = stored["facts"]
    labelled = sum(scene is not None and bool(scene["targets"]) for scene in facts)
    return CachedEpisode(
        path=path, frames=len(facts), frames_labelled=labelled, report=stored["report"], rows=stored["rows"]
    )


def _scene(stored: Mapping[str, Any] | None) -> SceneFacts | None:
    if stored is None:
        return None
    targets = []
    for fields in stored["targets"]:
        rotations = {frame: np.array(matrix, np.float32) for frame, matrix in fields["rotations"].items()}
        offset_m = np.array(fields["offset_m"], np.float32)
        point_px = fields["point_px"] and tuple(fields["point_px"])
        targets.append(TargetFacts(**{**fields, "offset_m": offset_m, "point_px": point_px, "rotations": rotations}))
    return SceneFacts(gripper_px=stored["gripper_px"] and tuple(stored["gripper_px"]), targets=tuple(targets))
