"""Check of a policy server against a robot: identity and keys of its contract, latency, and what it would do first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import time
from typing import Any

import numpy as np

from inspire_fast.core.nested import flatten_dict
from inspire_fast.core.policy import Policy, policy_name
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.registry import PREFIX_FORCED, SYNCHRONOUS
from inspire_fast.robots.control.execution.requests import POLICY_ERRORS
from inspire_fast.robots.control.identity import WrongPolicyError, require_policy_of
from inspire_fast.robots.control.runtime import LoopConfig
from inspire_fast.robots.control.safety import hold_action
from inspire_fast.robots.preflight.finding import Finding, judged
from inspire_fast.robots.spec import Robot

_PART, _FIRST_STEP = "policy", 0.25  # rad: further away a first joint target is clipped (`JointGuard.max_lead`)
_SLACK, _IDLE = 0.01, 0.2


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Replies to some requests: the last chunk, and the milliseconds of each."""

    chunk: ActionChunk
    round_trip_ms: tuple[float, ...]


def contract_findings(robot: Robot, metadata: Mapping[str, Any], loop: LoopConfig) -> list[Finding]:
    """Judges a server's metadata: is this the robot's own policy, and for its rate?"""
    try:
        require_policy_of(robot, metadata, execute=loop.execute, commits=loop.execution == PREFIX_FORCED)
    except WrongPolicyError as error:
        return [judged(_PART, "identity", str(error), fails=True, do="Serve this robot's own policy.")]
    name, unknown = policy_name(metadata), "robot" not in metadata
    says = "does not say which robot it drives" if unknown else f"drives {robot.name!r}"
    meant_hz, hz = metadata.get("control_hz"), loop.control_hz or robot.control_hz
    rate = f"made for {meant_hz:g} Hz, executed at {hz:g} Hz" if meant_hz else f"not said; executed at {hz:g} Hz"
    return [
        judged(
            _PART,
            "identity",
            f"{name or 'without a name'}: {says}",
            warns=unknown,
            do="openpi's servers do not say it. Make sure of it yourself, or serve the checkpoint with this project.",
        ),
        judged(
            _PART,
            "control rate",
            rate,
            warns=not meant_hz or abs(hz / meant_hz - 1) > _SLACK,
            do="At another rate the robot moves faster or slower than in the policy's data.",
        ),
    ]


def keys_finding(robot: Robot, observation: Mapping[str, Any]) -> Finding:
    """Judges a native observation: keys, shapes, types, units."""
    try:
        robot.canonical(observation)
    except ValueError as error:
        return judged(_PART, "keys", str(error), fails=True, do="Send what the robot's file names.")
    return judged(_PART, "keys", f"images {', '.join(sorted(robot.cameras))}; state {', '.join(robot.state_keys)}")


def ask(policy: Policy, observation: Mapping[str, Any], requests: int) -> Answered | Finding:
    """Asks some times for actions, which nobody executes. The first request, which may compile, is not counted."""
    times_ms: list[float] = []
    chunk = None
    try:
        for _ in range(requests + 1):
            start = time.perf_counter()
            chunk = policy.infer(observation)
            times_ms.append(1e3 * (time.perf_counter() - start))
    except POLICY_ERRORS as error:
        says = f"request {len(times_ms) + 1} failed with {type(error).__name__}: {error}"
        return judged(_PART, "request", says, fails=True, do="The server's log has the request.")
    assert chunk is not None
    return Answered(chunk=chunk, round_trip_ms=tuple(times_ms[1:]))


def reply_findings(
    robot: Robot, state: np.ndarray, answered: Answered, loop: LoopConfig, *, measured: bool
) -> list[Finding]:
    """Judges latency and the last chunk.

    Args:
        robot: the embodiment.
        state: native state `[s]` that was sent.
        answered: replies.
        loop: how chunks will be executed.
        measured: the state is the robot's own, so that the first action can be compared with it.
    """
    chunk = answered.chunk
    if chunk.actions is None:
        do = "The robot would hold. The server's log says more."
        return [judged(_PART, "chunk", f"held: {chunk.reason}", fails=True, do=do)]
    if chunk.actions.shape[1] != robot.action_dim:
        says = f"actions {list(chunk.actions.shape)}; expected [t, {robot.action_dim}]"
        return [judged(_PART, "chunk", says, fails=True, do="The robot would hold; serve another checkpoint.")]
    return [_latency(answered, loop, robot, len(chunk.actions)), _chunk(robot, chunk.actions, loop)] + (
        [_first_step(robot, state, chunk.actions[0])] if measured and robot.hold_action is None else []
    )


def _latency(answered: Answered, loop: LoopConfig, robot: Robot, horizon: int) -> Finding:
    hz, times_ms = loop.control_hz or robot.control_hz, np.array(answered.round_trip_ms)
    p50, p99 = np.percentile(times_ms, [50, 99])
    steps = int(np.ceil(p99 / 1e3 * hz))
    says = f"median {p50:.0f} ms, 99 % {p99:.0f} ms = {steps} control steps at {hz:g} Hz"
    if loop.execution == SYNCHRONOUS:
        idle = steps / (steps + min(loop.execute, horizon))
        do = "The robot idles while it waits: execute chunks by `projected`, `blended` or `prefetch` (docs/robots.md)."
        return judged(_PART, "latency", f"{says}: {idle:.0%} of the time idle", warns=idle > _IDLE, do=do)
    return judged(
        _PART,
        "latency",
        f"{says}; chunks of {horizon}",
        fails=horizon < 2 * steps,
        do=f"Chunks need at least {2 * steps} actions, twice the delay. Bring the server nearer, or ask less of it.",
    )


def _chunk(robot: Robot, actions: np.ndarray, loop: LoopConfig) -> Finding:
    clipped = float(np.not_equal(robot.limited(actions), robot.nearest_turn(actions).astype(np.float32)).mean())
    too_short = loop.execute > len(actions)
    return judged(
        _PART,
        "chunk",
        f"{len(actions)} actions of {robot.action_dim}, {loop.execute} executed, {clipped:.0%} beyond the limits",
        fails=too_short,
        warns=clipped > 0,
        do=f"Execute at most {len(actions)} actions of each chunk."
        if too_short
        else "Actions beyond the robot's limits are clipped; many of them are another unit or another robot.",
    )


def _first_step(robot: Robot, state: np.ndarray, action: np.ndarray) -> Finding:
    """Of target positions: the first one should be near where the robot is."""
    arm = [dim for dim in range(robot.action_dim) if dim not in robot.gripper_dims]
    turn = np.abs(robot.action_turn(hold_action(robot, None, state), action))[arm]
    return judged(
        _PART,
        "first step",
        f"{turn.max():.2f} from the measured pose, in {robot.action_names[arm[int(turn.argmax())]]}",
        warns=float(turn.max()) > _FIRST_STEP,
        do=f"Targets further than {_FIRST_STEP} away are clipped. Does the start pose fit the policy's data?",
    )


def observation_of(
    robot: Robot, pictures: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray] | None, prompt: str
) -> dict[str, Any]:
    """A native observation of pictures `[h, w, 3]` by native key, state by native key (None: a random one) and prompt.

    Keys that are missing stay missing.
    """
    made = flatten_dict(robot.fake_native())
    flat = {key: image for key, image in pictures.items() if key in robot.cameras}
    flat |= {key: made[key] for key in robot.state_keys} if state is None else state
    return {**flat, "prompt": prompt}
