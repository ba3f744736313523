"""Episodes in a simulator, driven by a policy, with every answer compared to the truth of that moment."""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.types import ActionChunk, SceneFacts
from inspire_fast.data.video import VideoEncoder
from inspire_fast.dialogue.questions import QUESTIONS, Question
from inspire_fast.evaluation.pictures import compose
from inspire_fast.evaluation.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.robots import Robot
from inspire_fast.robots.broker import Infer
from inspire_fast.robots.environment import Environment
from inspire_fast.robots.runtime import run_episode

VIDEO_FPS = 4
FRAMES_PER_CALL = 2  # a picture per call stays half a second


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How episodes are run.

    Attributes:
        robot: of the environment.
        questions: the policy's, by name, for the truth (see `questions_of`).
        execute: actions of each chunk that are executed.
        max_steps: control steps after which an episode has failed.
        videos: folder for one mp4 per episode, or None.
    """

    robot: Robot
    questions: Mapping[str, Question]
    execute: int
    max_steps: int
    videos: Path | None = None

    def run(self, environment: Environment, infer: Infer, *, suite: str, task: int, episode: int) -> EpisodeRecord:
        """Runs one episode and returns its record; the video appears whole or not at all."""
        calls: list[CallRecord] = []
        name = f"{suite}_{task}_{episode}.mp4"
        with contextlib.ExitStack() as stack:
            video = stack.enter_context(_Film(self.videos / name)) if self.videos else None

            def on_chunk(step: int, observation: Mapping[str, Any], chunk: ActionChunk) -> None:
                answers = judge(chunk, environment.facts(), self.questions)
                calls.append(
                    CallRecord(
                        step=step,
                        answers=answers,
                        status=str(chunk.status),
                        reason=chunk.reason,
                        timing_ms={k: float(v) for k, v in chunk.timing_ms.items()},
                    )
                )
                if video is not None:
                    caption = f"{suite} task {task}, episode {episode}, step {step}"
                    video.add(observation, self.robot, answers, str(chunk.status), caption)

            result = run_episode(
                environment,
                infer,
                robot=self.robot,
                execute=self.execute,
                max_steps=self.max_steps,
                episode=episode,
                on_chunk=on_chunk,
            )
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
        )


class ServerGoneError(Exception):
    """The policy server cannot be reached. Not an error that a robot holds on: nothing is learnt from such an episode."""


def stop_without_server(infer: Infer) -> Infer:
    """A lost server ends the evaluation instead of counting as a failed episode; other errors stay the policy's own."""

    def asking(observation: Mapping[str, Any]) -> ActionChunk:
        try:
            return infer(observation)
        except (ConnectionError, TimeoutError) as error:
            raise ServerGoneError(
                f"The policy server went away: {error} Start it again and repeat; finished episodes are kept."
            ) from error

    return asking


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
        )
        for a in chunk.answers
    )


class _Film:
    """Frames of one episode; the file is renamed into place when the episode is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial.mp4")
        self._encoder: VideoEncoder | None = None
        self._lines = 0

    def __enter__(self) -> _Film:
        return self

    def add(
        self,
        observation: Mapping[str, Any],
        robot: Robot,
        answers: tuple[AnswerRecord, ...],
        status: str,
        caption: str,
    ) -> None:
        """Appends one call's picture."""
        if self._encoder is None:
            self._lines = max(len(answers), 2)
        frame = compose(observation, robot, answers=answers, status=status, caption=caption, questions=self._lines)
        if self._encoder is None:
            height, width, _ = frame.shape
            self._encoder = VideoEncoder(self._partial, fps=VIDEO_FPS, height=height, width=width, codec="h264")
        for _ in range(FRAMES_PER_CALL):
            self._encoder.add(np.ascontiguousarray(frame))

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if self._encoder is None:
            return
        self._encoder.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)
