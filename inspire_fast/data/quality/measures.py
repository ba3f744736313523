"""Measures of episodes: how long an arm idles, how rough it moves, how far actions stray, how pictures repeat.

Every number is taken relative to the dataset's own range of its dimension (from the 1st to the 99th percentile), so
that metres, radians and encoder ticks are measured alike.

    quality = measure(dataset, Numbers(state="state", actions="actions", gripper_dims=(6,)))
    quality.episodes[0].idle_s, quality.lag.frames

Letters: `n` frames of an episode, `s` state, `a` action.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
import hashlib
from itertools import pairwise

import numpy as np

from inspire_fast.core.console import command_line
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset

IDLE_RATE = 0.02  # of the range, per second: slower is idle
MOVES = 0.02  # of the range: a picture that stays the same while the arm moves that far is frozen
_SAMPLED_ROWS = 1 << 20
_LAG_EPISODES = 64
_LAG_FRAMES = 10
_RELATED = 0.6  # correlation above which an action's dimension commands a state's


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Columns of a dataset that are measured.

    Attributes:
        state: column of the state, float `[n, s]`.
        actions: column of the actions, float `[n, a]`.
        gripper_dims: dimensions of the action that command grippers; none: chatter is not measured.
        cameras: columns of pictures to look for frozen ones, which decodes every picture; none: not measured.
    """

    state: str
    actions: str
    gripper_dims: tuple[int, ...] = ()
    cameras: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EpisodeMeasures:
    """Measures of one episode, and the frame where each is worst.

    Attributes:
        episode: its number.
        frames: its length.
        idle_s: longest stretch in which no dimension of the state moves faster than 2 % of its range per second.
        jerk: root mean square of a state's third difference, in the dimension where it is the largest multiple of the
            episodes' median; that multiple.
        step: largest step of a state's dimension between two frames, likewise a multiple of the episodes' median.
        action: largest distance of an action's dimension from its median, half-ranges.
        chatter: most commands of a gripper to change its side within one second; 0 without grippers.
        frozen_s: longest stretch of equal pictures while the arm moves on; 0 where pictures were not read.
        lag_frames: frames by which the state follows the actions, or None if they are not related in this episode.
        digest: of its states and actions; equal digests are duplicates.
        at: measure -> frame where it is worst, or where its stretch begins.
    """

    episode: int
    frames: int
    idle_s: float
    jerk: float
    step: float
    action: float
    chatter: int
    frozen_s: float
    lag_frames: int | None
    digest: str
    at: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, kw_only=True)
class Lag:
    """Frames by which the state follows the actions, over the dataset.

    Attributes:
        frames: at the largest correlation; negative: the state moves before its action. None: nothing is related.
        correlation: mean of the related dimensions at that lag.
        pairs: (action dimension, state dimension) that are related.
        absolute: actions are targets of the state (else they are velocities or deltas).
    """

    frames: int | None
    correlation: float
    pairs: tuple[tuple[int, int], ...]
    absolute: bool


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of all episodes of a dataset, and the lag of its states."""

    fps: float
    episodes: tuple[EpisodeMeasures, ...]
    lag: Lag


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Range and median of each dimension."""

    range_: np.ndarray
    median: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> _Scale:
        some = values[:: max(1, len(values) // _SAMPLED_ROWS)].astype(np.float64)
        low, median, high = np.quantile(some, (0.01, 0.5, 0.99), axis=0)
        range_ = np.where(high > low, high - low, np.ptp(some, axis=0))
        return cls(range_=np.where(range_ > 0, range_, 1.0), median=median)


def measure(dataset: LeRobotDataset, numbers: Numbers) -> Measures:
    """Measures every episode that the dataset does not skip.

    Raises:
        DatasetError: a column is missing, is not a vector per frame, or holds a number that is not finite.
    """
    columns = dataset.columns([numbers.state, numbers.actions])
    kept = [episode for episode in dataset.episodes if episode.index not in dataset.skipped]
    rows = np.zeros(len(dataset), bool)
    for episode in kept:
        rows[episode.start : episode.stop] = True
    state, actions = (_vectors(dataset, name, columns[name], rows) for name in (numbers.state, numbers.actions))
    scales = _Scale.of(state[rows]), _Scale.of(actions[rows])
    pieces = [((state[e.start : e.stop] - scales[0].median) / scales[0].range_) for e in kept]
    commands = [((actions[e.start : e.stop] - scales[1].median) / (scales[1].range_ / 2)) for e in kept]
    arm = np.isin(np.arange(actions.shape[1]), numbers.gripper_dims, invert=True)  # a gripper's lag is another one
    lag = _lag(pieces, [command * arm for command in commands])
    jerks = _multiples([np.sqrt((_differences(s, 3) ** 2).mean(axis=0)) for s in pieces])
    steps = _multiples([np.abs(_differences(s, 1)).max(axis=0) for s in pieces])
    measured = []
    for number, (episode, s, a) in enumerate(zip(kept, pieces, commands, strict=True)):
        frozen = _longest_frozen(dataset, episode.start, s, numbers.cameras)
        raw = np.concatenate([state[episode.start : episode.stop], actions[episode.start : episode.stop]], axis=1)
        digest = hashlib.sha256(np.ascontiguousarray(raw).tobytes()).hexdigest()
        idle_at, idle_frames = _longest(_runs(np.abs(_differences(s, 1)).max(axis=1) * dataset.fps < IDLE_RATE))
        chatter_at, chatter = _chatter(a[:, list(numbers.gripper_dims)], dataset.fps)
        measured.append(
            EpisodeMeasures(
                episode=episode.index,
                frames=episode.length,
                idle_s=idle_frames / dataset.fps,
                jerk=float(jerks[number].max()),
                step=float(steps[number].max()),
                action=float(np.abs(a).max()),
                chatter=chatter,
                frozen_s=frozen[1] / dataset.fps,
                lag_frames=_lag_of([s], [a], lag)[0],
                digest=digest,
                at={
                    "idle_s": idle_at,
                    "jerk": int(np.abs(_differences(s, 3)[:, jerks[number].argmax()]).argmax()),
                    "step": int(np.abs(_differences(s, 1)[:, steps[number].argmax()]).argmax()),
                    "action": int(np.abs(a).max(axis=1).argmax()),
                    "chatter": chatter_at,
                    "frozen_s": frozen[0],
                },
            )
        )
    return Measures(fps=dataset.fps, episodes=tuple(measured), lag=lag)


def _vectors(dataset: LeRobotDataset, name: str, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A column as `[n, d]`, float64, finite in the given rows."""
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        raise DatasetError(
            f"Column {name!r} of {dataset.root} must be a vector of numbers per frame to be measured; it has "
            f"{values.dtype} of shape {values.shape[1:]}."
        )
    damaged = rows & ~np.isfinite(values).all(axis=1)
    if damaged.any():
        row = int(damaged.argmax())
        episode, frame = dataset.locate(row)
        raise DatasetError(
            f"Column {name!r} of {dataset.root}, episode {episode.index}, frame {frame} holds {values[row]}. Run "
            f"`{command_line('check_dataset')}` without --quality first, and leave out the episodes that it names."
        )
    return values.astype(np.float64)


def _differences(state: np.ndarray, order: int) -> np.ndarray:
    """Differences of the given order along the frames; one row of zeros for an episode that is too short."""
    return np.diff(state, n=order, axis=0) if len(state) > order else np.zeros((1, state.shape[1]))


def _multiples(values: Sequence[np.ndarray]) -> np.ndarray:
    """Each episode's values `[episodes, s]` over their medians; a dimension that hardly moves counts little."""
    stacked = np.stack(values) if values else np.zeros((0, 1))
    medians = np.median(stacked, axis=0) if len(stacked) else np.ones(1)
    return stacked / np.maximum(np.maximum(medians, 0.1 * medians.max()), 1e-9)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Beginning and length of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), np.diff(edges)[::2].tolist(), strict=True))


def _longest(runs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The longest run, the first of equal ones; (0, 0) without any."""
    return max(runs, key=lambda run: run[1], default=(0, 0))


def _chatter(grippers: np.ndarray, fps: float) -> tuple[int, int]:
    """Frame and number of the most changes of side within one second, of any gripper."""
    worst = (0, 0)
    for column in grippers.T:
        middle = (column.min() + column.max()) / 2
        changes = np.flatnonzero(np.diff((column > middle).astype(np.int8)))
        within = np.searchsorted(changes, changes + fps, side="left") - np.arange(len(changes))
        if len(within) and within.max() > worst[1]:
            worst = int(changes[within.argmax()]), int(within.max())
    return worst


def _longest_frozen(dataset: LeRobotDataset, start: int, state: np.ndarray, cameras: Sequence[str]) -> tuple[int, int]:
    """Beginning and length of the longest run of equal pictures of a camera during which the arm moves."""
    frozen: list[tuple[int, int]] = []
    for camera in cameras:
        pictures = _pictures(dataset, start, len(state), camera)
        digests = [hashlib.sha256(picture.tobytes()).digest() for picture in pictures]
        for begin, length in _runs(np.array([a == b for a, b in pairwise(digests)], bool)):
            if np.abs(state[begin : begin + length + 1] - state[begin]).max() > MOVES:
                frozen.append((begin, length))
    return _longest(frozen)


def _pictures(dataset: LeRobotDataset, start: int, count: int, camera: str) -> Iterator[np.ndarray]:
    for index in range(start, start + count):
        yield dataset.row(index, [camera])[camera]


def _lag(states: Sequence[np.ndarray], actions: Sequence[np.ndarray]) -> Lag:
    """Finds which dimension of the action commands which of the state, as a target or as a velocity, and how late."""
    some = range(0, len(states), max(1, len(states) // _LAG_EPISODES))
    states, actions = [states[i] for i in some], [actions[i] for i in some]
    best = Lag(frames=None, correlation=0.0, pairs=(), absolute=False)
    for absolute in (False, True):
        related = _related(states, actions, absolute=absolute)
        if not related:
            continue
        tried = Lag(frames=0, correlation=0.0, pairs=related, absolute=absolute)
        frames, correlation = _lag_of(states, actions, tried)
        if correlation > best.correlation:
            best = Lag(frames=frames, correlation=correlation, pairs=related, absolute=absolute)
    return best


def _followers(state: np.ndarray, *, absolute: bool) -> np.ndarray:
    return state[1:] if absolute else np.diff(state, axis=0)


def _related(
    states: Sequence[np.ndarray], actions: Sequence[np.ndarray], *, absolute: bool
) -> tuple[tuple[int, int], ...]:
    """Pairs (action dimension, state dimension) with a large correlation at some lag."""
    pairs = {}
    for lag in range(-_LAG_FRAMES, _LAG_FRAMES + 1):
        a, s = _aligned(states, actions, lag, absolute=absolute)
        if len(a) < 8:
            continue
        found = np.abs(_correlations(a, s))
        for dim, other in enumerate(found.argmax(axis=1).tolist()):
            if found[dim, other] > max(_RELATED, pairs.get(dim, (0, 0.0))[1]):
                pairs[dim] = (other, float(found[dim, other]))
    return tuple((dim, other) for dim, (other, _) in sorted(pairs.items()))


def _lag_of(states: Sequence[np.ndarray], actions: Sequence[np.ndarray], lag: Lag) -> tuple[int | None, float]:
    """Lag with the largest mean correlation of the related pairs; None below the bound."""
    best: tuple[int | None, float] = (None, _RELATED)
    if not lag.pairs:
        return best
    dims, others = (list(numbers) for numbers in zip(*lag.pairs, strict=True))
    for frames in sorted(range(-_LAG_FRAMES, _LAG_FRAMES + 1), key=abs):
        a, s = _aligned(states, actions, frames, absolute=lag.absolute)
        if len(a) < 8:
            continue
        mean = float(np.abs(_correlations(a[:, dims], s[:, others]).diagonal()).mean())
        if mean > best[1] + 1e-9:
            best = frames, mean
    return best


def _aligned(
    states: Sequence[np.ndarray], actions: Sequence[np.ndarray], lag: int, *, absolute: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Actions, and what the state does `lag` frames later, of all episodes one after the other."""
    pairs = []
    for state, action in zip(states, actions, strict=True):
        moves, commands = _followers(state, absolute=absolute), action[: len(state) - 1]
        n = len(moves) - abs(lag)
        if n > 0:
            pairs.append((commands[max(0, -lag) :][:n], moves[max(0, lag) :][:n]))
    if not pairs:
        return np.zeros((0, 1)), np.zeros((0, 1))
    return np.concatenate([a for a, _ in pairs]), np.concatenate([s for _, s in pairs])


def _correlations(a: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Correlations `[a, s]`; 0 for a dimension that does not change."""
    a, s = a - a.mean(axis=0), s - s.mean(axis=0)
    norms = np.linalg.norm(a, axis=0)[:, None] * np.linalg.norm(s, axis=0)[None]
    return np.divide(a.T @ s, norms, out=np.zeros_like(norms), where=norms > 1e-12)
