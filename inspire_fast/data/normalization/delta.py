"""Delta actions: chunks relative to the state at which they begin, and their inverse. Nothing is mutated.

A mask says per action dimension: False, it stays absolute; True, it becomes relative; a number, it becomes relative on
a circle of that length, in the actions' unit (`Robot.relative`). 179 degrees -> -179 degrees is then a turn by 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inspire_fast.robots.periodic import continued

Mask = Sequence[bool | float]


def delta_actions(actions: np.ndarray, state: np.ndarray, mask: Mask) -> np.ndarray:
    """Subtracts the state from the masked dimensions (openpi's `DeltaActions`), angles along the path without jumps.

    Args:
        actions: `[..., t, a]`, in the state's units where masked.
        state: `[..., s]`, at the chunk's first moment.
        mask: see above; dimensions past its end stay as they are.

    Returns:
        A new array `[..., t, a]` of the actions' type.

    Raises:
        ValueError: the mask names dimensions that the state or the actions lack, or the actions are no floats.
    """
    offset = _offset(actions, state, mask)
    return (continued(actions, offset, mask_periods(mask, actions.shape[-1])) - offset).astype(actions.dtype)


def mask_periods(mask: Mask, dims: int) -> np.ndarray:
    """Period of each of `dims` action dimensions; 0 where the mask names none."""
    periods = np.zeros(dims)
    periods[: len(mask)] = [0.0 if isinstance(entry, bool | np.bool_) else float(entry) for entry in mask]
    return periods


def absolute_actions(actions: np.ndarray, state: np.ndarray, mask: Mask) -> np.ndarray:
    """The inverse of `delta_actions`, up to whole turns; `Robot.limited` brings them back."""
    return (actions + _offset(actions, state, mask)).astype(actions.dtype)


def _offset(actions: np.ndarray, state: np.ndarray, mask: Mask) -> np.ndarray:
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
