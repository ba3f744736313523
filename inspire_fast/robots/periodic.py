"""Arithmetic on periodic dimensions: angles on a circle, where 359 degrees and -1 degree are one place.

Periods are one number per dimension, in the values' unit; 0 is a dimension on a line, whose values stay bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Periods = Sequence[float] | np.ndarray


def shortest(difference: np.ndarray, periods: Periods) -> np.ndarray:
    """Differences `[..., d]` the short way round: in periodic dimensions from -1/2 to 1/2 of the period.

    difference    359   -359    90    180   -180
    period 360     -1      1    90    180   -180
    """
    return nearest(difference, 0.0, periods)


def nearest(values: np.ndarray, reference: np.ndarray | float, periods: Periods) -> np.ndarray:
    """Values `[..., d]` moved by whole periods to within half a period of `reference`."""
    if not np.any(periods):
        return values
    return values - np.rint((values - reference) / _divisor(periods)) * np.asarray(periods, np.float64)


def continued(values: np.ndarray, reference: np.ndarray, periods: Periods) -> np.ndarray:
    """Values in time `[..., t, d]` as a path without jumps, from the point nearest to `reference` `[..., 1, d]` on.

    reference 179, period 360
    values    -179   170  -100    -5   60
    path       181   170   260   355  420
    """
    if not np.any(periods):
        return values
    start = np.broadcast_to(reference, (*values.shape[:-2], 1, values.shape[-1]))
    steps = np.diff(np.concatenate([start, values], axis=-2), axis=-2)
    turns = np.cumsum(np.rint(steps / _divisor(periods)), axis=-2)
    return values - turns * np.asarray(periods, np.float64)


def circular_mean(values: np.ndarray, periods: Periods) -> np.ndarray:
    """The mean direction of values `[n, d]` in periodic dimensions; 0 elsewhere."""
    angles = values * (2 * np.pi / _divisor(periods))
    return np.arctan2(np.sin(angles).mean(axis=0), np.cos(angles).mean(axis=0)) / (2 * np.pi) * np.asarray(periods)


def mapped_periods(
    convert: Callable[[np.ndarray], np.ndarray], periods: np.ndarray, low: Sequence[float], high: Sequence[float]
) -> tuple[float, ...]:
    """Periods `[d]` in the units that `convert` gives for values between `low` and `high`.

    Raises:
        ValueError: in those units a turn is not the same shift of the same dimension everywhere.
    """
    places = np.array([low, np.add(low, high) / 2])[:, None]
    shifts = convert(places + np.diag(periods)) - convert(places)  # [2, d, d]
    lengths = np.diagonal(shifts[0])
    if not np.allclose(shifts, np.diag(lengths), rtol=1e-6, atol=1e-9) or ((lengths != 0) != (periods > 0)).any():
        raise ValueError(f"turns by {periods.tolist()} are no turns in canonical units, where they shift {shifts[0]}.")
    return tuple(np.abs(lengths).tolist())


def _divisor(periods: Periods) -> np.ndarray:
    periods = np.asarray(periods, np.float64)
    return np.where(periods > 0, periods, np.inf)
