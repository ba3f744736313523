"""Ensemble of overlapping chunks: every step asks, and the mean of what all recent chunks say of it is executed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from inspire_fast.core.episode import Infer
from inspire_fast.core.types import ActionChunk


def cosine_weighted(predictions: np.ndarray, alpha: float) -> np.ndarray:
    """Mean of predictions of one action `[n, a]`, the newest last, weighted by `exp(alpha * cosine to the newest)`.

    "Adaptive action ensemble" of CogACT (arXiv 2411.19650), as the SimplerEnv clients of several policies have it: in
    native units, the gripper included.
    """
    newest = predictions[-1]
    lengths = np.linalg.norm(predictions, axis=1) * np.linalg.norm(newest)
    weights = np.exp(alpha * (predictions @ newest) / (lengths + 1e-7))
    return weights / weights.sum() @ predictions


class CosineEnsemble:
    """Wraps one episode's `infer` so that each reply is a chunk of one action; see `cosine_weighted`.

        step              0    1    2    3
        chunk of step 0   a0   a1   a2   a3
        chunk of step 1        b0   b1   b2
        chunk of step 2             c0   c1     with `horizon` 2, step 2 is a mean of b1 and c0

    A held chunk is passed on, and what was said before it is forgotten.

    Args:
        infer: of the policy.
        horizon: chunks that are remembered.
        alpha: see `cosine_weighted`.
    """

    def __init__(self, infer: Infer, *, horizon: int, alpha: float) -> None:
        self._infer, self._alpha = infer, alpha
        self._chunks: deque[np.ndarray] = deque(maxlen=horizon)

    def __call__(self, observation: Mapping[str, Any]) -> ActionChunk:
        """The policy's reply with the ensemble's action `[1, a]`."""
        chunk = self._infer(observation)
        if chunk.actions is None:
            self._chunks.clear()
            return chunk
        self._chunks.append(np.asarray(chunk.actions, np.float64))
        ages = range(len(self._chunks) - 1, -1, -1)
        said = [actions[age] for age, actions in zip(ages, self._chunks, strict=True) if age < len(actions)]
        return replace(chunk, actions=cosine_weighted(np.array(said), self._alpha)[None].astype(np.float32))
