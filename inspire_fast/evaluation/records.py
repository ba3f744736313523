"""What an evaluation writes down: one JSON line per episode, each call inside it. Appending makes it resumable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
import json
from pathlib import Path
from typing import Any

FILE = "episodes.jsonl"


@dataclass(frozen=True, kw_only=True)
class AnswerRecord:
    """One answer during a rollout, and the simulator's truth at that moment (None where nobody knows it).

    `question` is the registry name, `asked` its wording about this target.
    """

    question: str
    asked: str
    target: str
    answer: str
    probability: float
    truth: str | None

    @property
    def right(self) -> bool | None:
        """Whether the answer is the true one; None without a truth."""
        return None if self.truth is None else self.answer == self.truth


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """One call of the policy: at which control step, what it answered, whether it acted, how long it took."""

    step: int
    answers: tuple[AnswerRecord, ...]
    status: str
    reason: str
    timing_ms: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One episode. `video` is relative to the folder of the records."""

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


def append(folder: Path, record: EpisodeRecord) -> None:
    """Adds one line. A line that a killed process left unfinished is cut off first."""
    path = folder / FILE
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        whole = path.read_bytes().rpartition(b"\n")
        path.write_bytes(whole[0] + whole[1])
    with path.open("a") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def read(folder: Path) -> list[EpisodeRecord]:
    """Every complete record of the folder."""
    path = folder / FILE
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]  # what follows the last newline is unfinished
    return [EpisodeRecord.from_dict(json.loads(line)) for line in lines]


def answers(records: Iterable[EpisodeRecord]) -> list[AnswerRecord]:
    """All answers whose truth is known."""
    return [a for r in records for c in r.calls for a in c.answers if a.truth is not None]
