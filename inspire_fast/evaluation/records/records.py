"""What an evaluation writes down: one JSON line per episode, each call inside it. Appending makes it resumable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
import json
import os
from pathlib import Path
from typing import IO, Any, Literal

from inspire_fast.core.files import write_json

FILE = "episodes.jsonl"
CLAIM = "evaluation.json"
Phase = Literal["before", "carrying", "after"]


@dataclass(frozen=True, kw_only=True)
class AnswerRecord:
    """One answer during a rollout, and the simulator's truth at that moment (None where nobody knows it).

    Attributes:
        question: registry name.
        asked: its wording about this target.
        target, answer: the phrase, the word.
        probability: the model's, 0..1; 1 where the answer was forced.
        truth: what would have been right.
        distance_m: from the gripper to the target then, metres; None where nobody knows it.
    """

    question: str
    asked: str
    target: str
    answer: str
    probability: float
    truth: str | None
    distance_m: float | None = None

    @property
    def right(self) -> bool | None:
        """Whether the answer is the true one; None without a truth."""
        return None if self.truth is None else self.answer == self.truth


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """One call of the policy: at which control step, what it answered, whether it acted, how long it took.

    `phase` is `before` anything named by the instruction was grasped, `carrying` while something is, `after` it was let
    go; None where nobody knows.
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
        suite, task, episode, prompt: which.
        success, stopped, reason, steps, holds: see `robots.control.runtime.EpisodeResult`.
        seconds: of wall time, the reset included.
        video: relative to the folder of the records.
        calls: of the policy, in order.
        protocol: hash of the protocol under which it ran.
        times: what the seconds went into: `observe_s` (rendering), `infer_s`, `step_s`, `other_s`.
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

    @property
    def key(self) -> tuple[str, int, int]:
        """What identifies the episode within one evaluation."""
        return self.suite, self.task, self.episode

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> EpisodeRecord:
        """Rebuilds a record from its JSON object."""
        calls = [
            CallRecord(**{**call, "answers": tuple(AnswerRecord(**a) for a in call["answers"])})
            for call in stored["calls"]
        ]
        return cls(**{**stored, "calls": tuple(calls)})


def claim(folder: Path, settings: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
    """Writes down what is evaluated and how, or checks that it is what the folder's records are of.

    Raises:
        ValueError: the folder holds records of another policy or of other settings; names the differences.
    """
    path = folder / CLAIM
    now = json.loads(json.dumps({"settings": dict(settings), "policy": dict(policy)}))
    if path.exists():
        before = json.loads(path.read_text())
        differing = list(differences(before, now))
        if differing:
            raise ValueError(
                f"{folder} holds episodes of another evaluation; choose another folder or delete it.\n  "
                + "\n  ".join(differing)
            )
        return
    write_json(path, now)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What two JSON objects do not have in common, one line each: `a.b: 1 then, 2 now`."""
    for key in {**before, **now}:
        then, this, name = before.get(key), now.get(key), f"{path}{key}"
        if isinstance(then, Mapping) and isinstance(this, Mapping):
            yield from differences(then, this, f"{name}.")
        elif then != this:
            yield f"{name}: {then!r} then, {this!r} now"


def append(folder: Path, record: EpisodeRecord) -> None:
    """Adds one line. A line that a killed process left unfinished is cut off first."""
    append_line(folder / FILE, asdict(record))


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Adds one JSON object and has it written to the disk before it returns.

    Raises:
        OSError: no room; what was there before stays readable.
    """
    with path.open("ab+") as file:
        end = _end_of_last_line(file)
        file.truncate(end)
        file.seek(end)
        file.write(json.dumps(value).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _end_of_last_line(file: IO[bytes], block: int = 1 << 16) -> int:
    """Where the last newline ends; looks at no more of the file than that needs."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - block)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def read(folder: Path) -> list[EpisodeRecord]:
    """Every complete record of the folder, by suite, task and episode, whatever the order in which they finished.

    Raises:
        ValueError: a line that this version cannot read; names the file.
    """
    path = folder / FILE
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]  # what follows the last newline is unfinished
    try:
        found = [EpisodeRecord.from_dict(json.loads(line)) for line in lines]
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} was written by another version, or is damaged: {error}. Use another folder."
        ) from error
    return sorted({record.key: record for record in found}.values(), key=lambda record: record.key)


def answers(records: Iterable[EpisodeRecord]) -> list[AnswerRecord]:
    """All answers whose truth is known."""
    return [a for r in records for c in r.calls for a in c.answers if a.truth is not None]
