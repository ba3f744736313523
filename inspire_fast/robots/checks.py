"""Checks of a robot's specification: lengths, names and units that contradict each other are refused at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspire_fast.robots.spec import Robot


def check_robot(robot: Robot) -> None:
    """Refuses a specification that contradicts itself.

    Raises:
        ValueError: names the robot, the field and what was expected.
    """
    for error in (_lengths(robot), _cameras(robot), _periods(robot), _dataset(robot)):
        if error:
            raise ValueError(f"Robot {robot.name!r}{error}")


def _lengths(robot: Robot) -> str:
    for names, dim in (
        (("action_low", "action_high", "hold_action"), robot.action_dim),
        (("state_low", "state_high"), robot.state_dim),
    ):
        for name in names:
            if (values := getattr(robot, name)) is not None and len(values) != dim:
                return f": {name} needs {dim} values; got {len(values)}."
    if sum(robot.state_keys.values()) != robot.state_dim:
        return f": {dict(robot.state_keys)} do not make {robot.state_dim} state dimensions."
    if robot.hold_action is None and robot.hold_at is None:
        return " needs hold_action, hold_at, or both."
    if len(robot.delta) > min(robot.state_dim, robot.action_dim):
        return ": delta has more dimensions than state or action."
    return ""


def _cameras(robot: Robot) -> str:
    if unknown := set(robot.optional_cameras) - set(robot.cameras):
        return f": optional cameras {sorted(unknown)} are not among {sorted(robot.cameras)}."
    if unknown := set(robot.cameras.values()) - set(robot.model_cameras):
        return f": cameras {sorted(unknown)} are not among {sorted(robot.model_cameras)}."
    return ""


def _periods(robot: Robot) -> str:
    names = {*robot.state_names, *robot.action_names}
    if wrong := {name: length for name, length in robot.periods.items() if name not in names or not length > 0}:
        return f": periods are positive lengths of the dimensions {sorted(names)}; got {wrong}."
    _ = robot.canonical_periods  # refuses units in which a turn is no shift of its own dimension
    return ""


def _dataset(robot: Robot) -> str:
    robot.require_keys(robot.columns.values())
    gripper = robot.gripper
    if (
        gripper
        and not gripper.columns
        and not all(0 <= dimension < robot.state_dim for dimension in gripper.dimensions)
    ):
        return f": gripper {gripper} reads beyond {robot.state_dim} state dimensions."
    return ""
