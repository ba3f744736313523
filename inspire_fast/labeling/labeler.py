"""Writes facts next to a dataset, episode by episode: resumable, idempotent, atomic, with a report of what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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

from inspire_fast import __version__
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.facts import FACTS_PATH, DatasetIdentity, FactsTable, stored_producer, write_facts
from inspire_fast.data.lerobot import LeRobotDataset
from inspire_fast.data.lerobot_meta import Episode
from inspire_fast.labeling.gripper import SIGNALS
from inspire_fast.labeling.producers import Producer
from inspire_fast.robots import ROBOTS, Robot

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
    overwrite: bool = False,
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
        overwrite: replace labels that another producer wrote, e.g. the simulator's truth by hindsight's.
        progress: show a bar.

    Raises:
        DatasetError: an episode cannot be labelled (names file and episode), or labels of another dataset, robot or
            producer are there.
        ValueError: `episodes` is empty.
    """
    if episodes is not None and not len(episodes):
        raise ValueError("`episodes` is empty: there is nothing to label. Leave it out to label all of them.")
    written_by = _written_by(dataset, producer, whole=episodes is None, overwrite=overwrite)
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
            inputs = _digest(producer.inputs(dataset, episode))
            results[episode.index] = _load(path, inputs) or _labelled(label, episode, dataset, path, inputs)
        except DatasetError as error:
            if not skip_bad_episodes:
                raise
            skipped[episode.index] = str(error)
    facts = {number: [_scene(scene) for scene in result["facts"]] for number, result in results.items()}
    path = write_facts(
        dataset.root,
        {**kept, **facts},
        robot=robot.name,
        frame_description=frame_description(robot),
        producer=written_by,
    )
    report = LabelReport(
        facts_path=path,
        episodes=len(facts),
        frames=sum(map(len, facts.values())),
        frames_labelled=sum(scene is not None and bool(scene.targets) for frames in facts.values() for scene in frames),
        skipped=skipped,
        refused=_refused(result["report"] for result in results.values()),
    )
    earlier = None if episodes is None else dataset.root / REPORT_FILE
    _write_report(
        dataset, producer, report, {number: result["report"] for number, result in results.items()}, earlier=earlier
    )
    shutil.rmtree(dataset.root / _PARTIAL)  # of other options too: what they began is of older labels
    return report


def _name(producer: Producer) -> str:
    return type(producer).__name__.lower()


def _written_by(dataset: LeRobotDataset, producer: Producer, *, whole: bool, overwrite: bool) -> str:
    """The producers to be named in the facts' header, once labels that are not this one's are known to be replaceable."""
    stored, ours = stored_producer(dataset.root), _name(producer)
    if stored in (None, ours):
        return ours
    if not overwrite:
        raise DatasetError(
            f"{dataset.root / FACTS_PATH} holds labels of {stored or 'an unnamed producer'}, not of {ours}. To replace them, "
            "pass `overwrite` (`--overwrite`)."
        )
    return ours if whole else ", ".join(sorted({*(stored or "unnamed").split(", "), ours}))


def _refused(reports: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    return dict(Counter(why for report in reports for why in report.get("refused", {}).values()).most_common())


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
    known = ROBOTS[table.robot] if table.robot in ROBOTS else None  # noqa: SIM401  (our registry has no `get`)
    if known is None or (known.state_names, known.axes) != (robot.state_names, robot.axes):
        raise DatasetError(
            f"{dataset.root / FACTS_PATH} is about robot {table.robot!r}, not {robot.name!r}; label it whole."
        )
    others = [episode for episode in dataset.episodes if episode.index not in chosen]
    return {e.index: [table.facts(e.index, frame) for frame in range(e.length)] for e in others}


def _partial(dataset: LeRobotDataset, producer: Producer, robot: Robot) -> Path:
    """Where finished episodes of these options on this dataset wait for the others."""
    identity = DatasetIdentity.of(dataset.meta)
    digest = hashlib.sha256(
        f"3 {__version__} {producer!r} {robot.name} {SIGNALS.get(robot.name)} {identity.sha256}".encode()
    )
    for value in vars(producer).values():
        if isinstance(value, Path) and value.is_file():  # an edited annotation file is another source
            digest.update(value.read_bytes())
    key = digest.hexdigest()[:16]
    path = dataset.root / _PARTIAL / key
    path.mkdir(parents=True, exist_ok=True)
    return path


def _digest(files: Sequence[Path]) -> str:
    """Of an episode's own inputs: names, sizes and contents; what is missing is for the producer to say."""
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        digest.update(f"{file.name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _labelled(label: Any, episode: Episode, dataset: LeRobotDataset, path: Path, inputs: str) -> dict[str, Any]:
    """Labels one episode and keeps the result; the file appears whole or not at all."""
    try:
        frames, report = label(episode)
    except ValueError as error:  # DatasetError and what the grammar refuses
        raise DatasetError(f"{dataset.root}, episode {episode.index}: {error}") from error
    facts = [None if scene is None else _stored(scene) for scene in frames]
    result = {"facts": facts, "report": report, "inputs": inputs}
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    waiting.write_text(json.dumps(result), encoding="utf-8")
    waiting.replace(path)
    return result


def _load(path: Path, inputs: str) -> dict[str, Any] | None:
    """What an interrupted run kept, unless the episode's inputs have changed since."""
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    return result if result["inputs"] == inputs else None


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
    dataset: LeRobotDataset,
    producer: Producer,
    report: LabelReport,
    episodes: Mapping[int, dict[str, Any]],
    *,
    earlier: Path | None,
) -> None:
    """Writes `labels/report.json`; `earlier` is the report whose other episodes stay."""
    summary = {**dataclasses.asdict(report), "facts_path": FACTS_PATH, "producer": repr(producer)}
    by_episode = {str(number): {**entry, "producer": _name(producer)} for number, entry in episodes.items()}
    skipped = {str(number): reason for number, reason in report.skipped.items()}
    if earlier is not None and earlier.is_file():
        before = json.loads(earlier.read_text(encoding="utf-8"))
        others = {number: entry for number, entry in before["by_episode"].items() if number not in skipped}
        skipped |= {n: why for n, why in before["skipped"].items() if n not in by_episode and n not in skipped}
        by_episode = {**others, **by_episode}
    by_episode = {number: by_episode[number] for number in sorted(by_episode, key=int)}
    summary |= {"skipped": skipped, "refused": _refused(by_episode.values())}
    path = dataset.root / REPORT_FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**summary, "by_episode": by_episode}, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
