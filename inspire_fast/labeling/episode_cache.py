"""Finished episodes on disk: where an interrupted run goes on, and where facts wait that would not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import write_json
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.meta import Episode


@dataclass(frozen=True, kw_only=True)
class KeptEpisode:
    """One labelled episode, without its facts: those lie in `path`.

    Attributes:
        path: written by `keep`.
        frames: how many there are, and how many of them have at least one target.
        report: what the producer says about it.
        rows: digest of the dataset's rows that it was labelled from.
    """

    path: Path
    frames: int
    frames_labelled: int
    report: Mapping[str, Any]
    rows: str

    def facts(self) -> list[SceneFacts | None]:
        """Reads them back."""
        return [_scene(scene) for scene in json.loads(self.path.read_text(encoding="utf-8"))["facts"]]


@dataclass(frozen=True, kw_only=True)
class Labels(Mapping[int, Sequence[SceneFacts | None]]):
    """Facts per episode, each read when it is asked for: kept ones, and those of a table for episodes that stay as they are.

    Attributes:
        kept: episode -> what this run labelled.
        others: episodes that stay.
        table: their facts; None where there are none.
    """

    kept: Mapping[int, KeptEpisode]
    others: Mapping[int, Episode]
    table: FactsTable | None = None

    def __getitem__(self, number: int) -> Sequence[SceneFacts | None]:
        if number in self.kept:
            return self.kept[number].facts()
        if self.table is None:
            raise KeyError(number)
        return [self.table.facts(number, frame) for frame in range(self.others[number].length)]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted({*self.kept, *self.others}))

    def __len__(self) -> int:
        return len({*self.kept, *self.others})


def keep(
    path: Path, frames: Sequence[SceneFacts | None], report: Mapping[str, Any], *, inputs: str, rows: str
) -> KeptEpisode:
    """Writes an episode's facts; the file appears whole or not at all."""
    facts = [None if scene is None else _stored(scene) for scene in frames]
    stored = {"facts": facts, "report": report, "inputs": inputs, "rows": rows}
    write_json(path, stored, indent=None)
    return _kept(path, stored)


def load(path: Path, *, inputs: str, rows: str) -> KeptEpisode | None:
    """What an interrupted run kept, unless the episode's inputs or the dataset's own rows have changed since."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    return _kept(path, stored) if (stored["inputs"], stored["rows"]) == (inputs, rows) else None


def digest(files: Sequence[Path]) -> str:
    """Of an episode's own files: names, sizes and contents; what is missing is for the producer to say."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        total.update(f"{file.name} {len(content)} ".encode() + content)
    return total.hexdigest()


def _kept(path: Path, stored: Mapping[str, Any]) -> KeptEpisode:
    facts = stored["facts"]
    labelled = sum(scene is not None and bool(scene["targets"]) for scene in facts)
    # Through JSON, as a resumed run reads it: both must report the same.
    report = json.loads(json.dumps(stored["report"]))
    return KeptEpisode(path=path, frames=len(facts), frames_labelled=labelled, report=report, rows=stored["rows"])


def _stored(scene: SceneFacts) -> dict[str, Any]:
    return {"gripper_px": scene.gripper_px, "targets": [_fields(target) for target in scene.targets]}


def _fields(target: TargetFacts) -> dict[str, Any]:
    return {
        "phrase": target.phrase,
        "offset_m": [float(v) for v in target.offset_m],  # float32 survives the way through JSON
        "grasped": bool(target.grasped),
        "point_px": target.point_px,
        "rotations": {frame: np.asarray(matrix, float).tolist() for frame, matrix in target.rotations.items()},
    }


def _scene(stored: Mapping[str, Any] | None) -> SceneFacts | None:
    if stored is None:
        return None
    gripper = stored["gripper_px"]
    return SceneFacts(
        gripper_px=None if gripper is None else (gripper[0], gripper[1]),
        targets=tuple(
            TargetFacts(
                phrase=t["phrase"],
                offset_m=np.array(t["offset_m"], np.float32),
                grasped=t["grasped"],
                point_px=None if t["point_px"] is None else (t["point_px"][0], t["point_px"][1]),
                rotations={frame: np.array(matrix, np.float32) for frame, matrix in t["rotations"].items()},
            )
            for t in stored["targets"]
        ),
    )
