"""Motions on things that stay where they are and move in themselves: drawers, and a stove's knob."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inspire_fast.envs.doors import close_door, open_door
from inspire_fast.envs.hand import CLOSED, KEPT, OPEN, Hand, Variation, raised
from inspire_fast.envs.libero import LiberoEnvironment
from inspire_fast.envs.shapes import surface_m
from inspire_fast.envs.targets import HANDLES, Target

_PULL_TILT_RAD = 1.3  # with upright fingers the palm meets the cabinet, and no finger fits behind a handle
_PUSH_TILT_RAD = 0.8
_STRADDLE_STEPS = (
    4  # of closing (0.01 m each), after which the fingers pass a handle (0.016 m) and clear its drawer's front
)
_SETTLE_STEPS = 6  # until the fingers, which lag behind their command, stand still
_AWAY_M = 0.07  # how far above and outside a handle the hand comes to rest before it goes there
_BESIDE_M = 0.06  # how far outside an open drawer's handle the hand goes down to push it
_TRAVEL_M = 0.168  # pulled this far a drawer is at its stop, 0.16 m; it counts as open from 0.14 m on
_SHUT_M = -0.005  # past its closed position, where a drawer has 0.01 m of room left
_PUSH_M = 0.3
_LOW_M, _LOW_TILT_RAD = 0.08, 0.5  # a handle this close to the table is pushed with a hand turned and leaning less
_KNOB_M = 0.008  # grip height above a knob's middle: the finger tips stay clear of its disc
_TURN_RAD = 0.8  # a stove is on from 0.5 rad
_TURN_RATE = 0.5  # in action units
_UP = np.array([0.0, 0.0, 1.0])


class Part:
    """A drawer's handle or a stove's knob: where it is, which way is out, and how far it has moved.

    Args:
        environment: reset.
        owner: instance in the scene.
        part: see `targets.HANDLES`.

    Raises:
        ValueError: no such part is known.
    """

    def __init__(self, environment: LiberoEnvironment, owner: str, part: str) -> None:
        category = environment.problem.categories.get(owner, "")
        if (category, part) not in HANDLES:
            raise ValueError(f"No handle is known for {part!r} of {owner!r} ({category!r}); known: {sorted(HANDLES)}.")
        self._environment, self._owner = environment, owner
        self._body, self._offset_m = HANDLES[category, part]
        self._start_out = self.out()

    def point_m(self) -> np.ndarray:
        """The handle's middle, world frame, metres `[3]`."""
        return self._point_m(np.zeros(3))

    def out(self) -> np.ndarray:
        """Unit vector `[3]` out of a drawer's front, or along a knob's ridge: the body's -y."""
        out = self._point_m(np.array([0, -0.1, 0])) - self.point_m()
        return out / np.linalg.norm(out)

    def turned_rad(self) -> float:
        """By how much it has turned to the left, seen from above, since the start; -pi..pi."""
        now, start = self.out(), self._start_out
        return float(np.arctan2(start[0] * now[1] - start[1] * now[0], start[:2] @ now[:2]))

    def opening_m(self) -> float:
        """How far a drawer stands open. Where it is shut, its body's origin is the cabinet's."""
        origins = [Target(phrase="", owner=self._owner, body=f"{self._owner}_{body}") for body in (self._body, "base")]
        body_m, base_m = (self._environment.target_m(origin) for origin in origins)
        return float((body_m - base_m) @ self._start_out)

    def _point_m(self, aside_m: np.ndarray) -> np.ndarray:
        x, y, z = (float(v) for v in np.array(self._offset_m) + aside_m)
        body = f"{self._owner}_{self._body}"
        return self._environment.target_m(Target(phrase="", owner=self._owner, body=body, offset_m=(x, y, z)))


def is_shut(environment: LiberoEnvironment, place: str) -> bool:
    """The place is a drawer's inside, and the drawer is not open."""
    owner = environment.problem.owner(place)
    level = place.removeprefix(f"{owner}_").removesuffix("_region")
    if (environment.problem.categories.get(owner, ""), level) not in HANDLES:
        return False
    return Part(environment, owner, level).opening_m() < _TRAVEL_M / 2


def articulate(
    environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation, verb: str, name: str
) -> Iterator[np.ndarray]:
    """Carries out one of the goal's predicates: opens or closes a drawer, or turns a stove on.

    Args:
        environment: reset; the hand is upright.
        rng: decides the variation.
        variation: see `Variation`.
        verb: `open`, `close` or `turnon`.
        name: the drawer's region or the stove, as the goal names it.

    Yields:
        Native actions, float32 `[7]`. At their end the hand is upright again, above what it handled.

    Raises:
        ValueError: another verb, or a thing whose handle is not known.
    """
    if verb not in MOTIONS:
        raise ValueError(f"The goal ({verb!r}, {name!r}) is none of {sorted(MOTIONS)}.")
    owner = environment.problem.owner(name)
    jitter = rng.uniform([-1, -1, 0], 1) * variation.approach_m
    if environment.problem.categories.get(owner) == "microwave":
        yield from DOORS[verb](environment, Hand(environment, rng, variation), owner, jitter)
        return
    if verb in ("turnon", "turnoff"):
        part = Part(environment, owner, "button")
    else:
        part = Part(environment, owner, name.removeprefix(f"{owner}_").removesuffix("_region"))
        if abs(part.out()[1]) < 0.9:  # the hand leans about the world's x axis, and does not turn
            raise ValueError(
                f"{name!r} opens along {part.out().round(2)}; this expert reaches drawers along the y axis."
            )
    hand = Hand(environment, rng, variation)
    yield from MOTIONS[verb](environment, hand, part, jitter)


def _open_drawer(environment: LiberoEnvironment, hand: Hand, part: Part, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Leans, straddles the handle from outside and above, grips it, pulls, lets go."""
    # Along the fingers, so that the handle comes in between them.
    away_m = _AWAY_M * (np.sin(_PULL_TILT_RAD) * part.out() + np.cos(_PULL_TILT_RAD) * _UP)
    outside = part.point_m() + away_m
    hand.tilt_rad = -float(np.sign(part.out()[1])) * _PULL_TILT_RAD
    yield from hand.move(lambda: outside + jitter, OPEN, tolerance_m=0.02)
    yield from hand.hold(OPEN, steps=30, until=hand.leans)
    yield from hand.hold(CLOSED, steps=_STRADDLE_STEPS)
    yield from hand.hold(KEPT, steps=_SETTLE_STEPS)
    yield from hand.move(lambda: outside, KEPT, tolerance_m=0.008, exact=True)
    yield from hand.move(part.point_m, KEPT, tolerance_m=0.006, exact=True, steps=50)
    yield from hand.hold(CLOSED, steps=10, until=hand.still, at_least=4)
    pulled = environment.gripper_m() + part.out() * (_TRAVEL_M - part.opening_m())
    yield from hand.move(lambda: pulled, CLOSED, tolerance_m=0.005, exact=True)
    yield from hand.hold(OPEN, steps=8)
    yield from _retreat(environment, hand, away_m, OPEN)


def _close_drawer(environment: LiberoEnvironment, hand: Hand, part: Part, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Leans, goes down outside the handle and pushes it with closed fingers."""
    beside = part.point_m() + part.out() * _BESIDE_M
    above = raised(beside, _AWAY_M)
    low = part.point_m()[2] - surface_m(environment) < _LOW_M
    if low:  # the palm's narrow side towards the table
        hand.yaw_rad = np.pi / 2
        yield from hand.move(lambda: raised(above, 0.1) + jitter, CLOSED, tolerance_m=0.03)
        hand.yaw_rad = None
    hand.tilt_rad = -float(np.sign(part.out()[1])) * (_LOW_TILT_RAD if low else _PUSH_TILT_RAD)
    yield from hand.move(lambda: above + jitter, CLOSED, tolerance_m=0.02)
    yield from hand.hold(CLOSED, steps=30, until=hand.leans)
    yield from hand.move(lambda: beside, CLOSED, tolerance_m=0.012, exact=True)
    through = beside - part.out() * _PUSH_M
    for action in hand.move(lambda: through, CLOSED, tolerance_m=0.005, exact=True, steps=80):
        if part.opening_m() < _SHUT_M:
            break
        yield action
    yield from _retreat(environment, hand, (part.out() + _UP) * _AWAY_M, CLOSED)
    if low:
        hand.yaw_rad = 0.0
        yield from hand.hold(OPEN, steps=30, until=hand.faces)


def _turn_on(environment: LiberoEnvironment, hand: Hand, part: Part, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Turns the knob to the left."""
    yield from _turn(environment, hand, part, jitter, 1.0, lambda: part.turned_rad() > _TURN_RAD)


def _turn_off(environment: LiberoEnvironment, hand: Hand, part: Part, jitter: np.ndarray) -> Iterator[np.ndarray]:
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
    yield from _retreat(environment, hand, _UP * _AWAY_M, OPEN)
    hand.yaw_rad = upright
    yield from hand.hold(OPEN, steps=40, until=hand.faces)


def _retreat(environment: LiberoEnvironment, hand: Hand, away_m: np.ndarray, gripper: float) -> Iterator[np.ndarray]:
    """Off the thing, and upright."""
    goal = environment.gripper_m() + away_m
    yield from hand.move(lambda: goal, gripper, tolerance_m=0.02)
    if hand.tilt_rad is not None:
        yield from hand.upright(OPEN)


MOTIONS = {"open": _open_drawer, "close": _close_drawer, "turnon": _turn_on, "turnoff": _turn_off}
DOORS = {"open": open_door, "close": close_door}
