"""Normaliser of states and actions: canonical units to the network's numbers and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inspire_fast.core.registry import require_choice
from inspire_fast.data.normalization.delta import absolute_actions, delta_actions
from inspire_fast.data.normalization.stats import (
    NormStats,
    normalize_quantile,
    normalize_zscore,
    unnormalize_quantile,
    unnormalize_zscore,
)

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
            (openpi's delta mask); dimensions past its end are absolute. Empty: none.
    """

    stats: Mapping[str, NormStats]
    kind: Normalisation = "quantile"
    delta: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        require_choice("normalisation", self.kind, Normalisation)
        if missing := {"state", "actions"} - set(self.stats):
            raise ValueError(f"Statistics of {sorted(missing)} are missing; there are {sorted(self.stats)}.")

    def state(self, state: np.ndarray) -> np.ndarray:
        """Canonical state `[..., s]` -> normalised."""
        return _KINDS[self.kind][0](state, self.stats["state"])

    def actions(self, actions: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Canonical actions `[..., t, a]` and the state `[..., s]` at the chunk's beginning -> normalised."""
        return _KINDS[self.kind][0](delta_actions(actions, state, self.delta), self.stats["actions"])

    def canonical_actions(self, normalised: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The inverse of `actions`; `state` is the canonical one, not the normalised."""
        return absolute_actions(_KINDS[self.kind][1](normalised, self.stats["actions"]), state, self.delta)
