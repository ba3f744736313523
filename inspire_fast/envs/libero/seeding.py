"""What numpy's global generator, from which LIBERO draws fixtures' poses, holds while an episode is being placed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from typing import Any, Literal

import numpy as np

FixtureSeeding = Literal["episode", "constant", "sequence"]
_SEQUENCE_LENGTH = 1000


class Placements:
    """The draws of each episode, a function of seed and episode alone, whatever ran before.

    Args:
        seed: of everything.
        seeding: `episode` seeds each episode's draws anew; `constant` gives every episode those of `seed`; `sequence` lets
            episode after episode draw on from `seed`, as openpi's client does, which seeds once per task. For an episode
            out of order, the earlier ones are drawn first (a fraction of a second each, once) and their state is kept.
        reset: draws one episode.
    """

    def __init__(self, seed: int, seeding: FixtureSeeding, reset: Callable[[], None]) -> None:
        self._seed, self._seeding, self._reset = seed, seeding, reset
        self._before: list[Any] = []  # the generator's state before each reset of the sequence

    def place(self, episode: int, attempt: int) -> None:
        """Resets with the draws of this episode. Other attempts than the first draw otherwise.

        Raises:
            ValueError: so late in a sequence that drawing all earlier episodes is no use of anybody's time.
        """
        if self._seeding == "sequence":
            with preserved():
                self._advance(episode)
                np.random.set_state(self._before[episode])
                self._reset()
            return
        with seeded([self._seed] if self._seeding == "constant" else [self._seed, episode, attempt]):
            self._reset()

    def _advance(self, episode: int) -> None:
        if episode >= _SEQUENCE_LENGTH:
            raise ValueError(
                f"Episode {episode} of a sequence depends on {episode} earlier ones; at most {_SEQUENCE_LENGTH} are drawn."
            )
        if not self._before:
            np.random.seed(self._seed)
            self._before.append(np.random.get_state())
        np.random.set_state(self._before[-1])
        while len(self._before) <= episode:
            self._reset()
            self._before.append(np.random.get_state())


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Puts the global generator's state back after a `with` block."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)


@contextlib.contextmanager
def seeded(entropy: list[int]) -> Iterator[None]:
    """Seeds numpy's global generator inside a `with` block and puts its state back afterwards."""
    with preserved():
        # One number is used as it is, so that it means what `np.random.seed(7)` means to LIBERO's other users.
        np.random.seed(entropy[0] if len(entropy) == 1 else np.random.SeedSequence(entropy).generate_state(1)[0])
        yield
