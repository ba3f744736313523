"""Tiny vocabulary for unit tests and examples, made in a fraction of a second."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from inspire_fast.dialogue.questions.direction import Direction
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer

DIRECTION = Direction(axes=ROBOTS["libero"].axes)
SENTENCES = (
    "Task: put the red block on the plate, State: 128 7 255;\n",
    "Task: pick up the black bowl and place it in the basket, State: 0 1 2;\n",
    "Question: In which direction is the black bowl relative to the robot? Answer:;\nAction: |",
)


def random_chunks(count: int, horizon: int, action_dim: int, seed: int = 0) -> np.ndarray:
    """Smooth random chunks `[count, horizon, action_dim]` within [-1, 1]."""
    steps = np.random.default_rng(seed).normal(size=(count, horizon, action_dim)) * 0.25
    return np.clip(np.cumsum(steps, axis=1), -1, 1)


@lru_cache(maxsize=8)
def tiny_vocabulary(
    horizon: int = 10, action_dim: int = 7, *, one_id_answers: bool = True, locations: int = 0
) -> Vocabulary:
    """A vocabulary of 512 ids, and as many more as it has `locations`.

    With `one_id_answers=False` some answers of `DIRECTION` have several ids.
    """
    symbols = [" " + answer for answer in DIRECTION.answers] if one_id_answers else []
    text = TextTokenizer.fit(SENTENCES * 4, vocab_size=330 + locations, symbols=symbols, locations=locations)
    # Wide enough for any chunk within [-1, 1]: |DCT| <= sqrt(horizon), plus slack for quantile normalisation.
    bound = int(np.ceil(20 * horizon**0.5))
    action = FastTokenizer.fit(
        random_chunks(200, horizon, action_dim), vocab_size=180, coefficient_range=(-bound, bound)
    )
    return Vocabulary(text=text, action=action, size=512 + locations, skip=0)
