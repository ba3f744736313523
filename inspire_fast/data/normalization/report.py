"""Report on normalisation statistics before training, with likely mistakes.

It finds dead dimensions, double deltas, statistics of other data, noise in the place of actions, and actions beyond the
robot's limits or the tokenizer's range. The thresholds are our choice: wide enough that ordinary data gives no finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.normalization.delta import Mask, mask_periods
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.robots.periodic import circular_mean, nearest
from inspire_fast.tokenizers.fast.tokenizer import quantise

Quantity = Literal["state", "actions"]
_QUANTITIES: tuple[Quantity, ...] = ("state", "actions")
Kind = Literal[
    "near_constant",
    "double_delta",
    "missing_delta",
    "foreign_statistics",
    "limits",
    "control_rate",
    "fast_range",
    "noise",
]
# A dimension whose quantiles span less than this part of the robot's range carries no information and magnifies noise.
_NEAR_CONSTANT = 1e-3
# By definition 2 % are outside the quantiles: if this share is, they were computed from other data.
_FOREIGN_SHARE = 0.2
_FOREIGN_SPAN = 5.0
# Actions may overshoot the robot's range by this part of it, and this share of them by more.
_LIMIT_SLACK, _LIMIT_SHARE = 0.05, 0.01
_SAMPLES = 20_000
_RATE_SLACK = 0.01
# Below these correlations (with the next action; with the state) actions are told from drawn numbers by nothing.
_NOISE_NEXT, _NOISE_STATE = 0.25, 0.25
_NOISE_ROWS = 16


@dataclass(frozen=True)
class Finding:
    """A likely mistake.

    Attributes:
        kind: of the mistake.
        quantity: `state` or `actions`.
        dims: its dimensions; empty if it is not about single ones.
        message: the observation, its effect on training, and the remedy.
    """

    kind: Kind
    quantity: Quantity
    dims: tuple[int, ...]
    message: str


@dataclass(frozen=True, kw_only=True)
class FastRange:
    """Range of integer coefficients that a FAST tokenizer can express, inclusive, and its scale."""

    min_token: int
    max_token: int
    scale: float = 10.0


def inspect_stats(source: ChunkSource, normalizer: Normalizer, *, fast: FastRange | None = None) -> tuple[Finding, ...]:
    """Compares a source with its statistics, on at most 20 000 samples, evenly spread.

    Args:
        source: the training samples.
        normalizer: with the statistics and deltas of the training, from any source.
        fast: the tokenizer's range, if there is a tokenizer already.
    """
    foreign = _foreign_widths(source, normalizer.stats)
    if foreign:
        return tuple(foreign)
    part = slice(None, None, -(-len(source) // _SAMPLES))
    states, chunks = source.states(part), source.chunks(part)
    normalised = {"state": normalizer.state(states), "actions": normalizer.actions(chunks, states)}
    findings = [
        *_near_constant(source, normalizer.stats),
        *_deltas(source, normalizer.delta, states, chunks[:, 0]),
        *_foreign(source, normalised, normalizer),
        *_limits(source),
        *_noise(states, chunks),
        *_rate(source),
    ]
    if fast is not None:
        findings += _fast_range(normalised["actions"], fast)
    return tuple(findings)


def describe(findings: Sequence[Finding]) -> str:
    """One line per finding, or one that there is none."""
    if not findings:
        return "report: nothing unusual"
    return "\n".join(f"report: {f.kind} in {f.quantity}: {f.message}" for f in findings)


def _foreign_widths(source: ChunkSource, stats: Mapping[str, NormStats]) -> list[Finding]:
    robot = source.robot
    widths = {"state": robot.state_dim, "actions": robot.action_dim}
    return [
        Finding(
            "foreign_statistics",
            name,
            (),
            f"statistics of {len(stats[name])} dimensions for robot {robot.name!r}, which has {widths[name]}; they are "
            "another robot's. Compute them for this dataset.",
        )
        for name in _QUANTITIES
        if len(stats[name]) != widths[name]
    ]


def _near_constant(source: ChunkSource, stats: Mapping[str, NormStats]) -> list[Finding]:
    robot, findings = source.robot, []
    ranges = {
        "state": robot.state_map.to_canonical(np.array([robot.state_low, robot.state_high])),
        "actions": robot.action_map.to_canonical(np.array([robot.action_low, robot.action_high])),
    }
    for name in _QUANTITIES:
        low, high = ranges[name]
        span = _span(stats[name])
        if dims := _dims(span < _NEAR_CONSTANT * np.abs(high - low)):
            labels = _labels(source, name)
            what = ", ".join(f"{labels[d]} [{d}] spans {span[d]:.2g}" for d in dims)
            message = (
                f"{what}: hardly moves, so that normalising magnifies noise, and a different value at the robot "
                "becomes huge. Check the column; if it is right, a wider span in norm_stats.json keeps it tame."
            )
            findings.append(Finding("near_constant", name, dims, message))
    return findings


def _span(stats: NormStats) -> np.ndarray:
    return 4 * stats.std if stats.q01 is None or stats.q99 is None else stats.q99 - stats.q01


def _labels(source: ChunkSource, quantity: Quantity) -> tuple[str, ...]:
    return source.robot.state_names if quantity == "state" else source.robot.action_names


def _dims(which: ArrayLike) -> tuple[int, ...]:
    return tuple(np.flatnonzero(which).tolist())


def _deltas(source: ChunkSource, delta: Mask, states: np.ndarray, first: np.ndarray) -> list[Finding]:
    """Absolute targets are close to the state at which they start; deltas are independent of it."""
    robot, double = source.robot, {}
    periods = mask_periods(delta, first.shape[1])
    near_states, near_actions = (_about_their_mean(v, periods) for v in (states, first))
    for dim in _dims(delta):
        state, action = near_states[:, dim], near_actions[:, dim]
        if state.std() == 0:
            continue
        relative = (action - state).std() / state.std()
        correlation = 0.0 if action.std() == 0 else float(np.corrcoef(state, action)[0, 1])
        if relative > 0.7 and correlation < 0.7:
            double[dim] = correlation
    findings = []
    if double:
        what = ", ".join(f"{robot.action_names[d]} [{d}] (correlation {c:.2f})" for d, c in double.items())
        message = (
            f"{what}: the configuration asks for actions relative to the state, but these do not follow the state: "
            "they are deltas already, and subtracting the state again spoils them. Turn `data.delta` off there."
        )
        findings.append(Finding("double_delta", "actions", tuple(double), message))
    if any(robot.delta) and not any(delta):
        message = (
            f"policies of robot {robot.name!r} are trained on actions relative to the state in these dimensions; the "
            "configuration asks for none (`data.delta`)."
        )
        findings.append(Finding("missing_delta", "actions", _dims(robot.delta), message))
    return findings


def _foreign(source: ChunkSource, normalised: dict[str, np.ndarray], normalizer: Normalizer) -> list[Finding]:
    findings = []
    # Of z-scores: the 1 % and 99 % quantiles of a normal distribution.
    low, high = (-1.0, 1.0) if normalizer.kind == "quantile" else (-2.33, 2.33)
    for name in _QUANTITIES:
        values = normalised[name]
        flat = values.reshape(-1, values.shape[-1])
        outside = ((flat < low) | (flat > high)).mean(axis=0)
        spread = (np.quantile(flat, 0.99, axis=0) - np.quantile(flat, 0.01, axis=0)) / (high - low)
        # A dimension that does not move here may well have moved in the data of the statistics.
        narrow = (spread < 1 / _FOREIGN_SPAN) & (spread > 0)
        if dims := _dims((outside > _FOREIGN_SHARE) | narrow | (spread > _FOREIGN_SPAN)):
            labels = _labels(source, name)
            what = ", ".join(
                f"{labels[d]} [{d}]: {outside[d]:.0%} outside, spread {spread[d]:.2g} times theirs" for d in dims
            )
            message = f"{what}. The statistics were computed on other data (another robot, other units, no deltas)."
            findings.append(Finding("foreign_statistics", name, dims, message))
    return findings


def _about_their_mean(values: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """The dimensions of values `[n, d]` that have a period or 0, with angles nearest their mean direction."""
    known = values[:, : len(periods)].astype(np.float64)
    return nearest(known, circular_mean(known, periods[: known.shape[1]]), periods[: known.shape[1]])


def _limits(source: ChunkSource) -> list[Finding]:
    robot = source.robot
    native, low, high = (
        robot.nearest_turn(robot.action_map.to_native(source.actions())),
        np.array(robot.action_low),
        np.array(robot.action_high),
    )
    slack = _LIMIT_SLACK * (high - low)
    outside = ((native < low - slack) | (native > high + slack)).mean(axis=0)
    if not (dims := _dims(outside > _LIMIT_SHARE)):
        return []
    what = ", ".join(
        f"{robot.action_names[d]} [{d}]: {outside[d]:.0%} outside {low[d]:g} .. {high[d]:g}, "
        f"up to {np.abs(native[:, d]).max():g}"
        for d in dims
    )
    message = f"{what}. Robot {robot.name!r} would clip them: another robot's actions, or other units."
    return [Finding("limits", "actions", dims, message)]


def _noise(states: np.ndarray, chunks: np.ndarray) -> list[Finding]:
    """A recorded motion goes on: an action resembles the next one, or follows the state."""
    if len(chunks) < _NOISE_ROWS or chunks.shape[1] < 2:
        return []
    dims = [d for d in range(chunks.shape[2]) if chunks[:, 0, d].std() > 0 and chunks[:, 1, d].std() > 0]
    moving = [d for d in range(states.shape[1]) if states[:, d].std() > 0]
    if not dims:
        return []
    following = float(np.mean([np.corrcoef(chunks[:, 0, d], chunks[:, 1, d])[0, 1] for d in dims]))
    related = [max((abs(np.corrcoef(chunks[:, 0, d], states[:, s])[0, 1]) for s in moving), default=0.0) for d in dims]
    by_chance = 2.5 / np.sqrt(len(chunks))
    if following > _NOISE_NEXT or float(np.mean(related)) > _NOISE_STATE + by_chance:
        return []
    message = (
        f"an action says nothing about the next one (mean correlation {following:.2f}) and nothing about the state: "
        "numbers drawn at random look so. Nothing can be learnt from them. Are these columns a recording?"
    )
    return [Finding("noise", "actions", (), message)]


def _rate(source: ChunkSource) -> list[Finding]:
    robot, fps = source.robot, source.dataset.fps
    if abs(fps / robot.control_hz - 1) < _RATE_SLACK:
        return []
    message = (
        f"recorded at {fps:g} frames per second, and robot {robot.name!r} is controlled at {robot.control_hz:g} Hz. A "
        f"policy trained on this moves as recorded at {fps:g} Hz only: set the control loop to that, or correct `fps` "
        "in meta/info.json if it is wrong (openpi's conversion of LIBERO says 10 where it is 20)."
    )
    return [Finding("control_rate", "actions", (), message)]


def _fast_range(actions: np.ndarray, fast: FastRange) -> list[Finding]:
    coefficients = quantise(actions, fast.scale)
    beyond = (coefficients < fast.min_token) | (coefficients > fast.max_token)
    refused = np.atleast_1d(beyond.any(axis=(1, 2)))
    if not refused.any():
        return []
    message = (
        f"{refused.sum()} of {len(refused)} chunks ({refused.mean():.1%}) have coefficients outside the tokenizer's "
        f"{fast.min_token} .. {fast.max_token} (they span {coefficients.min()} .. {coefficients.max()}): they cannot "
        "be encoded. Fit the tokenizer on this data, or look for outliers in these dimensions."
    )
    return [Finding("fast_range", "actions", _dims(beyond.any(axis=(0, 1))), message)]
