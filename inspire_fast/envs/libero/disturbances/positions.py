"""Disturbed positions: objects are moved from their places in the suite's initial states."""

from __future__ import annotations

from typing import Any

from inspire_fast.envs.libero.disturbances.base import Active, Scene
from inspire_fast.envs.libero.environment import SETTLE_ACTION

_SHIFT_M = 0.02  # per severity, at most, along x and y
_DRAWS = 20
_SETTLE_STEPS = 10
_TOUCH_M = 0.001  # a resting object touches its table this deep


def positions(scene: Scene) -> Active:
    """Moves each object along the table to a place where it touches nothing else, then lets all settle.

    An object stays in place if every drawn position is occupied, and if it is in or on another object.
    """
    environment = scene.environment
    sim = environment.simulator.sim
    for name in environment.movable:
        _move(scene, sim, name)
    for _ in range(_SETTLE_STEPS):
        environment.step(SETTLE_ACTION)
    return Active()  # the next reset sets every object anew


def _move(scene: Scene, sim: Any, name: str) -> None:
    thing = scene.environment.simulator.get_object(name)
    start, _ = sim.model.get_joint_qpos_addr(thing.joints[0])
    before = sim.data.qpos[start : start + 2].copy()
    touching = _touched(sim, thing)
    for _ in range(_DRAWS):
        shift = scene.severity * scene.rng.uniform(-_SHIFT_M, _SHIFT_M, size=2)
        sim.data.qpos[start : start + 2] = before + shift
        sim.forward()
        # It must touch the same bodies as before, and only the table or the floor.
        if _touched(sim, thing) == touching and all("table" in b or "floor" in b or b == "world" for b in touching):
            return
    sim.data.qpos[start : start + 2] = before
    sim.forward()


def _touched(sim: Any, thing: Any) -> set[str]:
    """Names of the bodies in contact with the thing's shapes."""
    mine = {sim.model.geom_name2id(name) for name in thing.contact_geoms}
    bodies = set()
    for contact in sim.data.contact[: sim.data.ncon]:
        pair = {int(contact.geom1), int(contact.geom2)}
        if contact.dist < _TOUCH_M and len(pair & mine) == 1:
            bodies.add(sim.model.body_id2name(sim.model.geom_bodyid[(pair - mine).pop()]))
    return bodies
