"""Normaliser of states and actions: canonical units to the network's numbers and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from inspire_fast.core.registry import require_choice
from inspire_fast.data.normalization.delta import Mask, absolute_actions, delta_actions
from inspire_fast.data.normalization.stats import (
    NormStats,
    normalize_quantile,
    normalize_zscore,
    unnormalize_quantile,
    unnormalize_zscore,
)
from inspire_fast.robots.periodic import continued, nearest

Normalisation = Literal["quantile", "zscore"]
_KINDS = {
    "quantile": (normalize_quantile, unnormalize_quantile),
    "zscore": (normalize_zscore, unnormalize_zscore),
}


@dataclass(frozen=True, kw_only=True)
class Normalizer:
    """Delta actions and normalisation, with their inverse.

    Attributes:
        stats: of `state` and `actions` (of the delta actions, where there are any), canonical units.
        kind: pi0-FAST is trained with quantiles.
        delta: action dimensions that are trained relative to the state of the chunk's first moment, True per dimension
            (openpi's delta mask), or the period of an angle; dimensions past its end are absolute. Empty: none.
        periods: of `state` and `actions`, per dimension, canonical units; 0 on a line (`Robot.canonical_periods`). An
            absolute angle is read as the one nearest its mean, so that its circle is cut where no data are. Empty: all
            are on a line.
    """

    stats: Mapping[str, NormStats]
    kind: Normalisation = "quantile"
    delta: tuple[bool | float, ...] = ()
    periods: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])

    def __post_init__(self) -> None:
        require_choice("normalisation", self.kind, Normalisation)
        if missing := {"state", "actions"} - set(self.stats):
            raise ValueError(f"Statistics of {sorted(missing)} are missing; there are {sorted(self.stats)}.")
        for name, periods in self.periods.items():
            if name not in self.stats or len(periods) != len(self.stats[name]):
                raise ValueError(f"Periods of {name!r} are one per dimension of its statistics; got {periods}.")

    def state(self, state: np.ndarray) -> np.ndarray:
        """Canonical state `[..., s]` -> normalised."""
        stats = self.stats["state"]
        return _KINDS[self.kind][0](nearest(state, stats.mean, self.periods.get("state", ())), stats)

    def noisy_state(self, state: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Normalised state `[..., s]` with noise in its own unit; an angle that leaves its circle comes in again."""
        periods = np.asarray(self.periods.get("state", ()))
        if not periods.any():
            return state + noise
        scale, stats = _KINDS[self.kind][0], self.stats["state"]
        middle = scale(stats.mean, stats)
        return nearest(state + noise, middle, scale(stats.mean + periods, stats) - middle)

    def actions(self, actions: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Canonical actions `[..., t, a]` and the state `[..., s]` at the chunk's beginning -> normalised."""
        stats = self.stats["actions"]
        relative = delta_actions(actions, state, self.delta)
        absolute = absolute_periods(self.periods.get("actions", ()), self.delta)
        return _KINDS[self.kind][0](continued(relative, stats.mean, absolute), stats)

    def canonical_actions(self, normalised: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The inverse of `actions`; `state` is the canonical one, not the normalised."""
        return absolute_actions(_KINDS[self.kind][1](normalised, self.stats["actions"]), state, self.delta)


def absolute_periods(periods: Sequence[float], delta: Mask) -> np.ndarray:
    """Periods of the action dimensions that are angles and not relative to the state; 0 elsewhere."""
    relative = np.zeros(len(periods), bool)
    relative[: len(delta)] = np.asarray(delta[: len(periods)], bool)
    return np.where(relative, 0.0, periods)
