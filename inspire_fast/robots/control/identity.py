"""Identity of a policy: a robot moves only by a policy that was made for it."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from typing import Any, cast

from inspire_fast.core.episode import Infer
from inspire_fast.robots.spec import Robot

logger = logging.getLogger(__name__)
_RATE_SLACK = 0.01


class WrongPolicyError(ValueError):
    """The policy was made for another robot, or for another way to execute its chunks; nothing was moved."""


def robot_metadata(robot: Robot) -> dict[str, Any]:
    """What a policy's metadata say about its robot. Names of dimensions hold their units (`joint_1_rad`)."""
    return {
        "robot": robot.name,
        "action_dim": robot.action_dim,
        "action_names": list(robot.action_names),
        "state_names": list(robot.state_names),
        "cameras": sorted(robot.cameras),
        "state_key": robot.state_key,
        "state_keys": dict(robot.state_keys),
    }


def metadata_of(infer: Infer) -> Mapping[str, Any]:
    """Metadata of the policy whose method `infer` is; empty for any other function."""
    metadata = getattr(getattr(infer, "__self__", None), "metadata", None)
    return cast("Mapping[str, Any]", metadata) if isinstance(metadata, Mapping) else {}


def require_policy_of(
    robot: Robot, metadata: Mapping[str, Any], *, execute: int, control_hz: float | None = None, commits: bool = False
) -> None:
    """Checks before the first motion that a policy drives this robot. A policy that says nothing of it is warned of.

    Args:
        robot: the robot that will execute the actions.
        metadata: of the policy.
        execute: actions of each chunk that will be executed.
        control_hz: rate at which they will be executed; a policy that was made for another one is warned of, since its
            motions become faster or slower by that ratio. None: not compared.
        commits: requests will have committed actions (execution `prefix_forced`).

    Raises:
        WrongPolicyError: another robot, other dimensions, units or keys; a replay that counts on another `execute`; or
            a policy that does not say that it takes committed actions.
    """
    expected = robot_metadata(robot)
    differing = [
        f"{key}: the policy has {metadata[key]!r}, the robot {value!r}"
        for key, value in expected.items()
        if key in metadata and metadata[key] != value
    ]
    if metadata.get("execute", execute) != execute:
        differing.append(f"execute: the policy counts on {metadata['execute']} actions of each chunk, not on {execute}")
    if differing:
        raise WrongPolicyError(
            f"This policy does not drive robot {robot.name!r}; nothing was moved. Serve the robot's own policy, or "
            "choose the robot that the policy names.\n  " + "\n  ".join(differing)
        )
    if commits and not metadata.get("takes_committed", False):
        raise WrongPolicyError(
            "Execution 'prefix_forced' needs a policy that continues committed actions (metadata `takes_committed`), "
            "which this one does not say of itself; nothing was moved. Train with --tokenizers.action bins, or choose "
            "'prefetch' or 'projected'."
        )
    meant_hz = metadata.get("control_hz")
    if control_hz and meant_hz and abs(control_hz / meant_hz - 1) > _RATE_SLACK:
        logger.warning(
            "The policy's actions are meant for %g Hz and will be executed at %g Hz: the robot moves %.3g times as "
            "fast as in the policy's data. Set LoopConfig.control_hz to %g, or train on data of the robot's rate.",
            meant_hz,
            control_hz,
            control_hz / meant_hz,
            meant_hz,
        )
    if "robot" not in metadata:
        logger.warning(
            "The policy does not say which robot it drives; nobody checks that its actions are those of %r (%s). Pass "
            "run_episode the policy's metadata, or make sure of it yourself.",
            robot.name,
            ", ".join(robot.action_names),
        )
