"""Cache of recent answers: drafts for the next call, and answers that are reused instead of being asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.script import Script


@dataclass(frozen=True, kw_only=True)
class CachedAnswers:
    """The answers of one call, and how many later calls have reused them."""

    answers: tuple[str, ...]
    probabilities: tuple[float, ...]
    kept: int = 0


class RecentAnswers:
    """The last answers of every session about the same targets; the longest unused are forgotten.

    A draft may come from any source, since it does not change what the policy answers. Reused answers are always the
    session's own.
    """

    def __init__(self, script: Script, *, sessions: int = 1024) -> None:
        self._script = script
        self._sessions = sessions
        self._cached: OrderedDict[tuple[str, tuple[str, ...]], CachedAnswers] = OrderedDict()

    def draft(self, session: str, targets: Sequence[str]) -> tuple[str, ...]:
        """The session's last answers, or some allowed answer to each question.

        So the first call has the shape of all later ones, and none of them waits for a compilation.
        """
        cached = self._cached.get((session, tuple(targets)))
        if cached:
            return cached.answers
        return tuple(form_of(question).first for question, _ in self._script.slots(tuple(targets)))

    def kept(self, session: str, targets: Sequence[str], every: int) -> CachedAnswers | None:
        """Cached answers if only every `every`-th call asks; None if it is this call's turn to ask."""
        cached = self._cached.get((session, tuple(targets)))
        return cached if cached is not None and cached.kept + 1 < every else None

    def asked(
        self, session: str, targets: Sequence[str], answers: Sequence[str], probabilities: Sequence[float]
    ) -> None:
        """Remembers what the model answered."""
        self._remember(
            (session, tuple(targets)), CachedAnswers(answers=tuple(answers), probabilities=tuple(probabilities))
        )

    def used(self, session: str, targets: Sequence[str]) -> None:
        """Counts one more call that did not ask."""
        key = (session, tuple(targets))
        if key in self._cached:
            self._remember(key, replace(self._cached[key], kept=self._cached[key].kept + 1))

    def _remember(self, key: tuple[str, tuple[str, ...]], cached: CachedAnswers) -> None:
        self._cached[key] = cached
        self._cached.move_to_end(key)
        while len(self._cached) > self._sessions:
            self._cached.popitem(last=False)
