"""Writes facts next to a dataset, episode by episode: resumable, idempotent, atomic, with a report of what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
import dataclasses
from dataclasses import dataclass
import hashlib
import json
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from tqdm import tqdm

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.facts import FACTS_PATH, DatasetIdentity, FactsTable, write_facts
from inspire_fast.data.lerobot import LeRobotDataset
from inspire_fast.data.lerobot_meta import Episode
from inspire_fast.labeling.producers import Producer
from inspire_fast.robots import Robot

REPORT_FILE = "labels/report.json"
_PARTIAL = "labels/.partial"


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What a run gave.

    Attributes:
        facts_path: the file written.
        episodes: labelled in this run, those taken over from an interrupted one included.
        frames: of these, and how many have at least one target.
        skipped: episode -> why it was left out.
        refused: reason -> number of phrases.
    """

    facts_path: Path
    episodes: int
    frames: int
    frames_labelled: int
    skipped: Mapping[int, str]
    refused: Mapping[str, int]

    def __str__(self) -> str:
        lines = [
            f"{self.facts_path}: {self.frames_labelled} of {self.frames} frames in {self.episodes} episodes are labelled."
        ]
        lines += [f"refused, {count} times: {reason}" for reason, count in self.refused.items()]
        lines += [f"left out: episode {number}: {reason}" for number, reason in self.skipped.items()]
        return "\n".join(lines)


def label_dataset(
    dataset: LeRobotDataset,
    producer: Producer,
    *,
    robot: Robot,
    episodes: Sequence[int] | None = None,
    skip_bad_episodes: bool = False,
    progress: bool = True,
) -> LabelReport:
    """Labels a dataset, or some of its episodes; labels of the others stay.

    Finished episodes are kept aside until all are done, so that an interrupted run goes on where it stopped. The same
    options on the same dataset write the same file.

    Args:
        dataset: is not changed; `labels/facts.parquet` and `labels/report.json` are written beside its data.
        producer: see `producers`.
        robot: the embodiment; its axes are the facts' frame.
        episodes: numbers (default: all).
        skip_bad_episodes: leave out episodes that cannot be labelled, and list them, instead of stopping.
        progress: show a bar.

    Raises:
        DatasetError: an episode cannot be labelled (names file and episode), or labels of another dataset or robot are there.
    """
    chosen = [
        dataset.episode(number) for number in (episodes if episodes is not None else range(len(dataset.episodes)))
    ]
    kept = _others(dataset, {episode.index for episode in chosen}, robot, whole=episodes is None)
    label, partial = producer.open(dataset, robot), _partial(dataset, producer, robot)
    results: dict[int, dict[str, Any]] = {}
    skipped: dict[int, str] = {}
    for episode in tqdm(chosen, desc="labels", unit="ep", disable=None if progress else True):
        path = partial / f"episode_{episode.index:06d}.json"
        try:
            results[episode.index] = _load(path) if path.is_file() else _labelled(label, episode, dataset, path)
        except DatasetError as error:
            if not skip_bad_episodes:
                raise
            skipped[episode.index] = str(error)
    facts = {number: [_scene(scene) for scene in result["facts"]] for number, result in results.items()}
    path = write_facts(dataset.root, {**kept, **facts}, robot=robot.name, frame_description=frame_description(robot))
    report = LabelReport(
        facts_path=path,
        episodes=len(facts),
        frames=sum(map(len, facts.values())),
        frames_labelled=sum(scene is not None and bool(scene.targets) for frames in facts.values() for scene in frames),
        skipped=skipped,
        refused=dict(
            Counter(why for r in results.values() for why in r["report"].get("refused", {}).values()).most_common()
        ),
    )
    _write_report(dataset, producer, report, {number: result["report"] for number, result in results.items()})
    shutil.rmtree(partial)
    return report


def frame_description(robot: Robot) -> str:
    """The frame of `offset_m`, in words."""
    axes = zip("xyz", (robot.axes.x, robot.axes.y, robot.axes.z), strict=True)
    return "world axes: " + ", ".join(f"+{axis} {positive}, -{axis} {negative}" for axis, (negative, positive) in axes)


def _others(
    dataset: LeRobotDataset, chosen: set[int], robot: Robot, *, whole: bool
) -> dict[int, list[SceneFacts | None]]:
    """Labels that are there of episodes that this run does not label."""
    if whole:
        return {}
    try:
        table = FactsTable.load(dataset.root)
    except DatasetNotFoundError:
        return {}
    if table.robot != robot.name:
        raise DatasetError(
            f"{dataset.root / FACTS_PATH} is about robot {table.robot!r}, not {robot.name!r}; label it whole."
        )
    others = [episode for episode in dataset.episodes if episode.index not in chosen]
    return {e.index: [table.facts(e.index, frame) for frame in range(e.length)] for e in others}


def _partial(dataset: LeRobotDataset, producer: Producer, robot: Robot) -> Path:
    """Where finished episodes of these options on this dataset wait for the others."""
    identity = DatasetIdentity.of(dataset.meta)
    digest = hashlib.sha256(f"2 {producer!r} {robot.name} {identity.sha256}".encode())
    for value in vars(producer).values():
        if isinstance(value, Path) and value.is_file():  # an edited annotation file is another source
            digest.update(value.read_bytes())
    key = digest.hexdigest()[:16]
    path = dataset.root / _PARTIAL / key
    path.mkdir(parents=True, exist_ok=True)
    return path


def _labelled(label: Any, episode: Episode, dataset: LeRobotDataset, path: Path) -> dict[str, Any]:
    """Labels one episode and keeps the result; the file appears whole or not at all."""
    try:
        frames, report = label(episode)
    except ValueError as error:  # DatasetError and what the grammar refuses
        raise DatasetError(f"{dataset.root}, episode {episode.index}: {error}") from error
    facts = [None if scene is None else _stored(scene) for scene in frames]
    result = {"facts": facts, "report": report}
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    waiting.write_text(json.dumps(result), encoding="utf-8")
    waiting.replace(path)
    return result


def _load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


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


def _scene(stored: dict[str, Any] | None) -> SceneFacts | None:
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


def _write_report(
    dataset: LeRobotDataset, producer: Producer, report: LabelReport, episodes: Mapping[int, dict[str, Any]]
) -> None:
    summary = {**dataclasses.asdict(report), "facts_path": FACTS_PATH, "producer": repr(producer)}
    path = dataset.root / REPORT_FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**summary, "by_episode": episodes}, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
