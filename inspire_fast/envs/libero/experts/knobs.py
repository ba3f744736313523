"""Turning a stove's knob on and off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inspire_fast.envs.libero.experts.controller import CLOSED, OPEN, HandController, raised
from inspire_fast.envs.libero.experts.grasps import half_turn
from inspire_fast.envs.libero.experts.handles import Handle

_AWAY_M = 0.07  # the hand comes to rest this far above the knob before it goes there
_KNOB_M = 0.008  # grip height above the knob's middle: the finger tips stay clear of its disc
_TURN_RAD = 0.8  # a stove is on from 0.5 rad
_TURN_RATE = 0.5  # in action units


def turn_on(hand: HandController, handle: Handle, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Turns the knob to the left."""
    yield from _turn(hand, handle, jitter, _TURN_RATE, lambda: handle.turned_rad() > _TURN_RAD)


def turn_off(hand: HandController, handle: Handle, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Turns the knob to the right, as far as it goes."""
    before = hand.environment.unmet()
    yield from _turn(hand, handle, jitter, -_TURN_RATE, lambda: len(hand.environment.unmet()) < len(before))


def _turn(
    hand: HandController,
    handle: Handle,
    jitter: np.ndarray,
    rate: float,
    done: Callable[[], bool],
) -> Iterator[np.ndarray]:
    """Goes down over the knob with the fingers across its ridge, grips, turns, lets go, turns the hand back."""
    upright = hand.heading_rad()
    along = handle.out()
    hand.yaw_rad = half_turn(np.arctan2(along[1], along[0]))
    above = raised(handle.point_m(), _AWAY_M)
    yield from hand.move(above + jitter, OPEN, tolerance_m=0.02)
    yield from hand.grip(raised(handle.point_m(), _KNOB_M), steps=10, at_least=4)
    hand.yaw_rad = None
    yield from hand.turn(rate, CLOSED, steps=60, until=done)
    yield from hand.let_go(_AWAY_M)
    hand.yaw_rad = upright
    yield from hand.hold(OPEN, steps=40, until=hand.faces)
