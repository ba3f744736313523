"""Verified traces: the path that the policy predicted against the one that the gripper then took.

A prediction counts for the steps up to the next call. Its deviation is the mean distance of the gripper's places in
these steps to the predicted path, as a fraction of the picture; the path begins where the gripper was.

    predicted   now --- 1 --- 2 --- 3
    executed    now  .    .            deviation: mean distance of the dots to the line
                             .

As an alarm: an episode whose running mean rises above a threshold is said to be failing. The threshold is the highest
running mean that any *other* solved episode reached (leave one out), so false alarms are counted honestly. As a
predictor of success: the mean over the first half of an episode's calls, judged by the area under the ROC curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.core.html import Markup, element, note, table
from inspire_fast.dialogue.locations import read
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.rates import RATE_HEAD, rate_cells
from inspire_fast.evaluation.report.statistics import wilson

RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """Deviation of one call's prediction.

    Attributes:
        step: control step of the call.
        mean: of the places up to the next call, fraction of the picture.
    """

    step: int
    mean: float


def distances_to_path(points: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Distances of points `[n, 2]` to a line through points `[k, 2]`, `[n]`."""
    if len(path) == 1:
        return np.linalg.norm(points - path, axis=1)
    start, along = path[:-1], np.diff(path, axis=0)  # [k-1, 2]
    squared = np.maximum((along**2).sum(-1), 1e-12)
    at = np.clip(np.einsum("nkc,kc->nk", points[:, None] - start, along) / squared, 0, 1)
    nearest = start + at[..., None] * along
    return np.linalg.norm(points[:, None] - nearest, axis=-1).min(axis=1)


def deviations(record: EpisodeRecord, *, bins: int) -> list[Deviation]:
    """Deviations of an episode's calls, in order; calls without a path, or without known places, are left out."""
    found = []
    starts = [call.step for call in record.calls]
    for call, end in zip(record.calls, [*starts[1:], record.steps], strict=True):
        said = next((a.answer for a in call.answers if a.question == "trace"), None)
        places = record.path_px[call.step : end + 1]
        if said is None or len(places) < 2 or places[0] is None:
            continue
        executed = [place for place in places[1:] if place is not None]
        if executed:
            path = np.concatenate([[places[0]], read(said, bins).reshape(-1, 2)])
            found.append(Deviation(step=call.step, mean=float(distances_to_path(np.array(executed), path).mean())))
    return found


def running_means(found: Sequence[Deviation]) -> np.ndarray:
    """Mean of the deviations so far, after each call."""
    return np.cumsum([deviation.mean for deviation in found]) / np.arange(1, len(found) + 1)


def area_under_roc(scores: np.ndarray, solved: np.ndarray) -> float:
    """Share of pairs (solved, failed) in which the solved episode has the lower score; ties count half.

    Raises:
        ValueError: only solved or only failed episodes.
    """
    low, high = scores[solved], scores[~solved]
    if not len(low) or not len(high):
        raise ValueError(f"A predictor needs solved and failed episodes; got {len(low)} and {len(high)}.")
    difference = high[None] - low[:, None]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def interval_of_area(scores: np.ndarray, solved: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % interval by a bootstrap of episodes, solved and failed ones apart."""
    rng = np.random.default_rng(seed)
    groups = np.flatnonzero(solved), np.flatnonzero(~solved)
    areas = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        areas.append(area_under_roc(scores[drawn], solved[drawn]))
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One episode under the alarm.

    Attributes:
        solved: the episode.
        step: control step of the alarm; None without one.
        steps: of the episode.
    """

    solved: bool
    step: int | None
    steps: int


def alarms(episodes: Mapping[int, tuple[EpisodeRecord, Sequence[Deviation]]]) -> list[Alarm]:
    """The alarm on each episode, with a threshold of the other solved ones; none where there are no others."""
    peaks = {n: float(running_means(found).max()) for n, (record, found) in episodes.items() if record.success}
    said = []
    for n, (record, found) in episodes.items():
        others = [peak for other, peak in peaks.items() if other != n]
        above = np.flatnonzero(running_means(found) > max(others)) if others else np.array([], int)
        step = found[int(above[0])].step if len(above) else None
        said.append(Alarm(solved=record.success, step=step, steps=record.steps))
    return said


def paths_section(records: Sequence[EpisodeRecord], questions: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    """The page's section; empty for a policy that predicts no paths."""
    if "trace" not in questions:
        return []
    bins = int(questions["trace"].get("bins", 1024))
    episodes = {n: (record, found) for n, record in enumerate(records) if (found := deviations(record, bins=bins))}
    head = element("h2", "Predicted and executed paths")
    if not episodes:
        return [head, note("No episode has both a predicted path and known places of the gripper.")]
    solved = np.array([record.success for record, _ in episodes.values()])
    whole = np.array([running_means(found)[-1] for _, found in episodes.values()])
    rows = [
        [name, str(int(which.sum())), f"{whole[which].mean():.3f}" if which.any() else "–"]
        for name, which in (("solved", solved), ("failed", ~solved))
    ]
    what = note("Mean distance of the gripper to its predicted path up to the next call, fraction of the picture.")
    return [
        head,
        what,
        table(["episodes", "count", "mean deviation"], rows, numbers={1, 2}),
        *_judged(episodes, solved),
    ]


def _judged(episodes: Mapping[int, tuple[EpisodeRecord, Sequence[Deviation]]], solved: np.ndarray) -> list[Markup]:
    if solved.all() or not solved.any():
        return [note("Whether it predicts success or failure needs solved and failed episodes.")]
    early = np.array([running_means(found)[(len(found) - 1) // 2] for _, found in episodes.values()])
    low, high = interval_of_area(early, solved)
    said = (
        f"After half of the calls the deviation tells solved from failed episodes with an area under the ROC curve of "
        f"{area_under_roc(early, solved):.2f} (95 % interval {low:.2f} to {high:.2f}; 0.5 is chance)."
    )
    found = alarms(episodes)
    rows = []
    for name, which in (("failed, alarm right", False), ("solved, alarm false", True)):
        mine = [alarm for alarm in found if alarm.solved == which]
        raised = [alarm for alarm in mine if alarm.step is not None]
        at = np.mean([alarm.step / alarm.steps for alarm in raised if alarm.step is not None]) if raised else None
        rows.append([name, *rate_cells(wilson(len(raised), len(mine))), "–" if at is None else f"{at:.0%}"])
    alarm = note("Alarm: the running mean rises above that of every other solved episode.")
    return [element("p", said), alarm, table(["episodes", *RATE_HEAD, "raised after"], rows, numbers={1, 2, 3, 5})]
