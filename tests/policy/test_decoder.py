"""The compiled dialogue against the teacher-forced network, row by row; and chunks that cannot be malformed."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import numpy as np
import pytest

from inspire_fast.dialogue.render import Turn, render
from inspire_fast.dialogue.script import Context, Script
from inspire_fast.dialogue.scripts import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.models.config import PRESETS
from inspire_fast.models.testing import random_images, random_model
from inspire_fast.policy.decoder import Decoded, Decoder
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.policy.testing import tiny_policy

TURNS = [
    Turn(instruction="put the bowl on the plate", state=np.zeros(3), targets=("the bowl", "the plate")),
    Turn(instruction="open it", state=np.full(3, 0.5), targets=("the drawer",)),
    Turn(instruction="go", state=np.ones(2)),
]


@lru_cache
def policy(*, one_id_answers: bool) -> InspirePolicy:
    return tiny_policy(one_id_answers=one_id_answers)


def decode(one: InspirePolicy, turns: list[Turn], **options: Any) -> list[Decoded]:
    images = random_images(one.contract.model, len(turns))
    # The first camera of the second row is masked: the cache must cope.
    shown = {name: np.arange(len(turns)) != 1 if n == 0 else np.ones(len(turns), bool) for n, name in enumerate(images)}
    return one.decoder.decode(images, shown, turns, **options)


LONGEST = 320
full_logits = jax.jit(lambda m, *args: m.logits(m(*args)))


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x - x.max()).sum()) - x.max()


def teacher_forced(one: InspirePolicy, row: int, decoded: Decoded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids, segments, logits) of the finished dialogue of one row."""
    images = {k: v[row : row + 1] for k, v in random_images(one.contract.model, len(TURNS)).items()}
    shown = {name: np.array([row != 1 or n != 0]) for n, name in enumerate(images)}
    tokens = render(
        one.script, TURNS[row], one.vocabulary, answers=decoded.answers, action_ids=decoded.action_ids
    ).tokens
    n = len(tokens)
    ids, block = np.zeros((1, LONGEST), np.int32), np.full((1, LONGEST), n, np.int32)
    ids[0, :n], block[0, :n] = tokens.ids, tokens.block
    logits = full_logits(one.decoder.model, images, shown, ids, np.arange(LONGEST)[None] < n, block)
    return tokens.ids, tokens.segment, np.asarray(logits)[0, :n]


@pytest.mark.parametrize("one_id_answers", [True, False], ids=["words of one id", "words of several ids"])
def test_every_choice_is_the_teacher_forced_one(one_id_answers: bool) -> None:
    one = policy(one_id_answers=one_id_answers)
    assert one.decoder.answers["direction"].depth == 1 or not one_id_answers
    for row, decoded in enumerate(decode(one, TURNS)):
        ids, segment, logits = teacher_forced(one, row, decoded)
        pieces = render(one.script, TURNS[row], one.vocabulary).pieces
        slots = [i for i, p in enumerate(pieces) if p.kind == "answer"]
        answers = one.decoder.answers["direction"]
        for slot, answer, probability in zip(slots, decoded.answers, decoded.answer_probabilities, strict=True):
            at = np.flatnonzero(segment == slot)
            state, log_p = 0, 0.0
            for position in at:
                following = answers.grammar.next_state[state]
                allowed = np.where(following >= 0, logits[position - 1][answers.ids], -np.inf)
                symbol = int(np.argmax(allowed))
                assert answers.ids[symbol] == ids[position]
                log_p += float(log_softmax(allowed)[symbol])
                state = following[symbol]
            assert answer in DIRECTION.answers
            np.testing.assert_allclose(probability, np.exp(log_p), rtol=1e-4)
        assert_actions_greedy(one, decoded, logits, np.flatnonzero(segment == len(pieces) - 1))


def assert_actions_greedy(one: InspirePolicy, decoded: Decoded, logits: np.ndarray, at: np.ndarray) -> None:
    grammar = one.vocabulary.action.grammar(10, 7)
    action_ids = one.vocabulary.from_action(np.arange(one.vocabulary.action.vocab_size))
    state, owed, total = grammar.start, grammar.owed, 0.0
    for position, chosen in zip(at, decoded.action_ids, strict=False):
        allowed = np.where(grammar.allowed(state, owed), logits[position - 1][action_ids], -np.inf)
        assert int(np.argmax(allowed)) == chosen
        total += float(log_softmax(allowed)[chosen])
        state, owed = grammar.advance(state, owed, chosen)
    assert grammar.done(state, owed)
    np.testing.assert_allclose(decoded.action_log_probability, total, rtol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    one = policy(one_id_answers=True)
    images = random_images(one.contract.model, len(TURNS))
    shown = dict.fromkeys(images, np.ones(len(TURNS), bool))
    together = one.decoder.decode(images, shown, TURNS)
    for row, turn in enumerate(TURNS):
        alone = one.decoder.decode(
            {k: v[row : row + 1] for k, v in images.items()}, {k: v[row : row + 1] for k, v in shown.items()}, [turn]
        )[0]
        assert alone.answers == together[row].answers
        assert alone.action_ids == together[row].action_ids


def test_forced_answers_are_what_the_actions_follow() -> None:
    one = policy(one_id_answers=False)
    forced = [["left", "grasped"], ["up"], []]
    for row, decoded in enumerate(decode(one, TURNS, forced=forced)):
        assert list(decoded.answers) == forced[row]
        assert decoded.answer_probabilities == (1.0,) * len(forced[row])
        _, segment, logits = teacher_forced(one, row, decoded)
        assert_actions_greedy(one, decoded, logits, np.flatnonzero(segment == segment.max()))


def test_free_answers_forced_back_change_nothing() -> None:
    one = policy(one_id_answers=True)
    free = decode(one, TURNS)
    again = decode(one, TURNS, forced=[row.answers for row in free])
    assert [row.action_ids for row in again] == [row.action_ids for row in free]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.0, 1.0, 3.0]))
def test_chunks_of_random_weights_are_well_formed(seed: int, temperature: float) -> None:
    one = policy(one_id_answers=True)
    grammar = one.vocabulary.action.grammar(10, 7)
    turns = [replace(TURNS[0], state=np.full(3, s)) for s in np.linspace(-1, 1, 16)]
    images = random_images(one.contract.model, 16, seed)
    shown = dict.fromkeys(images, np.ones(16, bool))
    for row in one.decoder.decode(images, shown, turns, temperature=temperature, seed=seed):
        assert grammar.accepts(row.action_ids)
        assert np.isfinite(one.vocabulary.action.decode(list(row.action_ids), 10, 7)).all()


def test_sampling_follows_the_seed() -> None:
    one = policy(one_id_answers=True)
    first, again, other = (decode(one, TURNS, temperature=2.0, seed=s)[0].action_ids for s in (3, 3, 4))
    assert first == again != other


def test_what_cannot_work_is_refused_at_construction() -> None:
    vocabulary = tiny_vocabulary()
    model = random_model(replace(PRESETS["test"], vocab_size=vocabulary.size))
    mute = Script(name="mute", segments=(Context(text="Task: {instruction}"),))
    with pytest.raises(ValueError, match="no action slot"):
        Decoder(model, mute, vocabulary, horizon=10, action_dim=7)
    small = random_model(replace(PRESETS["test"], vocab_size=400))
    with pytest.raises(ValueError, match="400 ids"):
        Decoder(small, SCRIPTS["inspire"](DIRECTION), vocabulary, horizon=10, action_dim=7)


def test_refusals_in_a_call() -> None:
    one = policy(one_id_answers=True)
    with pytest.raises(ValueError, match="1 forced answers for 2 questions"):
        decode(one, TURNS, forced=[["left"], ["up"], []])
    with pytest.raises(ValueError, match="not an allowed answer; allowed: right"):
        decode(one, TURNS, forced=[["left", "yonder"], ["up"], []])
    many = replace(TURNS[0], targets=tuple(f"thing {n}" for n in range(17)))
    with pytest.raises(ValueError, match="17 questions exceed"):
        decode(one, [many])
