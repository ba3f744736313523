"""Records of an evaluation: one JSON line per episode, with every call of the policy inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inspire_fast.core.files import append_json_line, read_json_lines, write_json
from inspire_fast.dialogue.locations import BINS, place_of

Key = tuple[str, int, int]
"""Suite, task, episode: identifies an episode within one evaluation."""

FILE = "episodes.jsonl"
CLAIM = "evaluation.json"
_ADDED = ("action_names", "state_names")  # metadata that policies of earlier versions did not have
Phase = Literal["before", "carrying", "after"]


@dataclass(frozen=True, kw_only=True)
class AnswerRecord:
    """One answer during a rollout, and the simulator's truth at that moment.

    Attributes:
        question: registry name.
        asked: the question's text for this target.
        target, answer: the phrase, the word.
        probability: the model's, 0..1; 1 for a forced answer.
        truth: the right answer; None if unknown.
        distance_m: from the gripper to the target, metres; None if unknown.
        bins: of the picture's height and width in answers that are places.
    """

    question: str
    asked: str
    target: str
    answer: str
    probability: float
    truth: str | None
    distance_m: float | None = None
    bins: int = BINS

    @property
    def is_place(self) -> bool:
        """Whether the answer is a place in the picture, which is measured and not right or wrong."""
        return self.place(self.truth or self.answer) is not None

    def place(self, text: str) -> np.ndarray | None:
        """What `answer` or `truth` says, if it is a place in the picture; see `place_of`."""
        return place_of(self.question, text, self.bins)

    @property
    def right(self) -> bool | None:
        """Whether the answer is true; None if the truth is unknown."""
        return None if self.truth is None else self.answer == self.truth


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """One call of the policy.

    Attributes:
        step: control step.
        answers: in the order of the questions.
        status, reason: of the chunk; status `ok` means that it has actions.
        timing_ms: phase of the call -> milliseconds.
        phase: `before` an object of the instruction was grasped, `carrying` it, or `after`; None if unknown.
    """

    step: int
    answers: tuple[AnswerRecord, ...]
    status: str
    reason: str
    timing_ms: Mapping[str, float]
    phase: Phase | None = None


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One finished episode.

    Attributes:
        suite, task, episode: the key.
        prompt: the instruction.
        success, stopped, reason, steps, holds: of `robots.control.runtime.EpisodeResult`.
        seconds: of wall time, including the reset.
        video: path relative to the folder of the records; None without one.
        calls: of the policy, in order.
        protocol: its hash.
        times: seconds per activity: `observe_s` (rendering), `infer_s`, `step_s`, `other_s`.
        path_px: the gripper's place in the picture, `(y, x)` like `SceneFacts.gripper_px`, before the first step and
            after each one; None where the simulator does not know it. Empty in older records.
    """

    suite: str
    task: int
    prompt: str
    episode: int
    success: bool
    stopped: str
    reason: str
    steps: int
    holds: int
    seconds: float
    video: str | None
    calls: tuple[CallRecord, ...]
    protocol: str = ""
    times: Mapping[str, float] = field(default_factory=dict)
    path_px: tuple[tuple[float, float] | None, ...] = ()

    @property
    def key(self) -> Key:
        """Identifies the episode within one evaluation."""
        return self.suite, self.task, self.episode

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> EpisodeRecord:
        """Rebuilds a record from its JSON object."""
        calls = [
            CallRecord(**{**call, "answers": tuple(AnswerRecord(**a) for a in call["answers"])})
            for call in stored["calls"]
        ]
        path = tuple(None if place is None else (place[0], place[1]) for place in stored.get("path_px", ()))
        return cls(**{**stored, "calls": tuple(calls), "path_px": path})


def claim(folder: Path, settings: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
    """Writes settings and policy of an evaluation into its folder, or checks them against those in the folder.

    Raises:
        ValueError: the folder holds records of another policy or of other settings; names the differences.
    """
    path = folder / CLAIM
    now = json.loads(json.dumps({"settings": dict(settings), "policy": dict(policy)}))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        for key in _ADDED:
            if key not in before["policy"]:
                now["policy"].pop(key, None)
        differing = list(differences(before, now))
        if differing:
            raise ValueError(
                f"{folder} holds episodes of another evaluation; choose another folder or delete it.\n  "
                + "\n  ".join(differing)
            )
        return
    write_json(path, now)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Differences of two JSON objects, one line each: `a.b: 1 then, 2 now`."""
    for key in {**before, **now}:
        then, this, name = before.get(key), now.get(key), f"{path}{key}"
        if isinstance(then, Mapping) and isinstance(this, Mapping):
            yield from differences(then, this, f"{name}.")
        elif then != this:
            yield f"{name}: {then!r} then, {this!r} now"


def append(folder: Path, record: EpisodeRecord) -> None:
    """Appends one record."""
    append_json_line(folder / FILE, asdict(record))


def read(folder: Path) -> list[EpisodeRecord]:
    """Reads all complete records of the folder, sorted by suite, task and episode.

    Raises:
        ValueError: a line cannot be read by this version; names the file.
    """
    path = folder / FILE
    try:
        found = [EpisodeRecord.from_dict(line) for line in read_json_lines(path)]
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} was written by another version, or is damaged: {error}. Use another folder."
        ) from error
    return sorted({record.key: record for record in found}.values(), key=lambda record: record.key)
