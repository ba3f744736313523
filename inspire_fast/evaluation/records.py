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


def claim(folder: Path, settings: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
    """Writes down what is evaluated and how, or checks that it is what the folder's records are of.

    Raises:
        ValueError: the folder holds records of another policy or of other settings; names the differences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "evaluation.json"
    now = json.loads(json.dumps({"settings": dict(settings), "policy": dict(policy)}))
    if path.exists():
        before = json.loads(path.read_text())
        differing = [
            f"{part}.{key}: {before[part].get(key)!r} then, {now[part].get(key)!r} now"
            for part in now
            for key in {**before[part], **now[part]}
            if before[part].get(key) != now[part].get(key)
        ]
        if differing:
            raise ValueError(
                f"{folder} holds episodes of another evaluation; choose another folder or delete it.\n  "
                + "\n  ".join(differing)
            )
        return
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(now, indent=2, sort_keys=True))
    partial.replace(path)


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
