"""WidowX tasks in ManiSkill 3: pictures on demand, the arm's state, and facts about the two objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.dialogue.grounding.targets import ground
from inspire_fast.envs.simpler.rendering import SRDF, assets_folder, make_environment
from inspire_fast.envs.simpler.simulator import Reading, value
from inspire_fast.envs.simpler.tasks import SimplerTask
from inspire_fast.robots.rotations import matrix_from_quaternion, relative_quaternion

CAMERA = "3rd_view_camera"
PACKAGES = ("mani-skill", "sapien", "torch")
_FINGERS_M = (0.015, 0.037)  # joint limits of the WidowX 250's fingers, closed and open
_HAND = "ee_gripper_link"
_GRIPPER_LINKS = ("gripper_link", "ee_arm_link", "gripper_prop_link", "gripper_bar_link", "fingers_link")
_GRIPPER_LINKS = (*_GRIPPER_LINKS, "left_finger_link", "right_finger_link")
_PASSING = {"group": 2, "bit_idx": 28, "bit": 1}  # shapes that share a bit of this group do not touch each other


def versions() -> dict[str, str]:
    """Installed versions of the simulator's packages.

    Raises:
        ImportError: a package is missing; names the file that tells how to install them.
    """
    try:
        return {name: metadata.version(name) for name in PACKAGES}
    except metadata.PackageNotFoundError as error:
        raise ImportError(
            f"SimplerEnv's simulator is not installed here ({error.name}). It needs PyTorch and an environment of its "
            "own: see examples/simpler_env/README.md."
        ) from error


class ManiSkill3:
    """One WidowX task.

    Args:
        environment: an unwrapped ManiSkill 3 environment of the bridge tasks, of one scene, with the observation mode
            `rgb+segmentation`.
        separate_gripper_links: keeps the gripper's own links from touching each other. ManiSkill's assets do that in
            the arm's SRDF file; without it they jam, and the hand ends up to 0.2 rad beside its target (measured).
    """

    def __init__(self, environment: Any, *, separate_gripper_links: bool = False) -> None:
        self._environment, self._is_open = environment, True
        self._separates = separate_gripper_links
        self._info: Any = None
        self._segmentation: np.ndarray | None = None
        self.prompt = str(environment.get_language_instruction()[0])
        self._phrases = ground(self.prompt)

    @classmethod
    def make(cls, task: SimplerTask) -> ManiSkill3:
        """Makes the simulator of a task.

        Raises:
            ValueError: ManiSkill 3 has no such task.
            ImportError: the simulator is not installed.
            RenderingUnavailableError: no Vulkan driver, or no assets.
        """
        if not task.maniskill3:
            raise ValueError(
                f"{task.name}: ManiSkill 3 has no such task. Make it with ManiSkill 2 and SimplerEnv, and hand it over "
                "as Job(make=...); see examples/simpler_env/README.md."
            )
        versions()
        return cls(make_environment(task.maniskill3), separate_gripper_links=not (assets_folder() / SRDF).exists())

    @property
    def success(self) -> bool:
        """The goal holds after the last step (or after the reset)."""
        return self._info is not None and bool(np.asarray(self._info["success"])[0])

    def reset(self, placement: int) -> None:
        """Starts an episode in a scene that is built anew. Nothing is drawn: the seed is always 0.

        In the same scene an episode's course depends on the placements before it: one step after a reset the forearm
        was 0.026 rad elsewhere (measured, ManiSkill 3.0.1). Building it costs 0.8 processor seconds.
        """
        _, self._info = self._environment.reset(seed=0, options={"episode_id": placement, "reconfigure": True})
        self._segmentation = None
        if self._separates:
            for name in _GRIPPER_LINKS:
                self._environment.agent.robot.links_map[name].set_collision_group_bit(**_PASSING)

    def step(self, action: np.ndarray) -> None:
        """Executes one action of the controller, `[7]`, and judges the goal, without rendering.

        ManiSkill 3.0.1 reads the three numbers of the rotation as Euler angles about moving axes, ManiSkill 2 as a
        rotation vector. SimplerEnv's clients send a rotation vector to both, and so does this package: at 0.1 rad per
        step the difference is below 0.01 rad.
        """
        self._segmentation = None
        self._environment._step_action(action)
        self._environment._elapsed_steps += 1
        self._info = self._environment.get_info()

    def read(self) -> Reading:
        """Renders the picture and measures the arm."""
        observation: Mapping[str, Any] = self._environment.get_obs(self._info)
        camera = f"sensor_data/{CAMERA}"
        image = value(observation, f"{camera}/rgb", batched=True).astype(np.uint8)
        self._segmentation = value(observation, f"{camera}/segmentation", batched=True)[..., 0]
        fingers = value(observation, "agent/qpos", batched=True)[-2:]
        opening = float(np.mean((fingers - _FINGERS_M[0]) / (_FINGERS_M[1] - _FINGERS_M[0])))
        position_m, quaternion = self._hand()
        return Reading(
            image=image, position_m=position_m, quaternion=quaternion, gripper_open=float(np.clip(opening, 0, 1))
        )

    def _hand(self) -> tuple[np.ndarray, np.ndarray]:
        """The end effector's position `[3]`, m, and quaternion `[4]`, w x y z, in the base's frame."""
        base, hand = self._pose(self._environment.agent.robot), self._pose(self._link())
        position_m = matrix_from_quaternion(base[1]).T @ (hand[0] - base[0])
        return position_m, relative_quaternion(base[1], hand[1])

    def _link(self) -> Any:
        return self._environment.agent.robot.links_map[_HAND]

    @staticmethod
    def _pose(thing: Any) -> tuple[np.ndarray, np.ndarray]:
        """World position `[3]`, m, and quaternion `[4]`, w x y z."""
        return np.asarray(thing.pose.p, np.float64)[0], np.asarray(thing.pose.q, np.float64)[0]

    def facts(self) -> SceneFacts | None:
        """The two objects: offset from the end effector along the base's axes, and their places in the picture.

        The point is the object's own origin, projected. The box is of its visible pixels, and is known after `read`
        only, until the next step.
        """
        environment = self._environment
        to_base = matrix_from_quaternion(self._pose(environment.agent.robot)[1]).T
        hand_m = self._pose(self._link())[0]
        objects = [environment.objs[name] for name in (environment.source_obj_name, environment.target_obj_name)]
        targets = []
        for phrase, thing in zip(self._phrases, objects, strict=True):
            point_m = self._pose(thing)[0]
            grasped = thing is objects[0] and bool(np.asarray(environment.agent.is_grasping(thing))[0])
            targets.append(
                TargetFacts(
                    phrase=phrase,
                    offset_m=(to_base @ (point_m - hand_m)).astype(np.float32),
                    grasped=grasped,
                    point_px=self._pixel(point_m),
                    box_px=self._box(thing),
                )
            )
        return SceneFacts(targets=tuple(targets), gripper_px=self._pixel(hand_m), camera="base_0_rgb")

    def _pixel(self, point_m: np.ndarray) -> tuple[float, float] | None:
        sensor = self._environment._sensors[CAMERA]
        parameters = sensor.get_params()
        hw = (sensor.config.height, sensor.config.width)
        extrinsic, intrinsic = (np.asarray(parameters[key], np.float64)[0] for key in ("extrinsic_cv", "intrinsic_cv"))
        return project(point_m, extrinsic, intrinsic, hw)

    def _box(self, thing: Any) -> tuple[float, float, float, float] | None:
        if self._segmentation is None:
            return None
        return enclosing_box(self._segmentation == int(np.asarray(thing.per_scene_id)[0]))

    def close(self) -> None:
        """Frees the simulator. Calling it twice is harmless."""
        if self._is_open:
            self._environment.close()
        self._is_open = False


def project(
    point_m: np.ndarray, extrinsic: np.ndarray, intrinsic: np.ndarray, hw: Sequence[int]
) -> tuple[float, float] | None:
    """Position of a world point in a picture.

    Args:
        point_m: `[3]`, world frame.
        extrinsic: `[3, 4]`, world to camera, OpenCV's axes: x right, y down, z forward.
        intrinsic: `[3, 3]`, px; the first pixel's *middle* is (0, 0).
        hw: height and width, px.

    Returns:
        `(y, x)` in 0..1 of height and width; None if the picture does not show the point.
    """
    x, y, z = intrinsic @ (extrinsic @ np.append(point_m, 1.0))
    if z <= 0:
        return None
    at = ((y / z + 0.5) / hw[0], (x / z + 0.5) / hw[1])
    return (float(at[0]), float(at[1])) if max(at) <= 1 and min(at) >= 0 else None


def enclosing_box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Box `(y0, x0, y1, x1)` around the marked pixels of `[h, w]`, see `TargetFacts.box_px`; None without any."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    return (
        float(rows[0] / height),
        float(columns[0] / width),
        float((rows[-1] + 1) / height),
        float((columns[-1] + 1) / width),
    )
