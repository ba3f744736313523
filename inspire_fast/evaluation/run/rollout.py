"""Episodes in a simulator, driven by a policy, with every answer compared to the truth of that moment."""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.types import ActionChunk, SceneFacts
from inspire_fast.dialogue.questions import QUESTIONS, Question
from inspire_fast.evaluation.records.observations import Looks, looks_file
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord, Phase
from inspire_fast.evaluation.records.video import EpisodeVideo
from inspire_fast.robots import Robot
from inspire_fast.robots.control.broker import Infer
from inspire_fast.robots.control.environment import Environment
from inspire_fast.robots.control.runtime import EpisodeResult, LoopConfig, Step, run_episode
from inspire_fast.robots.control.safety import SafetyFilter


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How episodes are run.

    Attributes:
        robot: of the environment.
        questions: the policy's, by name, for the truth (see `questions_of`).
        execute: actions of each chunk that are executed.
        max_steps: control steps after which an episode has failed.
        videos: folder for one mp4 per episode, or None.
        every_step: the video shows every control step, which is rendered for it alone; else every call of the policy.
        looks: folder of the evaluation, where what the policy saw is kept (see `looks`), or None.
        protocol: hash, for the records.
    """

    robot: Robot
    questions: Mapping[str, Question]
    execute: int
    max_steps: int
    videos: Path | None = None
    every_step: bool = False
    looks: Path | None = None
    protocol: str = ""

    def run(self, environment: Environment, infer: Infer, *, suite: str, task: int, episode: int) -> EpisodeRecord:
        """Runs one episode and returns its record; the video appears whole or not at all."""
        calls: list[CallRecord] = []
        name = f"{suite}_{task}_{episode}.mp4"
        phases, looks = Phases(), Looks()
        with contextlib.ExitStack() as stack:
            video = stack.enter_context(EpisodeVideo(self.videos / name, self.robot)) if self.videos else None
            where = f"{suite} task {task}, episode {episode}"

            def on_chunk(step: int, observation: Mapping[str, Any], chunk: ActionChunk) -> None:
                facts = environment.facts()
                answers = judge(chunk, facts, self.questions)
                calls.append(
                    CallRecord(
                        step=step,
                        answers=answers,
                        status=str(chunk.status),
                        reason=chunk.reason,
                        timing_ms={k: float(v) for k, v in chunk.timing_ms.items()},
                        phase=phases.at(facts),
                    )
                )
                if self.looks is not None:
                    looks.add(observation)
                if video is not None:
                    video.add(observation, answers, str(chunk.status), f"{where}, step {step}")

            def on_step(step: Step) -> None:
                phases.at(environment.facts())  # a grasp between two calls counts, too
                if video is not None and self.every_step and step.index < self.execute - 1:
                    video.add(
                        environment.observe(), calls[-1].answers, calls[-1].status, f"{where}, step {step.step + 1}"
                    )

            result = run_episode(
                environment,
                infer,
                LoopConfig(execute=self.execute, max_steps=self.max_steps),
                safety=SafetyFilter(robot=self.robot),
                episode=episode,
                on_chunk=on_chunk,
                on_step=on_step,
            )
        if self.looks is not None:
            looks.save(looks_file(self.looks, (suite, task, episode)))
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
            calls=tuple(calls),
            protocol=self.protocol,
            times=_times(result),
        )


class Phases:
    """Where an episode stands: `before` anything the instruction names was grasped, `carrying` it, or `after`."""

    def __init__(self) -> None:
        self._grasped_before = False

    def at(self, facts: SceneFacts | None) -> Phase | None:
        """The phase at these facts; None where nobody knows them."""
        if facts is None:
            return None
        if any(target.grasped for target in facts.targets):
            self._grasped_before = True
            return "carrying"
        return "after" if self._grasped_before else "before"


def _times(result: EpisodeResult) -> dict[str, float]:
    """Seconds by what they were spent on; `other_s` is the reset, the truth and the video."""
    timing = result.timing
    times = {
        "observe_s": result.calls * timing["observe_ms_mean"] / 1e3,
        "infer_s": result.calls * timing["infer_ms_mean"] / 1e3,
        "step_s": result.steps * timing["step_ms_mean"] / 1e3,
    }
    return {**times, "other_s": max(0.0, timing["wall_s"] - sum(times.values()))}


def questions_of(metadata: Mapping[str, Any]) -> dict[str, Question]:
    """The questions that a server of ours asks, rebuilt from its metadata; none for a server of openpi's."""
    return {name: QUESTIONS[name](**parameters) for name, parameters in metadata.get("questions", {}).items()}


def judge(chunk: ActionChunk, facts: SceneFacts | None, questions: Mapping[str, Question]) -> tuple[AnswerRecord, ...]:
    """The chunk's answers with the truth beside them, where the environment knows it."""
    by_phrase = {} if facts is None else {t.phrase: t for t in facts.targets}
    return tuple(
        AnswerRecord(
            question=a.question,
            asked=questions[a.question].wording(a.target) if a.question in questions else a.target,
            target=a.target,
            answer=a.answer,
            probability=a.probability,
            truth=questions[a.question].truth(by_phrase[a.target])
            if a.target in by_phrase and a.question in questions
            else None,
            distance_m=float(np.linalg.norm(by_phrase[a.target].offset_m)) if a.target in by_phrase else None,
        )
        for a in chunk.answers
    )
