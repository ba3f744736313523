"""Google Robot tasks in ManiSkill 2 (`ManiSkill2_real2sim`), as SimplerEnv's own loop drives them.

This package does not make that simulator: it is in no package registry. Whoever has it hands over what
`simpler_env.make` returns. The end effector is read where the forks of SimplerEnv for policies with a state put it
(`agent/eef_pos`: x, y, z in metres, quaternion w x y z, both in the base's frame, opening of the gripper 0..1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.envs.simpler.simulator import Reading, value

CAMERA = "overhead_camera"


class ManiSkill2:
    """One task of Google Robot.

    Args:
        environment: gymnasium environment of SimplerEnv.
        camera: of the observation.

    Raises:
        ValueError: (when it is read) an observation without camera or end effector; names what it has.
    """

    def __init__(self, environment: Any, camera: str = CAMERA) -> None:
        self._environment, self._camera = environment, camera
        self._observation: Mapping[str, Any] = {}
        self._success = False
        self._is_open = True

    @property
    def prompt(self) -> str:
        """The instruction; some of it is drawn with the placement."""
        return str(self._environment.unwrapped.get_language_instruction())

    @property
    def success(self) -> bool:
        """The goal holds after the last step."""
        return self._success

    def reset(self, placement: int) -> None:
        """Starts an episode."""
        options = {"obj_init_options": {"episode_id": placement}}
        self._observation, _ = self._environment.reset(options=options)
        self._success = False

    def step(self, action: np.ndarray) -> None:
        """Executes one action of the controller, `[7]`."""
        self._observation, _, done, _, _ = self._environment.step(action)
        self._success = bool(done)

    def read(self) -> Reading:
        """The picture and the arm."""
        image = value(self._observation, f"image/{self._camera}/rgb", batched=False)
        arm = value(self._observation, "agent/eef_pos", batched=False)
        if arm.shape != (8,):
            raise ValueError(f"agent/eef_pos must hold x y z, a quaternion w x y z, the opening; got {arm.shape}.")
        return Reading(image=image[..., :3], position_m=arm[:3], quaternion=arm[3:7], gripper_open=float(arm[7]))

    def facts(self) -> SceneFacts | None:
        """None: this simulator is not asked for its truth."""
        return None

    def close(self) -> None:
        """Frees the simulator. Calling it twice is harmless."""
        if self._is_open:
            self._environment.close()
        self._is_open = False
