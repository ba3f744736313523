"""What was answered lately: drafts for the next call, and answers that are kept instead of being asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inspire_fast.dialogue.script import Script


@dataclass(frozen=True, kw_only=True)
class Said:
    """The answers of one call, and how many calls have kept them since."""

    answers: tuple[str, ...]
    probabilities: tuple[float, ...]
    kept: int = 0


class RecentAnswers:
    """The last answers of every session about the same targets; the longest unused are forgotten.

    A draft may come from anywhere, since it changes nothing that is said. Kept answers are only ever a session's own.
    """

    def __init__(self, script: Script, *, sessions: int = 1024) -> None:
        self._questions = script.questions
        self._sessions = sessions
        self._said: OrderedDict[tuple[str, tuple[str, ...]], Said] = OrderedDict()

    def draft(self, session: str, targets: Sequence[str]) -> tuple[str, ...]:
        """What the session answered last, or, where it has not yet, each question's first answer.

        So the first call already has the shape of all later ones, and none of them waits for a compilation.
        """
        said = self._said.get((session, tuple(targets)))
        return said.answers if said else tuple(q.answers[0] for _ in targets for q in self._questions)

    def kept(self, session: str, targets: Sequence[str], every: int) -> Said | None:
        """The answers that stand in place of asking, where only every `every`-th call asks; None where it is time to ask."""
        said = self._said.get((session, tuple(targets)))
        return said if said is not None and said.kept + 1 < every else None

    def asked(
        self, session: str, targets: Sequence[str], answers: Sequence[str], probabilities: Sequence[float]
    ) -> None:
        """Remembers what the model answered."""
        self._remember((session, tuple(targets)), Said(answers=tuple(answers), probabilities=tuple(probabilities)))

    def used(self, session: str, targets: Sequence[str]) -> None:
        """One more call has gone by without asking."""
        key = (session, tuple(targets))
        if key in self._said:
            self._remember(key, replace(self._said[key], kept=self._said[key].kept + 1))

    def _remember(self, key: tuple[str, tuple[str, ...]], said: Said) -> None:
        self._said[key] = said
        self._said.move_to_end(key)
        while len(self._said) > self._sessions:
            self._said.popitem(last=False)
