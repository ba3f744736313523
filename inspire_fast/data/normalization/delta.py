"""Delta actions: chunks relative to the state at which they begin, and their inverse. Nothing is mutated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def delta_actions(actions: np.ndarray, state: np.ndarray, mask: Sequence[bool]) -> np.ndarray:
    """Subtracts the state from the masked dimensions (openpi's `DeltaActions`).

    Args:
        actions: `[..., t, a]`, in the state's units where masked.
        state: `[..., s]`, at the chunk's first moment.
        mask: True where a dimension becomes relative; dimensions past its end stay as they are.

    Returns:
        A new array `[..., t, a]` of the actions' type.

    Raises:
        ValueError: the mask names dimensions that the state or the actions lack, or the actions are no floats.
    """
    return (actions - _offset(actions, state, mask)).astype(actions.dtype)


def absolute_actions(actions: np.ndarray, state: np.ndarray, mask: Sequence[bool]) -> np.ndarray:
    """The inverse of `delta_actions`."""
    return (actions + _offset(actions, state, mask)).astype(actions.dtype)


def _offset(actions: np.ndarray, state: np.ndarray, mask: Sequence[bool]) -> np.ndarray:
    dims = len(mask)
    if dims > min(actions.shape[-1], state.shape[-1]):
        raise ValueError(
            f"A delta mask of {dims} dimensions needs as many in state and actions; they have {state.shape[-1]} and "
            f"{actions.shape[-1]}."
        )
    if not np.issubdtype(actions.dtype, np.floating):
        raise ValueError(
            f"A delta needs float actions; got {actions.dtype}, which would cut the state off at the point."
        )
    offset = np.zeros((*state.shape[:-1], 1, actions.shape[-1]), np.result_type(actions, state))
    offset[..., 0, :dims] = np.where(np.asarray(mask, bool), state[..., :dims], 0)
    return offset
