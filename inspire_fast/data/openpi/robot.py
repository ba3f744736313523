"""Robots as data transforms, and the whole chain of each robot.

One pair of transforms serves every robot, since what differs between robots is data (`inspire_fast.robots`). With pi0-FAST a
camera that a robot lacks is a black image whose mask is True: the pre-trained weights expect it. A camera that the robot has
and an observation lacks (ALOHA's wrists) is a black image whose mask is False, as upstream's `AlohaInputs` has it whatever the
model. Our own training and policies (`inspire_fast.policy`) show that one, too: they know no mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.data.openpi.model import ExtractFASTActions, Inspire, InspireActions, TokenizeFASTInputs
from inspire_fast.data.openpi.transforms import (
    AbsoluteActions,
    DataDict,
    DataTransformFn,
    DeltaActions,
    Group,
    InjectDefaultPrompt,
    Normalize,
    RepackTransform,
    ResizeImages,
    Unnormalize,
    compose,
)
from inspire_fast.dialogue.script import Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.robots import ROBOTS, Robot

CARRIED = ("facts", "targets", "answers")


@dataclass(frozen=True, kw_only=True)
class RobotInputs:
    """Native observation (and recorded `actions`) -> `image`, `image_mask`, `state` (and `actions`), canonical.

    What upstream's `LiberoInputs`, `DroidInputs` and `AlohaInputs` do for pi0-FAST. `prompt`, and what `Inspire` reads, pass;
    every other key is dropped.

    Attributes:
        robot: the embodiment.
        cameras: of the network; empty means the robot's own choice (`Robot.model_cameras`).

    Raises:
        ValueError: the network lacks a camera of the robot; on a call whatever `Robot.canonical` refuses.
    """

    robot: Robot
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if lacking := sorted(set(self.robot.cameras.values()) - set(self._cameras)):
            raise ValueError(
                f"The network has cameras {sorted(self._cameras)}; robot {self.robot.name!r} delivers {lacking}, too."
            )

    @property
    def _cameras(self) -> tuple[str, ...]:
        return self.cameras or self.robot.model_cameras

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        prompt = str(np.asarray(data["prompt"]).item()) if "prompt" in data else ""
        observation = self.robot.canonical({**_without(data, ("actions", *CARRIED)), "prompt": prompt})
        black = np.zeros_like(next(iter(observation.images.values())))
        absent = set(self.robot.cameras.values()) - set(observation.images)
        inputs: DataDict = {
            "state": observation.state,
            "image": {camera: observation.images.get(camera, black) for camera in self._cameras},
            "image_mask": {camera: np.bool_(camera not in absent) for camera in self._cameras},
        }
        if "actions" in data:
            inputs["actions"] = self.robot.canonical_actions(np.asarray(data["actions"]))
        return {**inputs, **{key: data[key] for key in ("prompt", *CARRIED) if key in data}}


@dataclass(frozen=True, kw_only=True)
class RobotOutputs:
    """Canonical actions `[t, >= a]` -> native ones; a held answer passes.

    A new array. As upstream's outputs they are not clipped: limits are the business of `Robot.native_actions` and the safety filter.

    Raises:
        ValueError: on a call: fewer dimensions than the robot has, or NaN.
    """

    robot: Robot

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        status = {key: data[key] for key in ("status", "reason") if key in data}
        if "actions" not in data:
            return status
        actions = np.asarray(data["actions"])[..., : self.robot.action_dim]
        if actions.shape[-1] != self.robot.action_dim or not np.isfinite(actions).all():
            raise ValueError(
                f"Robot {self.robot.name!r} takes finite actions [t, {self.robot.action_dim}]; got {actions.shape}, "
                f"{int((~np.isfinite(actions)).sum())} of them NaN or infinity."
            )
        return {"actions": np.array(self.robot.action_map.to_native(actions)), **status}


def _without(data: Mapping[str, Any], keys: Sequence[str]) -> DataDict:
    return {key: value for key, value in data.items() if key not in keys}


@dataclass(frozen=True, kw_only=True)
class Chain:
    """All groups of one policy, in order.

    Attributes:
        repack: dataset row -> native observation and actions; not used at inference.
        data: the robot, delta actions.
        normalise: of state and actions.
        model: default prompt, resize, tokenise.
    """

    repack: Group
    data: Group
    normalise: Group
    model: Group

    @property
    def training(self) -> DataTransformFn:
        """A dataset's row -> the network's inputs."""
        return compose([*self.repack.inputs, *self.data.inputs, *self.normalise.inputs, *self.model.inputs])

    @property
    def inputs(self) -> DataTransformFn:
        """A native observation -> the network's inputs."""
        return compose([*self.data.inputs, *self.normalise.inputs, *self.model.inputs])

    @property
    def outputs(self) -> DataTransformFn:
        """`state` as the network saw it and `actions` as it sampled them -> native actions."""
        return compose([*self.model.outputs, *self.normalise.outputs, *self.data.outputs])


def pi0_fast_model(
    vocabulary: Vocabulary,
    *,
    max_token_len: int,
    action_horizon: int,
    action_dim: int,
    image_hw: tuple[int, int] = (224, 224),
    default_prompt: str | None = None,
) -> Group:
    """The model transforms of plain pi0-FAST, as openpi's."""
    tokenize = TokenizeFASTInputs(vocabulary=vocabulary, max_token_len=max_token_len)
    extract = ExtractFASTActions(vocabulary=vocabulary, action_horizon=action_horizon, action_dim=action_dim)
    return Group(inputs=(InjectDefaultPrompt(default_prompt), ResizeImages(*image_hw), tokenize), outputs=(extract,))


def inspire_model(
    script: Script,
    vocabulary: Vocabulary,
    *,
    max_token_len: int,
    action_horizon: int,
    action_dim: int,
    image_hw: tuple[int, int] = (224, 224),
    default_prompt: str | None = None,
) -> Group:
    """The same with a script's questions."""
    tokenize = Inspire(script=script, vocabulary=vocabulary, max_token_len=max_token_len)
    extract = InspireActions(
        script=script, vocabulary=vocabulary, action_horizon=action_horizon, action_dim=action_dim, on_malformed="hold"
    )
    return Group(inputs=(InjectDefaultPrompt(default_prompt), ResizeImages(*image_hw), tokenize), outputs=(extract,))


# Dataset columns as openpi's conversions name them: native key -> column.
LIBERO_REPACK = {
    "observation/image": "image",
    "observation/wrist_image": "wrist_image",
    "observation/state": "state",
    "actions": "actions",
    "prompt": "prompt",
}
DROID_REPACK = {
    "observation/exterior_image_1_left": "exterior_image_1_left",
    "observation/wrist_image_left": "wrist_image_left",
    "observation/joint_position": "joint_position",
    "observation/gripper_position": "gripper_position",
    "actions": "actions",
    "prompt": "prompt",
}
ALOHA_REPACK = {
    "images": {
        "cam_high": "observation.images.cam_high",
        "cam_left_wrist": "observation.images.cam_left_wrist",
        "cam_right_wrist": "observation.images.cam_right_wrist",
    },
    "state": "observation.state",
    "actions": "action",
    "prompt": "prompt",
}
FRONT_CAMERA_REPACK = {
    "observation/image": "image",
    "observation/state": "state",
    "actions": "actions",
    "prompt": "prompt",
}
REPACK: Mapping[str, Mapping[str, Any]] = {
    "libero": LIBERO_REPACK,
    "libero_front": FRONT_CAMERA_REPACK,
    "droid": DROID_REPACK,
    "droid_joint_position": DROID_REPACK,
    "aloha": ALOHA_REPACK,
    "inspire_arm": FRONT_CAMERA_REPACK,
}


def robot_chain(
    robot: Robot,
    *,
    model: Group,
    norm_stats: Mapping[str, NormStats],
    repack: Mapping[str, Any] | None = None,
    delta: Sequence[bool] | None = None,
    use_quantiles: bool = True,
    cameras: tuple[str, ...] = (),
) -> Chain:
    """The chain of any robot.

    Args:
        robot: the embodiment.
        model: see `inspire_model` and `pi0_fast_model`.
        norm_stats: of `state` and `actions`, in canonical units, of the delta actions where there are any.
        repack: native keys, `actions` and `prompt` -> dataset columns; None takes those of openpi's conversions (`REPACK`).
        delta: dimensions relative to the state; None takes the robot's own.
        use_quantiles: pi0-FAST's normalisation; False is by z-score.
        cameras: see `RobotInputs`.

    Raises:
        ValueError: the statistics are another robot's.
    """
    for key, dim in (("state", robot.state_dim), ("actions", robot.action_dim)):
        have = len(norm_stats[key]) if key in norm_stats else None
        if have != dim:
            raise ValueError(
                f"Statistics of {key!r} have {have} dimensions; robot {robot.name!r} has {dim}. They are another robot's: "
                "compute them with scripts/compute_norm_stats.py, or choose the robot that they are of."
            )
    data = Group(inputs=(RobotInputs(robot=robot, cameras=cameras),), outputs=(RobotOutputs(robot=robot),))
    if mask := tuple(robot.delta if delta is None else delta):
        data = data.push(inputs=(DeltaActions(mask),), outputs=(AbsoluteActions(mask),))
    normalise = Group(
        inputs=(Normalize(norm_stats, use_quantiles=use_quantiles),),
        outputs=(Unnormalize(norm_stats, use_quantiles=use_quantiles),),
    )
    structure = REPACK[robot.name] if repack is None else repack
    return Chain(repack=Group(inputs=(RepackTransform(structure),)), data=data, normalise=normalise, model=model)


def libero_chain(**options: Any) -> Chain:
    """LIBERO's, whose actions are deltas already.

    Upstream's `pi0_fast_libero` takes a delta of them all the same, which costs it 25 points on LIBERO-10 (openpi PR 1048):
    pass `delta=make_bool_mask(6, -1)` to serve weights trained so.
    """
    return robot_chain(ROBOTS["libero"], **options)


def droid_chain(**options: Any) -> Chain:
    """DROID's: joint velocities, nothing relative."""
    return robot_chain(ROBOTS["droid"], **options)


def aloha_chain(**options: Any) -> Chain:
    """ALOHA's: joints relative to the state, grippers absolute, everything in pi0's units."""
    return robot_chain(ROBOTS["aloha"], **options)


def inspire_arm_chain(**options: Any) -> Chain:
    """The desktop arm of InSpire: its pose relative to the state, the gripper absolute."""
    return robot_chain(ROBOTS["inspire_arm"], **options)
