"""Labelling of a dataset episode by episode: resumable, idempotent, atomic, with a report of everything refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
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
from inspire_fast.labeling.episode_cache import CachedEpisode, Labels, digest, load, save
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer, frame_description
from inspire_fast.labeling.row_digests import RowDigests
from inspire_fast.robots import ROBOTS, Robot

REPORT_FILE = "labels/report.json"
_PARTIAL = "labels/.partial"
_CACHE_VERSION = 8  # of the cached episodes' format


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """Result of a run.

    Attributes:
        facts_path: the file written.
        episodes: number of episodes labelled, including those that an interrupted run had finished.
        frames: number of their frames.
        frames_labelled: number of their frames with at least one target.
        skipped: episode -> the reason why it was left out.
        refused: reason -> number of phrases without facts.
    """

    facts_path: Path
    episodes: int
    frames: int
    frames_labelled: int
    skipped: Mapping[int, str]
    refused: Mapping[str, int]

    def __str__(self) -> str:
        labelled = f"{self.frames_labelled} of {self.frames} frames in {self.episodes} episodes are labelled."
        lines = [f"{self.facts_path}: {labelled}"]
        lines += [f"refused, {count} times: {reason}" for reason, count in self.refused.items()]
        lines += [
            f"left out: episode {', '.join(str(n) for n in self.skipped if self.skipped[n] == reason)}: {reason}"
            for reason in dict.fromkeys(self.skipped.values())
        ]
        if not self.frames_labelled:
            lines.append(
                "Nothing could be labelled: no question about a thing can be learnt from this dataset. Without "
                "questions it trains as it is: `--dialogue.script pi0_fast`."
            )
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
    """Labels a dataset, or some of its episodes; the others keep their labels.

    An interrupted run resumes: finished episodes are cached on disk, and reused if the dataset's rows and the
    producer's inputs are still the same. Memory holds the facts of one episode, the columns of one data file, and the
    reports. The same options on the same dataset write the same file.

    Args:
        dataset: stays unchanged; `labels/facts.parquet` and `labels/report.json` are written next to its data.
        producer: the source of facts, for example `Hindsight()`.
        robot: the embodiment; its axes are the facts' frame.
        episodes: numbers; default: all.
        skip_bad_episodes: leave out episodes that cannot be labelled, and list them, instead of stopping.
        overwrite: replace labels of another producer, e.g. the simulator's truth by hindsight's.
        progress: show a progress bar.

    Raises:
        DatasetError: an episode cannot be labelled (names file and episode); or there are labels of another dataset,
            robot or producer; or episodes that keep their labels have changed since.
        ValueError: `episodes` is empty.
    """
    if episodes is not None and not len(episodes):
        raise ValueError("`episodes` is empty: there is nothing to label. Leave it out to label all of them.")
    run = _Run(dataset=dataset, producer=producer, robot=robot, whole=episodes is None)
    chosen = [dataset.episode(number) for number in (range(len(dataset.episodes)) if episodes is None else episodes)]
    return run.label(chosen, skip_bad_episodes=skip_bad_episodes, overwrite=overwrite, progress=progress)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One call of `label_dataset`; `whole` if it labels all episodes."""

    dataset: LeRobotDataset
    producer: Producer
    robot: Robot
    whole: bool

    def label(
        self, chosen: Sequence[Episode], *, skip_bad_episodes: bool, overwrite: bool, progress: bool
    ) -> LabelReport:
        written_by = self._written_by(overwrite=overwrite)
        others, table = self._others({episode.index for episode in chosen})
        bar = tqdm(sorted(chosen, key=_place), desc="labels", unit="ep", disable=None if progress else True)
        labeler = self.producer.open(self.dataset, self.robot)
        with closing(labeler):
            cached, skipped = self._label_each(labeler, bar, skip_bad_episodes=skip_bad_episodes)
        path = write_facts(
            self.dataset.root,
            Labels(cached=cached, others=others, table=table),
            robot=self.robot.name,
            frame_description=frame_description(self.robot),
            producer=written_by,
        )
        report = LabelReport(
            facts_path=path,
            episodes=len(cached),
            frames=sum(episode.frames for episode in cached.values()),
            frames_labelled=sum(episode.frames_labelled for episode in cached.values()),
            skipped=dict(sorted(skipped.items())),
            refused=_refused(cached[number].report for number in sorted(cached)),
        )
        self._write_report(report, cached, labeler.judged_by)
        shutil.rmtree(self.dataset.root / _PARTIAL)  # caches of other options too: they began before these labels
        return report

    def _label_each(
        self, labeler: Labeler, episodes: Iterable[Episode], *, skip_bad_episodes: bool
    ) -> tuple[dict[int, CachedEpisode], dict[int, str]]:
        """Labels the episodes that have no valid cache; returns all results, and the reasons of those left out."""
        folder, digests = self._cache(labeler.judged_by), RowDigests(self.dataset)
        cached: dict[int, CachedEpisode] = {}
        skipped: dict[int, str] = {}
        for episode in episodes:
            path = folder / f"episode_{episode.index:06d}.arrow"
            try:
                inputs, rows = digest(self.producer.inputs(self.dataset, episode)), digests(episode)
                found = load(path, inputs=inputs, rows=rows)
                if found is None:
                    try:
                        frames, report = _label_parts(labeler, self.dataset, episode)
                    except ValueError as error:  # DatasetError, and instructions that the grammar refuses
                        raise DatasetError(f"{self.dataset.root}, episode {episode.index}: {error}") from error
                    found = save(path, frames, report, inputs=inputs, rows=rows)
                cached[episode.index] = found
            except DatasetError as error:
                if not skip_bad_episodes:
                    raise
                skipped[episode.index] = str(error).removeprefix(f"{self.dataset.root}, episode {episode.index}: ")
        return cached, skipped

    def _name(self) -> str:
        return type(self.producer).__name__.lower()

    def _written_by(self, *, overwrite: bool) -> str:
        """Names of the producers for the facts' header, after a check that existing labels can be replaced."""
        stored, ours = stored_producer(self.dataset.root), self._name()
        if stored in (None, ours):
            return ours
        if not overwrite:
            raise DatasetError(
                f"{self.dataset.root / FACTS_PATH} holds labels of {stored or 'an unnamed producer'}, not of {ours}. "
                "To replace them, pass `overwrite` (`--overwrite`)."
            )
        return ours if self.whole else ", ".join(sorted({*(stored or "unnamed").split(", "), ours}))

    def _others(self, chosen: set[int]) -> tuple[dict[int, Episode], FactsTable | None]:
        """Episodes that keep their labels, and those labels."""
        if self.whole:
            return {}, None
        try:
            table = FactsTable.load(self.dataset.root)
        except DatasetNotFoundError:
            return {}, None
        known = ROBOTS[table.robot] if table.robot in ROBOTS else None  # noqa: SIM401  (our registry has no `get`)
        if known is None or (known.state_names, known.axes) != (self.robot.state_names, self.robot.axes):
            raise DatasetError(
                f"{self.dataset.root / FACTS_PATH} is about robot {table.robot!r}, not {self.robot.name!r}; label the "
                "whole dataset (without `episodes`)."
            )
        others = {episode.index: episode for episode in self.dataset.episodes if episode.index not in chosen}
        self._check_unchanged(others)
        return others, table

    def _check_unchanged(self, others: Mapping[int, Episode]) -> None:
        """Compares the rows of episodes that keep their labels with the digests in the last report."""
        stored, digests = self._stored_report().get("by_episode", {}), RowDigests(self.dataset)
        labelled = [
            others[int(number)] for number, entry in stored.items() if int(number) in others and "rows" in entry
        ]
        labelled.sort(key=_place)
        changed = sorted(e.index for e in labelled if digests(e) != stored[str(e.index)]["rows"])
        if changed:
            raise DatasetError(
                f"{self.dataset.root}: {len(changed)} episodes have changed since they were labelled ({changed[:20]}); "
                "their labels cannot stay. Label them as well, or the whole dataset (without `episodes`)."
            )

    def _stored_report(self) -> dict[str, Any]:
        path = self.dataset.root / REPORT_FILE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def _cache(self, judged_by: str) -> Path:
        """Folder of the finished episodes of these options on this dataset; `judged_by`: see `Labeler`."""
        identity = DatasetIdentity.of(self.dataset.meta).sha256
        options = (repr(self.producer), self.robot.name, self.robot.gripper, judged_by)
        parts = (_CACHE_VERSION, __version__, *options, identity)
        total = hashlib.sha256(" ".join(map(str, parts)).encode())
        for value in vars(self.producer).values():
            if isinstance(value, Path) and value.is_file():  # an edited annotation file is another source
                total.update(value.read_bytes())
        path = self.dataset.root / _PARTIAL / total.hexdigest()[:16]
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _write_report(self, report: LabelReport, cached: Mapping[int, CachedEpisode], judged_by: str) -> None:
        """Writes `labels/report.json`; episodes that keep their labels keep their entries."""
        by_episode = {
            str(number): {**episode.report, "producer": self._name(), "rows": episode.rows}
            for number, episode in cached.items()
        }
        skipped = {str(number): reason for number, reason in report.skipped.items()}
        before = {} if self.whole else self._stored_report()
        others = {number: entry for number, entry in before.get("by_episode", {}).items() if number not in skipped}
        skipped |= {n: why for n, why in before.get("skipped", {}).items() if n not in by_episode and n not in skipped}
        by_episode = {**others, **by_episode}
        by_episode = {number: by_episode[number] for number in sorted(by_episode, key=int)}
        summary = {
            **dataclasses.asdict(report),
            "facts_path": FACTS_PATH,
            "producer": repr(self.producer),
            "judged_by": judged_by,
        }
        summary |= {"skipped": skipped, "refused": _refused(by_episode.values()), "by_episode": by_episode}
        write_json(self.dataset.root / REPORT_FILE, summary, indent=1)


def _label_parts(labeler: Labeler, dataset: LeRobotDataset, episode: Episode) -> Labelled:
    """Facts of an episode, each frame's by its own instruction, and the report; `parts` of it if there are several."""
    parts = [
        Part(episode=episode, start=start, stop=stop, instruction=text)
        for start, stop, text in dataset.instructions(episode)
    ]
    labelled = [labeler.label(part) for part in parts]
    if len(parts) == 1:
        return labelled[0]
    frames = [scene for scenes, _ in labelled for scene in scenes]
    ranges = [f"frames {part.start}..{part.stop - 1}" for part in parts]
    reports = [report for _, report in labelled]
    refused = {
        f"{p}, {r}": why for r, n in zip(ranges, reports, strict=True) for p, why in n.get("refused", {}).items()
    }
    return frames, {"parts": dict(zip(ranges, reports, strict=True)), "refused": refused}


def _place(episode: Episode) -> tuple[str, int]:
    """Data file and first row; in this order each file is read once."""
    return str(episode.data_path), episode.file_row


def _refused(reports: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    return dict(Counter(why for report in reports for why in report.get("refused", {}).values()).most_common())
