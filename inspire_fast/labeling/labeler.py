"""Writes facts next to a dataset, episode by episode: resumable, idempotent, atomic, with a report of what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import shutil
from typing import Any

from tqdm import tqdm

from inspire_fast import __version__
from inspire_fast.core.files import write_json
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.facts import FACTS_PATH, DatasetIdentity, FactsTable, stored_producer, write_facts
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.labeling.episode_cache import KeptEpisode, Labels, digest, keep, load
from inspire_fast.labeling.producer import Labeler, Producer
from inspire_fast.labeling.row_digests import RowDigests
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

    Finished episodes wait on disk until all are done: an interrupted run goes on where it stopped, and in memory there
    are the facts of one episode, one data file's columns, and the reports. An episode that was kept is taken over only
    where the dataset's own rows and the producer's inputs are still the same. The same options on the same dataset write
    the same file.

    Args:
        dataset: is not changed; `labels/facts.parquet` and `labels/report.json` are written beside its data.
        producer: see `producer`.
        robot: the embodiment; its axes are the facts' frame.
        episodes: numbers (default: all).
        skip_bad_episodes: leave out episodes that cannot be labelled, and list them, instead of stopping.
        overwrite: replace labels that another producer wrote, e.g. the simulator's truth by hindsight's.
        progress: show a bar.

    Raises:
        DatasetError: an episode cannot be labelled (names file and episode), or labels of another dataset, robot or
            producer are there, or of episodes that are not labelled now and have changed since.
        ValueError: `episodes` is empty.
    """
    if episodes is not None and not len(episodes):
        raise ValueError("`episodes` is empty: there is nothing to label. Leave it out to label all of them.")
    written_by = _written_by(dataset, producer, whole=episodes is None, overwrite=overwrite)
    chosen = [
        dataset.episode(number) for number in (episodes if episodes is not None else range(len(dataset.episodes)))
    ]
    others, table = _others(dataset, {episode.index for episode in chosen}, robot, whole=episodes is None)
    chosen.sort(key=_place)  # each data file is read once
    bar = tqdm(chosen, desc="labels", unit="ep", disable=None if progress else True)
    results, skipped = _label_each(bar, dataset, producer, robot, skip_bad_episodes=skip_bad_episodes)
    path = write_facts(
        dataset.root,
        Labels(kept=results, others=others, table=table),
        robot=robot.name,
        frame_description=frame_description(robot),
        producer=written_by,
    )
    report = LabelReport(
        facts_path=path,
        episodes=len(results),
        frames=sum(result.frames for result in results.values()),
        frames_labelled=sum(result.frames_labelled for result in results.values()),
        skipped=dict(sorted(skipped.items())),
        refused=_refused(results[number].report for number in sorted(results)),
    )
    _write_report(dataset, producer, report, results, whole=episodes is None)
    shutil.rmtree(dataset.root / _PARTIAL)  # of other options too: what they began is of older labels
    return report


def _label_each(
    episodes: Iterable[Episode], dataset: LeRobotDataset, producer: Producer, robot: Robot, *, skip_bad_episodes: bool
) -> tuple[dict[int, KeptEpisode], dict[int, str]]:
    """What was labelled or is still valid of an interrupted run, and what was left out and why."""
    label, partial, rows = producer.open(dataset, robot), _partial(dataset, producer, robot), RowDigests(dataset)
    results: dict[int, KeptEpisode] = {}
    skipped: dict[int, str] = {}
    for episode in episodes:
        path = partial / f"episode_{episode.index:06d}.json"
        try:
            now = {"inputs": digest(producer.inputs(dataset, episode)), "rows": rows(episode)}
            results[episode.index] = load(path, **now) or _labelled(label, episode, dataset, path, **now)
        except DatasetError as error:
            if not skip_bad_episodes:
                raise
            skipped[episode.index] = str(error)
    return results, skipped


def _place(episode: Episode) -> tuple[str, int]:
    """Where an episode's rows lie."""
    return str(episode.data_path), episode.file_row


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
) -> tuple[dict[int, Episode], FactsTable | None]:
    """Episodes that this run does not label, and the labels that are there."""
    if whole:
        return {}, None
    try:
        table = FactsTable.load(dataset.root)
    except DatasetNotFoundError:
        return {}, None
    known = ROBOTS[table.robot] if table.robot in ROBOTS else None  # noqa: SIM401  (our registry has no `get`)
    if known is None or (known.state_names, known.axes) != (robot.state_names, robot.axes):
        raise DatasetError(
            f"{dataset.root / FACTS_PATH} is about robot {table.robot!r}, not {robot.name!r}; label it whole."
        )
    others = {episode.index: episode for episode in dataset.episodes if episode.index not in chosen}
    _check_unchanged(dataset, others)
    return others, table


def _check_unchanged(dataset: LeRobotDataset, others: Mapping[int, Episode]) -> None:
    """Labels that stay must be of the rows that the dataset has now; the last report says which those were."""
    stored, digests = _stored_report(dataset).get("by_episode", {}), RowDigests(dataset)
    labelled = [others[int(number)] for number, entry in stored.items() if int(number) in others and "rows" in entry]
    labelled.sort(key=_place)
    changed = sorted(e.index for e in labelled if digests(e) != stored[str(e.index)]["rows"])
    if changed:
        raise DatasetError(
            f"{dataset.root}: {len(changed)} episodes have changed since they were labelled ({changed[:20]}); their labels "
            "cannot stay. Label them as well, or the whole dataset (without `episodes`)."
        )


def _stored_report(dataset: LeRobotDataset) -> dict[str, Any]:
    """`labels/report.json` as it stands; empty where there is none."""
    path = dataset.root / REPORT_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _partial(dataset: LeRobotDataset, producer: Producer, robot: Robot) -> Path:
    """Where finished episodes of these options on this dataset wait for the others."""
    identity = DatasetIdentity.of(dataset.meta)
    total = hashlib.sha256(f"4 {__version__} {producer!r} {robot.name} {robot.gripper} {identity.sha256}".encode())
    for value in vars(producer).values():
        if isinstance(value, Path) and value.is_file():  # an edited annotation file is another source
            total.update(value.read_bytes())
    key = total.hexdigest()[:16]
    path = dataset.root / _PARTIAL / key
    path.mkdir(parents=True, exist_ok=True)
    return path


def _labelled(
    label: Labeler, episode: Episode, dataset: LeRobotDataset, path: Path, *, inputs: str, rows: str
) -> KeptEpisode:
    """Labels one episode and keeps the result."""
    try:
        frames, report = label(episode)
    except ValueError as error:  # DatasetError and what the grammar refuses
        raise DatasetError(f"{dataset.root}, episode {episode.index}: {error}") from error
    return keep(path, frames, report, inputs=inputs, rows=rows)


def _write_report(
    dataset: LeRobotDataset,
    producer: Producer,
    report: LabelReport,
    results: Mapping[int, KeptEpisode],
    *,
    whole: bool,
) -> None:
    """Writes `labels/report.json`; what the last one says about episodes that stay, stays."""
    summary = {**dataclasses.asdict(report), "facts_path": FACTS_PATH, "producer": repr(producer)}
    by_episode = {
        str(number): {**result.report, "producer": _name(producer), "rows": result.rows}
        for number, result in results.items()
    }
    skipped = {str(number): reason for number, reason in report.skipped.items()}
    before = {} if whole else _stored_report(dataset)
    others = {number: entry for number, entry in before.get("by_episode", {}).items() if number not in skipped}
    skipped |= {n: why for n, why in before.get("skipped", {}).items() if n not in by_episode and n not in skipped}
    by_episode = {**others, **by_episode}
    by_episode = {number: by_episode[number] for number in sorted(by_episode, key=int)}
    summary |= {"skipped": skipped, "refused": _refused(by_episode.values())}
    write_json(dataset.root / REPORT_FILE, {**summary, "by_episode": by_episode}, indent=1)
