"""Opening and closing drawers by their handles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inspire_fast.envs.libero.experts.controller import CLOSED, KEPT, OPEN, HandController, raised
from inspire_fast.envs.libero.experts.handles import TRAVEL_M, Handle
from inspire_fast.envs.libero.experts.height_map import table_height_m

_PULL_TILT_RAD = 1.3  # with upright fingers the palm meets the cabinet, and no finger fits between handle and drawer
_PUSH_TILT_RAD = 0.8
# Steps of closing, 0.01 m each, after which the open fingers pass a handle (0.016 m) and clear its drawer's front.
_STRADDLE_STEPS = 4
_SETTLE_STEPS = 6  # until the fingers, which lag their command, stop
_AWAY_M = 0.07  # the hand comes to rest this far above and outside a handle before it goes there
_BESIDE_M = 0.06  # the hand goes down this far outside an open drawer's handle to push it
_SHUT_M = -0.005  # past its closed position, where a drawer has 0.01 m of room left
_PUSH_M = 0.3
_LOW_M, _LOW_TILT_RAD = 0.08, 0.5  # a handle this near to the table is pushed with a hand turned and leaning less
_UP = np.array([0.0, 0.0, 1.0])


def open_drawer(hand: HandController, handle: Handle, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Leans, puts the fingers around the handle from outside and above, grips, pulls, lets go."""
    # Approach along the fingers, so that the handle comes in between them.
    away_m = _AWAY_M * (np.sin(_PULL_TILT_RAD) * handle.out() + np.cos(_PULL_TILT_RAD) * _UP)
    outside = handle.point_m() + away_m
    hand.tilt_rad = -float(np.sign(handle.out()[1])) * _PULL_TILT_RAD
    yield from hand.move(outside + jitter, OPEN, tolerance_m=0.02)
    yield from hand.hold(OPEN, steps=30, until=hand.leans)
    yield from hand.hold(CLOSED, steps=_STRADDLE_STEPS)
    yield from hand.hold(KEPT, steps=_SETTLE_STEPS)
    yield from hand.move(outside, KEPT, tolerance_m=0.008, exact=True)
    yield from hand.move(handle.point_m, KEPT, tolerance_m=0.006, exact=True, steps=50)
    yield from hand.hold(CLOSED, steps=10, until=hand.still, at_least=4)
    pulled = hand.environment.gripper_m() + handle.out() * (TRAVEL_M - handle.opening_m())
    yield from hand.move(pulled, CLOSED, tolerance_m=0.005, exact=True)
    yield from hand.hold(OPEN, steps=8)
    yield from _retreat(hand, away_m, OPEN)


def close_drawer(hand: HandController, handle: Handle, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Leans, goes down outside the handle and pushes it with closed fingers."""
    beside = handle.point_m() + handle.out() * _BESIDE_M
    above = raised(beside, _AWAY_M)
    low = handle.point_m()[2] - table_height_m(hand.environment) < _LOW_M
    if low:  # the palm's narrow side towards the table
        hand.yaw_rad = np.pi / 2
        yield from hand.move(raised(above, 0.1) + jitter, CLOSED, tolerance_m=0.03)
        hand.yaw_rad = None
    hand.tilt_rad = -float(np.sign(handle.out()[1])) * (_LOW_TILT_RAD if low else _PUSH_TILT_RAD)
    yield from hand.move(above + jitter, CLOSED, tolerance_m=0.02)
    yield from hand.hold(CLOSED, steps=30, until=hand.leans)
    yield from hand.move(beside, CLOSED, tolerance_m=0.012, exact=True)
    through = beside - handle.out() * _PUSH_M
    for action in hand.move(through, CLOSED, tolerance_m=0.005, exact=True, steps=80):
        if handle.opening_m() < _SHUT_M:
            break
        yield action
    yield from _retreat(hand, (handle.out() + _UP) * _AWAY_M, CLOSED)
    if low:
        hand.yaw_rad = 0.0
        yield from hand.hold(OPEN, steps=30, until=hand.faces)


def _retreat(hand: HandController, away_m: np.ndarray, gripper: float) -> Iterator[np.ndarray]:
    """Moves off the handle, then upright."""
    goal = hand.environment.gripper_m() + away_m
    yield from hand.move(goal, gripper, tolerance_m=0.02)
    yield from hand.upright(OPEN)
