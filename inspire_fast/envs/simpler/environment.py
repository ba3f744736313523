"""SimplerEnv as an `Environment`: native observations and actions of `widowx_bridge` and `google_robot`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.envs.simpler.simulator import Reading, Simulator
from inspire_fast.envs.simpler.tasks import SimplerTask
from inspire_fast.robots import ROBOTS, google_robot, widowx_bridge
from inspire_fast.robots.google_robot import StickyGripper


class SimplerEnvironment:
    """One task of SimplerEnv. Stepping never renders; `observe()` does (ManiSkill 3).

    Episodes count through the placements: with 24 placements, episode 24 is the first one again.

    Args:
        task: names the robot.
        simulator: of that task.
        sticky_steps: steps for which a Google Robot's gripper repeats a change; see `StickyGripper`.

    Raises:
        ValueError: a robot that SimplerEnv does not have, or a Google Robot without `sticky_steps`.
    """

    def __init__(self, task: SimplerTask, simulator: Simulator, *, sticky_steps: int = 0) -> None:
        if task.robot not in ("widowx_bridge", "google_robot"):
            raise ValueError(f"SimplerEnv has the robots 'widowx_bridge' and 'google_robot'; got {task.robot!r}.")
        self.task, self.robot, self.simulator = task, ROBOTS[task.robot], simulator
        self._sticky_steps = sticky_steps
        self._sticky = self._new_gripper()

    def _new_gripper(self) -> StickyGripper | None:
        return StickyGripper(self._sticky_steps) if self.task.robot == "google_robot" else None

    @property
    def prompt(self) -> str:
        """The instruction."""
        return self.simulator.prompt

    @property
    def success(self) -> bool:
        """The goal holds after the last step (or after the reset)."""
        return self.simulator.success

    def reset(self, episode: int) -> None:
        """Starts an episode.

        Raises:
            ValueError: `episode` is negative.
        """
        if episode < 0:
            raise ValueError(f"{self.task.name}: episodes count from 0; got {episode}.")
        self._sticky = self._new_gripper()
        self.simulator.reset(episode % self.task.placements)

    def observe(self) -> Mapping[str, Any]:
        """Renders, and returns the native observation; the picture has the simulator's size."""
        reading = self.simulator.read()
        (camera,) = self.robot.cameras
        return {camera: reading.image, "observation/state": self._state(reading), "prompt": self.prompt}

    def _state(self, reading: Reading) -> np.ndarray:
        robot = google_robot if self.task.robot == "google_robot" else widowx_bridge
        return robot.state_of_pose(reading.position_m, reading.quaternion, reading.gripper_open)

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes one native action and returns it within the robot's limits."""
        sent = self.robot.limited(np.asarray(action))
        if self._sticky is None:
            command = widowx_bridge.controller_action(sent)
        else:
            command = google_robot.controller_action(sent, self._sticky.next(float(sent[6])))
        self.simulator.step(command.astype(np.float32))
        return sent

    def facts(self) -> SceneFacts | None:
        """The simulator's truth about the instruction's things; see `ManiSkill3.facts`."""
        return self.simulator.facts()

    def close(self) -> None:
        """Frees the simulator. Calling it twice is harmless."""
        self.simulator.close()
