"""Findings: episodes whose measures are beyond a limit, or far from those of the other episodes.

Limits in seconds and counts are the same for every dataset. Jerk and steps have no natural limit: an episode is found
if they are several times the median of the episodes. Nothing is removed: a finding is a reason to look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from inspire_fast.data.quality.measures import EpisodeMeasures, Lag, Measures

IDLE_S = 2.0
FROZEN_S = 0.5
CHATTER = 4  # changes of a gripper's command within a second
ACTION = 4.0  # half-ranges from the median
LAG_FRAMES = 2  # more or less than the dataset's
ROUGH = 4.0  # times the median of the episodes
_SHORT = 0.25  # of the median length


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One reason to look at an episode.

    Attributes:
        episode, frame: where.
        measure: name of the measure, for tables.
        text: what was seen, beside what is usual.
        severity: value over its limit, to order findings of one measure.
    """

    episode: int
    frame: int
    measure: str
    text: str
    severity: float


def find(measures: Measures) -> list[Finding]:
    """All findings, the worst of each measure first."""
    found = [*_beyond_limits(measures), *_lags(measures), *_duplicates(measures)]
    return sorted(found, key=lambda f: (f.measure, -f.severity, f.episode))


def describe_lag(lag: Lag, fps: float) -> str:
    """The lag of a dataset in words."""
    if lag.frames is None:
        return (
            "State-action lag: no dimension of the actions is related to the state. If that is true of the recording, "
            "nothing can be learnt from these actions."
        )
    kind = "targets of the state" if lag.absolute else "velocities or changes of the state"
    seconds = lag.frames / fps
    early = " The state moves before its action: are actions stored a row late?" if lag.frames < 0 else ""
    return (
        f"State-action lag: {lag.frames} frames ({seconds * 1000:.0f} ms) at a correlation of {lag.correlation:.2f}; "
        f"actions {[dim for dim, _ in lag.pairs]} are {kind}.{early}"
    )


def _beyond_limits(measures: Measures) -> Iterator[Finding]:
    rules: list[tuple[str, float, Callable[[EpisodeMeasures], str]]] = [
        ("idle_s", IDLE_S, lambda e: f"idle for {e.idle_s:.1f} s of {e.frames / measures.fps:.1f} s"),
        ("frozen_s", FROZEN_S, lambda e: f"equal pictures for {e.frozen_s:.1f} s while the arm moves"),
        ("chatter", CHATTER, lambda e: f"the gripper's command changes its side {e.chatter} times in a second"),
        ("jerk", ROUGH, lambda e: f"jerk {e.jerk:.1f} times the median of the episodes"),
        ("step", ROUGH, lambda e: f"a step {e.step:.1f} times the median of the episodes' largest"),
        ("action", ACTION, lambda e: f"an action {e.action:.1f} half-ranges from the median"),
    ]
    for name, limit, text in rules:
        for episode in measures.episodes:
            value = getattr(episode, name)
            if value >= limit:
                yield _finding(episode, name, text(episode), value / limit)
    median = float(np.median([e.frames for e in measures.episodes])) if measures.episodes else 0.0
    for episode in measures.episodes:
        if episode.frames < _SHORT * median:
            text = f"{episode.frames} frames; the median is {median:.0f}"
            yield _finding(episode, "short", text, median / episode.frames)


def _lags(measures: Measures) -> Iterator[Finding]:
    usual = measures.lag.frames
    for episode in measures.episodes:
        if usual is None or episode.lag_frames is None or abs(episode.lag_frames - usual) < LAG_FRAMES:
            continue
        text = f"the state follows the actions by {episode.lag_frames} frames; by {usual} in the dataset"
        yield _finding(episode, "lag", text, abs(episode.lag_frames - usual) / LAG_FRAMES)


def _duplicates(measures: Measures) -> Iterator[Finding]:
    same = defaultdict[str, list[EpisodeMeasures]](list)
    for episode in measures.episodes:
        same[episode.digest].append(episode)
    for first, *others in same.values():
        for episode in others:
            yield _finding(episode, "duplicate", f"the same states and actions as episode {first.episode}", 1.0)


def _finding(episode: EpisodeMeasures, measure: str, text: str, severity: float) -> Finding:
    frame = episode.at.get(measure, 0)
    return Finding(episode=episode.episode, frame=frame, measure=measure, text=text, severity=severity)
