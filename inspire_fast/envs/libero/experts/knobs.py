"""A stove's knob, turned on and off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import CLOSED, OPEN, Hand, raised
from inspire_fast.envs.libero.experts.handles import Part

_AWAY_M = 0.07  # how far above and outside a handle the hand comes to rest before it goes there
_KNOB_M = 0.008  # grip height above a knob's middle: the finger tips stay clear of its disc
_TURN_RAD = 0.8  # a stove is on from 0.5 rad
_TURN_RATE = 0.5  # in action units


def turn_on(environment: LiberoEnvironment, hand: Hand, part: Part, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Turns the knob to the left."""
    yield from _turn(environment, hand, part, jitter, 1.0, lambda: part.turned_rad() > _TURN_RAD)


def turn_off(environment: LiberoEnvironment, hand: Hand, part: Part, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Turns the knob to the right, as far as it goes."""
    before = environment.unmet()
    yield from _turn(environment, hand, part, jitter, -1.0, lambda: len(environment.unmet()) < len(before))


def _turn(
    environment: LiberoEnvironment,
    hand: Hand,
    part: Part,
    jitter: np.ndarray,
    way: float,
    turned: Callable[[], bool],
) -> Iterator[np.ndarray]:
    """Goes down over the knob's ridge, which the fingers meet across, grips it, turns, lets go, turns back."""
    upright = hand.heading_rad()
    along = np.arctan2(part.out()[1], part.out()[0])
    hand.yaw_rad = float((along + np.pi / 2) % np.pi - np.pi / 2)
    above = raised(part.point_m(), _AWAY_M)
    yield from hand.move(lambda: above + jitter, OPEN, tolerance_m=0.02)
    grip = raised(part.point_m(), _KNOB_M)
    yield from hand.move(lambda: grip, OPEN, tolerance_m=0.006, exact=True, steps=50)
    yield from hand.hold(CLOSED, steps=10, until=hand.still, at_least=4)
    hand.yaw_rad = None
    yield from hand.turn(way * _TURN_RATE, CLOSED, steps=60, until=turned)
    yield from hand.hold(OPEN, steps=8)
    up = raised(environment.gripper_m(), _AWAY_M)
    yield from hand.move(lambda: up, OPEN, tolerance_m=0.02)
    hand.yaw_rad = upright
    yield from hand.hold(OPEN, steps=40, until=hand.faces)
