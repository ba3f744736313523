"""Seeds of numpy's global generator, from which LIBERO draws the poses of fixtures, for each episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from typing import Any, Literal

import numpy as np

FixtureSeeding = Literal["episode", "constant", "sequence"]
_SEQUENCE_LENGTH = 1000


class Placements:
    """Draws of each episode that depend on seed and episode alone, whatever ran before.

    Args:
        seed: of all draws.
        seeding: `episode` seeds each episode on its own; `constant` gives every episode the draws of `seed`; `sequence`
            seeds once per task and continues from episode to episode, as openpi's client does. An episode out of order
            first draws all earlier ones (a fraction of a second each), once.
        reset: draws one episode.
    """

    def __init__(self, seed: int, seeding: FixtureSeeding, reset: Callable[[], None]) -> None:
        self._seed, self._seeding, self._reset = seed, seeding, reset
        self._before: list[Any] = []  # the generator's state before each reset of the sequence

    def place(self, episode: int, attempt: int) -> None:
        """Resets with the draws of this episode; each attempt has its own.

        Raises:
            ValueError: an episode of a sequence with too many earlier ones to draw.
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
                f"Episode {episode} of a sequence depends on {episode} earlier ones; at most {_SEQUENCE_LENGTH} are "
                "drawn. Use fixture_seeding='episode' for later ones."
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
    """Restores the global generator's state after a `with` block."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)


@contextlib.contextmanager
def seeded(entropy: list[int]) -> Iterator[None]:
    """Seeds numpy's global generator inside a `with` block, and restores its state afterwards."""
    with preserved():
        # A single number is used directly, so that 7 gives the draws of `np.random.seed(7)` in other LIBERO code.
        np.random.seed(entropy[0] if len(entropy) == 1 else np.random.SeedSequence(entropy).generate_state(1)[0])
        yield
