"""Disturbances of demonstrations: what is executed differs from the expert's actions, which correct it (DART).

A policy that imitates never sees its own faults in demonstrations of an expert that makes none. Recorded are the
expert's own actions from disturbed states, so that states off the path come with the way back (Laskey et al. 2017).
"""

from __future__ import annotations

import math

import numpy as np

from inspire_fast.envs.libero.experts.controller import CLOSED, OPEN
from inspire_fast.robots.libero import LIBERO

_KEPT = 0.8  # of the noise of one step in the next: correlated over about five steps
_FIRST_STEPS, _LAST_STEPS = (6, 30), (6, 16)  # of an early closing: when it begins, how long it lasts
_DRIFT = 0.5  # largest speed of the closed hand, action units


class DisturbedExecution:
    """Executed actions of one demonstration.

    Args:
        noise: standard deviation of the noise on translations, action units; see `RecordSpec.execution_noise`.
        early_closing: probability of one early closing; see `RecordSpec.early_closing`.
        rng: draws both.
    """

    def __init__(self, noise: float, early_closing: float, rng: np.random.Generator) -> None:
        self._deviation, self._rng = noise, rng
        self._noise = np.zeros(3)
        begin = int(rng.integers(*_FIRST_STEPS)) if rng.uniform() < early_closing else -1
        self._closing = range(begin, begin + int(rng.integers(*_LAST_STEPS))) if begin >= 0 else range(0)
        self._drift = rng.uniform((-_DRIFT, -_DRIFT, 0), _DRIFT)
        self._step = 0

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """The expert's native action `[7]` -> the one to execute."""
        self._noise = _KEPT * self._noise + math.sqrt(1 - _KEPT**2) * self._deviation * self._rng.normal(size=3)
        executed = action + np.concatenate([self._noise, np.zeros(LIBERO.action_dim - 3)])
        if self._step == self._closing.start and action[-1] != OPEN:
            self._closing = range(0)  # the expert closes already: nothing to disturb
        if self._step in self._closing:
            executed[:3], executed[-1] = self._drift, CLOSED
        self._step += 1
        return executed
