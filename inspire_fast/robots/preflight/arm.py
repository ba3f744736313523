"""Check of an arm that is connected and only read: state, rates, limits, start pose, emergency stop."""

from __future__ import annotations

from collections.abc import Callable
import time

import numpy as np

from inspire_fast.robots.arms.base import ArmModel
from inspire_fast.robots.arms.guard import Guard
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.shared import ArmStatus
from inspire_fast.robots.arms.stop_channel import FOLDER_VARIABLE, folder
from inspire_fast.robots.arms.stream import Mode
from inspire_fast.robots.arms.watch import ArmWatch
from inspire_fast.robots.preflight.finding import Finding, judged
from inspire_fast.robots.preflight.workstation import ArmPart

_REST_RAD = 0.01  # an arm that nobody commands moves less within some seconds
_RATE_SLACK = 0.9
_SHARE = 0.5  # of a tolerance, from which on it is warned of


def arm_findings(part: ArmPart, arm: ArmProcess, watch: ArmWatch) -> list[Finding]:
    """Judges an arm and what a watch of it saw."""
    return [
        judged(part.name, "connected", f"{part.joints} joints: {', '.join(arm.model.limits.names)}"),
        *_rates(part, watch),
        *_pose(part, arm.model, watch),
        _stop(part, arm),
    ]


def status_of(watch: ArmWatch) -> ArmStatus:
    """The arm at the end of a watch, as the control loop sees it."""
    reading = watch.reading
    return ArmStatus(
        mode=Mode.IDLE,
        q=reading.q,
        dq=reading.dq,
        commanded=reading.q,
        gripper=reading.gripper,
        obeyed=0,
        resting=True,
        written_s=time.monotonic(),
    )


def _rates(part: ArmPart, watch: ArmWatch) -> list[Finding]:
    rate_hz, stale_ms = part.config.rate_hz, 1e3 * part.config.stale_s
    command_hz = 1e3 / watch.tick_ms_mean if watch.tick_ms_mean else 0.0
    return [
        judged(
            part.name,
            "state rate",
            f"{watch.state_hz:.1f} Hz, at most {watch.age_ms_max:.0f} ms apart; a fault from {stale_ms:.0f} ms on",
            fails=not watch.age_ms_max < stale_ms,
            warns=watch.age_ms_max > _SHARE * stale_ms,
            do="Look at the connection to the arm, and at the load of this machine.",
        ),
        judged(
            part.name,
            "command rate",
            f"{command_hz:.1f} Hz of {rate_hz:g}; period 99 % {watch.tick_ms_p99:.1f} ms, longest "
            f"{watch.tick_ms_max:.1f} ms; reading takes {watch.read_ms_p99:.1f} ms",
            fails=command_hz < _RATE_SLACK * rate_hz,
            warns=watch.tick_ms_p99 > (1 + _SHARE) * 1e3 / rate_hz,
            do="This machine is too slow or too busy: end other programs, or lower the stream's rate.",
        ),
        judged(
            part.name,
            "at rest",
            f"moved by {watch.moved.max():.4f} rad",
            fails=float(watch.moved.max()) > _REST_RAD,
            do="Somebody else commands the arm, or it sinks: end the other program, or check its brakes.",
        ),
    ]


def _pose(part: ArmPart, model: ArmModel, watch: ArmWatch) -> list[Finding]:
    q = watch.reading.q
    try:
        guard = part.guard(model)
    except ValueError as error:
        return [judged(part.name, "limits", str(error), fails=True, do="Change the options that narrow the limits.")]
    speed = ", ".join(f"{value:.2f}" for value in guard.limits.velocity)
    found = [
        judged(part.name, "limits", f"speed up to {speed} rad/s"),
        _tried(part, "pose", lambda: guard.limits.require_inside(q, "The measured pose"), "within the limits"),
    ]
    if outside := guard.outside(q):
        do = "Only motions back into the box will be executed. Move the arm by hand, or widen the box."
        found.append(judged(part.name, "workspace", f"outside: {outside}", warns=True, do=do))
    if part.start is not None and found[-1].level != "FAIL":
        found.append(_way(part, guard, q, np.array(part.start, np.float64)))
    return found


def _way(part: ArmPart, guard: Guard, q: np.ndarray, start: np.ndarray) -> Finding:
    far = f"{np.abs(start - q).max():.2f} rad away" if start.shape == q.shape else ""
    return _tried(part, "start pose", lambda: guard.require_way(q, start), f"within limits and workspace, {far}")


def _tried(part: ArmPart, check: str, attempt: Callable[[], None], says: str) -> Finding:
    try:
        attempt()
    except ValueError as error:
        return judged(part.name, check, str(error), fails=True, do="Nothing was moved; change the pose, or the limits.")
    return judged(part.name, check, says)


def _stop(part: ArmPart, arm: ArmProcess) -> Finding:
    reached = [channel.stem for channel in folder().glob(f"*-{arm.pid}.stop")]
    says = f"inspire-stop-arms reaches {reached[0]}" if reached else f"no channel in {folder()}"
    do = f"Start this program and inspire-stop-arms as the same user, with the same {FOLDER_VARIABLE}."
    return judged(part.name, "emergency stop", says, fails=not reached, do=do)
