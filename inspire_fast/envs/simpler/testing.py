"""Fake simulators of SimplerEnv with the observation layout of the real ones, for tests without ManiSkill.

A hand follows its commands exactly, closed near an object it carries it, and an object that was let go of above the
target is on it. Pictures are grey with a coloured disc per object, projected as in the real scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from inspire_fast.envs.simpler.maniskill3 import CAMERA, project
from inspire_fast.envs.simpler.tasks import SimplerTask
from inspire_fast.robots.rotations import matrix_from_quaternion

# As ManiSkill 3.0.1 has them at the start of an episode.
START_QPOS = (-0.01840777, 0.0398835, 0.22242722, -0.00460194, 1.36524296, 0.00153398, 0.037, 0.037)
_BASE_M, _BASE_Q = np.array([0.147, 0.028, 0.870]), np.array([0.0, 0.0, 0.0, 1.0])
_HAND_M, _HAND_Q = np.array([0.2920694, -0.0060915, 0.1353209]), np.array([0.6867121, 0.0052571, 0.7268656, -0.0080838])
_EXTRINSIC = np.array(
    [
        [-0.48393306, 0.87510502, 0.0, -0.09338167],
        [0.60255766, 0.33321434, -0.72518444, 0.74075687],
        [-0.63461256, -0.35094082, -0.68854231, 1.00617240],
    ]
)
_INTRINSIC = np.array([[623.588, 0, 319.501], [0, 623.588, 239.545], [0, 0, 1]])
_HW, _DISC_PX = (480, 640), 25
_NEAR_M, _TABLE_M = 0.03, 0.88
_PROMPTS = {
    "widowx_spoon_on_towel": "put the spoon on the towel",
    "widowx_carrot_on_plate": "put carrot on plate",
    "widowx_stack_cube": "stack the green block on the yellow block",
    "widowx_put_eggplant_in_basket": "put eggplant into yellow basket",
}


class FakeManiSkill3:
    """An unwrapped WidowX environment of ManiSkill 3: one scene, arrays with a leading dimension of 1.

    Args:
        task: of the suite `simpler_widowx`.
    """

    source_obj_name, target_obj_name = "source", "target"

    def __init__(self, task: SimplerTask) -> None:
        self._prompt = _PROMPTS[task.name]
        self._elapsed_steps = np.zeros(1, np.int32)
        self.commands: list[np.ndarray] = []
        self.closed = False
        self._objects_m = np.zeros((2, 3))
        self._hand_m, self._hand_q, self._opening = _HAND_M, _HAND_Q, 1.0
        self._carried = False
        self.objs = {
            name: SimpleNamespace(name=name, per_scene_id=np.array([16 + n]), pose=_Pose(lambda n=n: self._world(n)))
            for n, name in enumerate((self.source_obj_name, self.target_obj_name))
        }
        robot = SimpleNamespace(
            pose=_Pose(lambda: (_BASE_M, _BASE_Q)),
            links_map={"ee_gripper_link": SimpleNamespace(pose=_Pose(self._hand_in_world))},
        )
        self.agent = SimpleNamespace(robot=robot, is_grasping=lambda thing: np.array([self._grasps(thing)]))
        config = SimpleNamespace(height=_HW[0], width=_HW[1])
        parameters = {"extrinsic_cv": _EXTRINSIC[None], "intrinsic_cv": _INTRINSIC[None]}
        self._sensors = {CAMERA: SimpleNamespace(config=config, get_params=lambda: parameters)}

    def get_language_instruction(self) -> list[str]:
        """One instruction per scene."""
        return [self._prompt]

    def reset(self, seed: int, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Places the objects by `options["episode_id"]`."""
        _ = seed
        rng = np.random.default_rng(int(options["episode_id"]))
        middle = np.array([-0.16, 0.0])
        source = middle + rng.uniform(-0.02, 0.02, 2) + [0.05, 0.06]
        target = middle + rng.uniform(-0.02, 0.02, 2) - [0.05, 0.06]
        self._objects_m = np.array([[*source, _TABLE_M], [*target, _TABLE_M]])
        self._hand_m, self._hand_q, self._opening, self._carried = _HAND_M.copy(), _HAND_Q, 1.0, False
        self._elapsed_steps[:] = 0
        return self.get_obs(self.get_info()), self.get_info()

    def _step_action(self, action: np.ndarray) -> None:
        if action.shape != (7,):
            raise ValueError(f"The controller takes 7 numbers; got {action.shape}.")
        self.commands.append(action)
        before = self._hand_in_world()[0]
        self._hand_m = self._hand_m + action[:3]
        self._opening = float(action[6] > 0)
        moved = self._hand_in_world()[0] - before
        if self._opening:
            if self._carried:
                self._objects_m[0, 2] = _TABLE_M + 0.01
            self._carried = False
        elif np.linalg.norm(self._objects_m[0] - before) < _NEAR_M:
            self._carried = True
        if self._carried:
            self._objects_m[0] += moved

    def _world(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        return self._objects_m[n], np.array([1.0, 0.0, 0.0, 0.0])

    def _hand_in_world(self) -> tuple[np.ndarray, np.ndarray]:
        w, x, y, z = self._hand_q
        # The base is turned by half a turn about z.
        return _BASE_M + matrix_from_quaternion(_BASE_Q) @ self._hand_m, np.array([-z, -y, x, w])

    def _grasps(self, thing: Any) -> bool:
        return self._carried and thing is self.objs[self.source_obj_name]

    def get_info(self) -> dict[str, Any]:
        """Flags of the task, bool `[1]`."""
        apart = np.linalg.norm(self._objects_m[0, :2] - self._objects_m[1, :2])
        on = bool(apart < _NEAR_M and not self._carried)
        flags = {"is_src_obj_grasped": self._carried, "src_on_target": on, "success": on}
        return {"elapsed_steps": self._elapsed_steps.copy(), **{name: np.array([flag]) for name, flag in flags.items()}}

    def get_obs(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """The nested observation, by the keys, shapes and types of the real one."""
        _ = info
        finger = 0.015 + 0.022 * self._opening
        qpos = np.array([*START_QPOS[:6], finger, finger], np.float32)
        rgb = np.full((*_HW, 3), 128, np.uint8)
        segmentation = np.full(_HW, 15, np.int16)
        rows, columns = np.ogrid[: _HW[0], : _HW[1]]
        for n, colour in ((1, (230, 230, 90)), (0, (240, 130, 30))):
            at = project(self._objects_m[n], _EXTRINSIC, _INTRINSIC, _HW)
            if at is not None:
                inside = np.hypot(rows + 0.5 - at[0] * _HW[0], columns + 0.5 - at[1] * _HW[1]) < _DISC_PX
                rgb[inside], segmentation[inside] = colour, 16 + n
        return {
            "agent": {
                "qpos": qpos[None],
                "qvel": np.zeros((1, 8), np.float32),
                "controller": {"arm": {"target_pose": np.array([[*self._hand_m, *self._hand_q]], np.float32)}},
            },
            "extra": {},
            "sensor_param": {
                CAMERA: {
                    "extrinsic_cv": _EXTRINSIC[None].astype(np.float32),
                    "cam2world_gl": np.eye(4, dtype=np.float32)[None],
                    "intrinsic_cv": _INTRINSIC[None].astype(np.float32),
                }
            },
            "sensor_data": {CAMERA: {"segmentation": segmentation[None, ..., None], "rgb": rgb[None]}},
        }

    def close(self) -> None:
        """Notes that it was closed."""
        self.closed = True


class _Pose:
    """Position `p` `[1, 3]` and quaternion `q` `[1, 4]`, w x y z, that are read when they are asked for."""

    def __init__(self, read: Any) -> None:
        self._read = read

    @property
    def p(self) -> np.ndarray:
        return self._read()[0][None]

    @property
    def q(self) -> np.ndarray:
        return self._read()[1][None]


class FakeManiSkill2:
    """A Google Robot environment of ManiSkill 2, as `simpler_env.make` returns it: no leading dimension.

    The gripper's opening is the sum of the commanded changes; the episode is solved while it is closed.
    """

    def __init__(self) -> None:
        self.unwrapped = self
        self.commands: list[np.ndarray] = []
        self._position_m, self._opening = np.array([0.5, 0.1, 0.9]), 1.0

    def get_language_instruction(self) -> str:
        """The instruction."""
        return "pick coke can"

    def reset(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts from placement `options["obj_init_options"]["episode_id"]`."""
        self._position_m = np.array([0.5, 0.01 * options["obj_init_options"]["episode_id"], 0.9])
        self._opening = 1.0
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Observation, reward, done, truncated, info."""
        self.commands.append(action)
        self._position_m = self._position_m + action[:3]
        self._opening = float(np.clip(self._opening - 0.5 * action[6], 0, 1))
        done = self._opening == 0
        return self._observation(), float(done), done, False, {}

    def _observation(self) -> dict[str, Any]:
        arm = np.array([*self._position_m, 1.0, 0.0, 0.0, 0.0, self._opening], np.float32)
        return {
            "agent": {
                "qpos": np.zeros(11, np.float32),
                "qvel": np.zeros(11, np.float32),
                "base_pose": np.array([0.35, 0.2, 0.06, 0, 0, 0, 1], np.float32),
                "eef_pos": arm,
            },
            "extra": {"tcp_pose": arm[:7]},
            "camera_param": {},
            "image": {"overhead_camera": {"rgb": np.full((512, 640, 3), 90, np.uint8)}},
        }

    def close(self) -> None:
        """Has nothing to close."""
