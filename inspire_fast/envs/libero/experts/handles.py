"""Drawers' handles and stoves' knobs: where they are, and how far they have moved."""

from __future__ import annotations

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.targets import HANDLES, Target

TRAVEL_M = 0.168  # pulled this far a drawer is at its stop, 0.16 m; it counts as open from 0.14 m on


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
    return Part(environment, owner, level).opening_m() < TRAVEL_M / 2
