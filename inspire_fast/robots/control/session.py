"""Session of a robot: episodes one after the other, with a person at the keys, a trace and recorded rollouts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
import contextlib
from dataclasses import dataclass
from functools import partial
import json
import logging
from pathlib import Path
import sys
import time
from typing import Any, TextIO

from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.files import write_text
from inspire_fast.core.policy import Policy
from inspire_fast.core.ranges import Count, require_ranges
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.environment import ArmEnvironment
from inspire_fast.robots.cameras.base import CameraError
from inspire_fast.robots.cameras.rig import CameraRig
from inspire_fast.robots.control.answer_desk import KEYS as ANSWER_KEYS
from inspire_fast.robots.control.answer_desk import AnswerDesk
from inspire_fast.robots.control.freshness import hold_while_stale
from inspire_fast.robots.control.operator import KEYS, Operator, keys_pressed
from inspire_fast.robots.control.rollout import RolloutRecorder
from inspire_fast.robots.control.runtime import LoopConfig, Step, run_episode
from inspire_fast.robots.control.safety import SafetyFilter


@contextlib.contextmanager
def session_report(
    path: Path | None, *, interrupted: str, faults: tuple[type[Exception], ...] = ()
) -> Generator[list[dict[str, Any]]]:
    """Gives the rows of a session's report, and writes them however the session ends.

    A fault of the arm, a camera or an option ends the program with one line and status 1.

    Args:
        path: JSON lines; None: nothing is written.
        interrupted: what holds after Ctrl-C, as "the arm holds".
        faults: further exceptions to tell so, of the policy's client.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    rows: list[dict[str, Any]] = []
    try:
        yield rows
    except (ArmError, CameraError, UnknownNameError, ValueError, *faults) as error:
        notes = " ".join(getattr(error, "__notes__", []))
        sys.exit(f"stopped: {error} {notes}".strip())
    except KeyboardInterrupt:
        sys.exit(f"stopped: Ctrl-C; {interrupted}")
    finally:
        if path is not None:
            write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """What a session does.

    Attributes:
        loop: of every episode.
        prompt: the instruction.
        episodes: how many.
        record: folder for rollouts; None: nothing is recorded.
        trace: JSON lines, one per control step, with its time on the monotonic clock; None: none.
    """

    loop: LoopConfig
    prompt: str
    episodes: Count = 1
    record: Path | None = None
    trace: Path | None = None

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A robot under control, its cameras and its policy.

    Attributes:
        environment: the robot.
        cameras: of the robot; the policy is not asked while they are stale.
        policy: asked for chunks; its answers can be overridden by key.
        say: shows a line to the person.
        extra: see `RolloutRecorder`.
    """

    environment: ArmEnvironment
    cameras: CameraRig
    policy: Policy
    say: Callable[[str], None]
    extra: Callable[[], Mapping[str, Any]] | None = None

    def run(self, config: SessionConfig, report: list[dict[str, Any]]) -> None:
        """Runs the episodes; one row of the report each, also if a later one raises (see `run_episode`)."""
        operator = Operator()
        words = (*self.environment.robot.axes.words, "grasped")
        desk = AnswerDesk(self.policy, words, on_override=operator.replan)
        with contextlib.ExitStack() as stack:
            trace = None if config.trace is None else stack.enter_context(config.trace.open("w", encoding="utf-8"))
            recorder = self._recorder(config, desk)
            if recorder is not None:
                stack.callback(recorder.close)
            if stack.enter_context(keys_pressed(lambda key: operator.press(key) or desk.press(key))):
                self.say(f"{KEYS}; {ANSWER_KEYS}: {', '.join(f'{n} {word}' for n, word in enumerate(words, 1))}")
            for episode in range(config.episodes):
                operator.begin()
                desk.begin()
                if recorder is not None:
                    recorder.begin(config.prompt)
                result = run_episode(
                    self.environment,
                    hold_while_stale(desk.infer, self.cameras.stale),
                    config.loop,
                    safety=SafetyFilter(robot=self.environment.robot),
                    metadata=self.policy.metadata,
                    episode=episode,
                    on_chunk=partial(self._show, desk),
                    on_step=partial(_after_step, trace, recorder),
                    operator=operator,
                )
                if recorder is not None:
                    recorder.end(result)
                row = {"episode": episode, "stopped": result.stopped, "reason": result.reason, "steps": result.steps}
                report.append({**row, "holds": result.holds, **result.timing, "cameras": self.cameras.report()})
                self.say(json.dumps(report[-1]))
                if operator.left:
                    break

    def _recorder(self, config: SessionConfig, desk: AnswerDesk) -> RolloutRecorder | None:
        if config.record is None:
            return None
        environment = self.environment
        return RolloutRecorder(
            config.record,
            environment.robot,
            observe=environment.observe,
            control_hz=config.loop.control_hz or environment.robot.control_hz,
            extra=self.extra,
            corrected=lambda: desk.overridden,
        )

    def _show(self, desk: AnswerDesk, step: int, observation: Mapping[str, Any], chunk: ActionChunk) -> None:
        """One line per chunk with answers."""
        del observation
        if chunk.answers:
            self.say(f"{step:4d}  {desk.text()}")


def _after_step(trace: TextIO | None, recorder: RolloutRecorder | None, step: Step) -> None:
    """Records a control step, and writes its line."""
    if recorder is not None:
        recorder.add(step)
    if trace is None:
        return
    row = {"time_s": time.monotonic(), "held": step.held, "sent": step.sent.tolist(), "reasons": step.reasons}
    trace.write(json.dumps(row) + "\n")
    trace.flush()
