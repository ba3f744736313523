"""LIBERO's own environment of a task: made without cameras, and placed anew. Private to `libero.LiberoEnvironment`.

What robosuite and LIBERO do by default and an evaluation does not want is turned off here, and nowhere else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from inspire_fast.envs.libero.install import import_simulator
from inspire_fast.envs.libero.seeding import seeded
from inspire_fast.envs.libero.suites import Task

PLACEMENT_ATTEMPTS = 100


def make_domain(task: Task, *, seed: int) -> Any:
    """The simulator of a task (LIBERO calls it a problem domain), never rendering; takes seconds.

    Raises:
        ImportError: the simulator is not installed; says how to.
    """
    wrapper = import_simulator()
    with seeded([seed]):
        control = wrapper.ControlEnv(
            bddl_file_name=str(task.bddl_file),
            use_camera_obs=False,
            has_offscreen_renderer=False,
            ignore_done=True,  # else robosuite raises after 1000 steps; the caller owns the step limit
        )
    domain = control.env
    domain.hard_reset = False  # a hard reset compiles the model anew, which takes seconds and changes nothing
    # robosuite's observables are computed at every physics step (25 per action); what is needed is read instead.
    domain._observables = {}
    return domain


def draw_placement(domain: Any, name: str) -> None:
    """One placement of everything, from numpy's global generator.

    Args:
        domain: see `make_domain`.
        name: the task's, for the error.

    Raises:
        RuntimeError: the task's regions are too full.
    """
    from robosuite.utils.errors import RandomizationError

    for _ in range(PLACEMENT_ATTEMPTS):
        # robosuite forgets to put the fingers' command back, which would carry the last episode's grip into this one.
        domain.robots[0].gripper.current_action = np.zeros(domain.robots[0].gripper.dof)
        try:
            domain.reset()
            return
        except RandomizationError:  # the regions happened to be too full: draw on
            continue
    raise RuntimeError(f"{name}: no placement without collision in {PLACEMENT_ATTEMPTS} attempts.")
