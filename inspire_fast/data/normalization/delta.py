"""Chunks of actions as arrays: relative to the state they begin at and back, masks of dimensions, padding. Nothing is mutated."""

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


def make_bool_mask(*dims: int) -> tuple[bool, ...]:
    """Runs of True and, for negative numbers, of False: `make_bool_mask(2, -1) == (True, True, False)`."""
    return tuple(n > 0 for n in dims for _ in range(abs(n)))


def pad_to_dim(x: np.ndarray, target_dim: int, axis: int = -1, value: float = 0.0) -> np.ndarray:
    """Fills one axis up to `target_dim` at its end; an axis that is as long already, or longer, stays as it is."""
    missing = max(0, target_dim - x.shape[axis])
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, missing)
    return np.pad(x, widths, constant_values=value)
