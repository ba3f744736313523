"""Rollout of a policy in a simulator, with every answer compared to the truth at that moment."""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.episode import Infer
from inspire_fast.core.types import ActionChunk, SceneFacts
from inspire_fast.data.truths import known_answer
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import BINS, Locations
from inspire_fast.dialogue.questions import QUESTIONS, Question
from inspire_fast.evaluation.records.actions import actions_file, save_actions
from inspire_fast.evaluation.records.observations import observations_file, save_observations
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord, Key, Phase
from inspire_fast.evaluation.records.video import EpisodeVideo
from inspire_fast.robots import Robot
from inspire_fast.robots.control.environment import Environment
from inspire_fast.robots.control.runtime import EpisodeResult, LoopConfig, Step, run_episode
from inspire_fast.robots.control.safety import SafetyFilter

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Settings of episodes, and the function that runs one.

    Attributes:
        robot: of the environment.
        questions: the policy's, by name, to compute the true answers (see `questions_of`).
        execute: actions of each chunk that are executed.
        max_steps: control steps after which an episode has failed.
        videos: folder for one mp4 per episode, or None.
        every_step: the video shows every control step, rendered for the video alone; else every call of the policy.
        observations: folder of the evaluation, to save the policy's observations in (see `save_observations`), or None.
        actions: folder of the evaluation, to save the executed actions in (see `EpisodeActions`), or None.
        protocol: hash, for the records.
        policy: metadata of the policy, compared with the robot before each episode; None: see `run_episode`.
    """

    robot: Robot
    questions: Mapping[str, Question]
    execute: int
    max_steps: int
    videos: Path | None = None
    every_step: bool = False
    observations: Path | None = None
    actions: Path | None = None
    protocol: str = ""
    policy: Mapping[str, Any] | None = None

    def run(self, environment: Environment, infer: Infer, key: Key) -> EpisodeRecord:
        """Runs one episode and returns its record; the video appears when it is complete."""
        suite, task, episode = key
        name = f"{suite}_{task}_{episode}.mp4"
        with contextlib.ExitStack() as stack:
            video = stack.enter_context(EpisodeVideo(self.videos / name, self.robot)) if self.videos else None
            recorder = _Recorder(self, environment, video, key)
            result = run_episode(
                environment,
                infer,
                LoopConfig(execute=self.execute, max_steps=self.max_steps, simulated=True),
                safety=SafetyFilter(robot=self.robot),
                metadata=self.policy,
                episode=episode,
                on_chunk=recorder.on_chunk,
                on_step=recorder.on_step,
            )
        if self.observations is not None:
            save_observations(observations_file(self.observations, key), recorder.observations)
        if self.actions is not None:
            save_actions(actions_file(self.actions, key), recorder.sent, recorder.chunks)
        return EpisodeRecord(
            suite=suite,
            task=task,
            prompt=environment.prompt,
            episode=episode,
            success=result.success,
            stopped=result.stopped,
            reason=result.reason,
            steps=result.steps,
            holds=result.holds,
            seconds=result.timing["wall_s"],
            video=name if self.videos else None,
            calls=tuple(recorder.calls),
            protocol=self.protocol,
            times=_times(result),
            path_px=tuple(recorder.path_px),
        )


class _Recorder:
    """Callbacks of the control loop that record calls, observations and the video of one episode."""

    def __init__(self, rollout: Rollout, environment: Environment, video: EpisodeVideo | None, key: Key) -> None:
        self._rollout, self._environment, self._video = rollout, environment, video
        self._caption = "{} task {}, episode {}, step".format(*key)
        self._phases = Phases()
        self.calls: list[CallRecord] = []
        self.chunks: list[tuple[int, ActionChunk]] = []
        self.sent: list[np.ndarray] = []
        self.observations: list[Mapping[str, Any]] = []
        self.path_px: list[Point | None] = []

    def on_chunk(self, step: int, observation: Mapping[str, Any], chunk: ActionChunk) -> None:
        facts = self._environment.facts()
        if not self.path_px:
            self.path_px.append(_place(facts))
        call = CallRecord(
            step=step,
            answers=judge(chunk, facts, self._rollout.questions),
            status=str(chunk.status),
            reason=chunk.reason,
            timing_ms={k: float(v) for k, v in chunk.timing_ms.items()},
            phase=self._phases.at(facts),
        )
        self.calls.append(call)
        self.chunks.append((step, chunk))
        if self._rollout.observations is not None:
            self.observations.append(observation)
        self._show(observation, step)

    def on_step(self, step: Step) -> None:
        self.sent.append(step.sent)
        facts = self._environment.facts()
        self._phases.at(facts)  # a grasp between two calls counts, too
        self.path_px.append(_place(facts))
        if self._video is not None and self._rollout.every_step and step.index < self._rollout.execute - 1:
            self._show(self._environment.observe(), step.step + 1)

    def _show(self, observation: Mapping[str, Any], step: int) -> None:
        if self._video is not None:
            call = self.calls[-1]
            self._video.add(observation, call.answers, call.status, f"{self._caption} {step}")


class Phases:
    """Phase of an episode: `before` an object of the instruction was grasped, `carrying` it, or `after`."""

    def __init__(self) -> None:
        self._grasped_before = False

    def at(self, facts: SceneFacts | None) -> Phase | None:
        """The phase, given the facts of each step in order; None without facts."""
        if facts is None:
            return None
        if any(target.grasped for target in facts.targets):
            self._grasped_before = True
            return "carrying"
        return "after" if self._grasped_before else "before"


def _place(facts: SceneFacts | None) -> Point | None:
    """The gripper's place, to a tenth of a per mille of the picture."""
    if facts is None or facts.gripper_px is None:
        return None
    return round(facts.gripper_px[0], 4), round(facts.gripper_px[1], 4)


def _times(result: EpisodeResult) -> dict[str, float]:
    """Seconds per activity; `other_s` is the reset, the truth and the video."""
    timing = result.timing
    times = {
        "observe_s": result.calls * timing["observe_ms_mean"] / 1e3,
        "infer_s": result.calls * timing["infer_ms_mean"] / 1e3,
        "step_s": result.steps * timing["step_ms_mean"] / 1e3,
    }
    return {**times, "other_s": max(0.0, timing["wall_s"] - sum(times.values()))}


def questions_of(metadata: Mapping[str, Any]) -> dict[str, Question]:
    """Questions of a policy, rebuilt from its metadata; empty for a server of openpi."""
    return {name: QUESTIONS[name](**parameters) for name, parameters in metadata.get("questions", {}).items()}


def judge(chunk: ActionChunk, facts: SceneFacts | None, questions: Mapping[str, Question]) -> tuple[AnswerRecord, ...]:
    """The chunk's answers with the true answers, where the environment knows them."""
    by_phrase = {} if facts is None else {t.phrase: t for t in facts.targets}
    judged = []
    for a in chunk.answers:
        question, target = questions.get(a.question), by_phrase.get(a.target)
        record = AnswerRecord(
            question=a.question,
            asked=a.target if question is None else question.wording(a.target),
            target=a.target,
            answer=a.answer,
            probability=a.probability,
            truth=None if question is None else known_answer(question, a.target, facts),
            distance_m=None if target is None or (offset := target.offset_m) is None else float(np.linalg.norm(offset)),
            bins=_bins(question),
        )
        judged.append(record)
    return tuple(judged)


def _bins(question: Question | None) -> int:
    form = None if question is None else form_of(question)
    return form.bins if isinstance(form, Locations) else BINS
