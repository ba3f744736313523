"""Positions and motions of drawers' handles and stoves' knobs."""

from __future__ import annotations

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.targets import HANDLES, Target

TRAVEL_M = 0.168  # pulled this far, a drawer is at its stop (0.16 m); LIBERO counts it as open from 0.14 m on


class Handle:
    """A drawer's handle or a stove's knob.

    Args:
        environment: reset.
        owner: instance in the scene.
        part: see `targets.HANDLES`.

    Raises:
        ValueError: the owner has no such part.
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
        return self._on_body_m(self._body, np.array(self._offset_m))

    def out(self) -> np.ndarray:
        """Unit vector `[3]` out of a drawer's front, or along a knob's ridge: the body's -y."""
        out = self._on_body_m(self._body, np.array(self._offset_m) - [0, 0.1, 0]) - self.point_m()
        return out / np.linalg.norm(out)

    def turned_rad(self) -> float:
        """Rotation since the start, to the left seen from above; -pi..pi."""
        now, start = self.out(), self._start_out
        return float(np.arctan2(start[0] * now[1] - start[1] * now[0], start[:2] @ now[:2]))

    def opening_m(self) -> float:
        """Distance by which a drawer is open. The origin of a closed drawer's body is the cabinet's."""
        body_m, base_m = (self._on_body_m(body, np.zeros(3)) for body in (self._body, "base"))
        return float((body_m - base_m) @ self._start_out)

    def _on_body_m(self, body: str, offset_m: np.ndarray) -> np.ndarray:
        x, y, z = offset_m.tolist()
        target = Target(phrase="", owner=self._owner, body=f"{self._owner}_{body}", offset_m=(x, y, z))
        return self._environment.target_m(target)


def is_shut(environment: LiberoEnvironment, place: str) -> bool:
    """Whether the place is the inside of a drawer that is not open."""
    owner = environment.problem.owner(place)
    level = place.removeprefix(f"{owner}_").removesuffix("_region")
    if (environment.problem.categories.get(owner, ""), level) not in HANDLES:
        return False
    return Handle(environment, owner, level).opening_m() < TRAVEL_M / 2
