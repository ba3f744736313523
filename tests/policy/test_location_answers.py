"""Answers that are locations, decoded: each id is the teacher-forced network's own choice among the allowed ones."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import jax
import numpy as np
import pytest

from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import symbols_of
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.render import PromptFields, asked, nothing_of_the_scene, render
from inspire_fast.dialogue.script import SCRIPTS, Script
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.models.config import PRESETS
from inspire_fast.models.inference.build import build
from inspire_fast.models.testing import random_images, random_model
from inspire_fast.policy.decoder import Decoded, Decoder

BINS = 16
WORDS = tiny_vocabulary(locations=BINS)
QUESTIONS_ASKED = (
    DIRECTION,
    QUESTIONS["point"](bins=BINS),
    QUESTIONS["box"](bins=BINS),
    QUESTIONS["trace"](points=2, bins=BINS),
)
GROUND, ANSWERS = SCRIPTS["ground"](*QUESTIONS_ASKED), SCRIPTS["st4vla_answers"](*QUESTIONS_ASKED)
CONFIG = replace(PRESETS["test"], vocab_size=WORDS.size)
ROWS = [
    PromptFields(instruction="put the bowl on the plate", state=np.zeros(3), targets=("the bowl", "the plate")),
    PromptFields(instruction="open it", state=np.full(3, 0.5), targets=("the drawer",)),
    PromptFields(instruction="go", state=np.ones(2)),
]
LONGEST = 448
full_logits = jax.jit(lambda m, *args: m.logits(m(*args)))


@pytest.fixture(scope="module", autouse=True)
def compiles_fast() -> Iterator[None]:
    """Compiling is nearly all of what these tests take."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@lru_cache
def decoder(script: Script) -> Decoder:
    return Decoder(build(random_model(CONFIG)), script, WORDS, horizon=10, action_dim=7)


def decode(script: Script, rows: list[PromptFields], **given) -> list[Decoded]:
    one = decoder(script)
    planned = [one.plan(fields) for fields in rows]
    for draft, trusted in ((given.get("drafts"), False), (given.get("forced"), True)):
        planned = (
            [r.with_answers(a, trusted=trusted) for r, a in zip(planned, draft, strict=True)] if draft else planned
        )
    return one.decode(random_images(CONFIG, len(rows)), planned)


def own_choices(script: Script, number: int, decoded: Decoded) -> tuple[list[str], list[float]]:
    """The answers and their probabilities by the teacher-forced network, along the decoded dialogue."""
    images = {k: v[number : number + 1] for k, v in random_images(CONFIG, len(ROWS)).items()}
    actions = decoded.action_ids if script.acts else None
    rendered = render(script, ROWS[number], WORDS, answers=decoded.answers, action_ids=actions)
    n = len(rendered.tokens)
    ids, block = np.zeros((1, LONGEST), np.int32), np.full((1, LONGEST), n, np.int32)
    ids[0, :n], block[0, :n] = rendered.tokens.ids, rendered.tokens.block
    shown = {name: np.ones(1, bool) for name in images}
    logits = np.asarray(full_logits(random_model(CONFIG), images, shown, ids, np.arange(LONGEST)[None] < n, block))[0]
    answers, probabilities = [], []
    for question, target in asked(script, ROWS[number]):
        piece = next(
            i for i, p in enumerate(rendered.pieces) if p.kind == "answer" and (p.slot, p.target) == (question, target)
        )
        grammar, state, chosen, total = form_of(question).grammar(WORDS), 0, list[int](), 0.0
        for at in np.flatnonzero(rendered.tokens.segment == piece):
            scores = np.where(grammar.allowed(state, chosen), logits[at - 1][grammar.ids], -np.inf)
            symbol = int(np.argmax(scores))
            total += float(scores[symbol] - scores.max() - np.log(np.exp(scores - scores.max()).sum()))
            state, chosen = int(grammar.next_state[state, symbol]), [*chosen, symbol]
        answers.append(form_of(question).answer(grammar.ids[chosen].tolist(), WORDS))
        probabilities.append(float(np.exp(total)))
    return answers, probabilities


@pytest.mark.parametrize(
    "script", [pytest.param(GROUND, marks=pytest.mark.slow), ANSWERS], ids=["ground", "st4vla_answers"]
)
def test_every_location_is_the_teacher_forced_choice(script: Script) -> None:
    """Words and locations of one id and of many, rows with different questions, with and without actions."""
    found = decode(script, ROWS)
    for number, decoded in enumerate(found):
        answers, probabilities = own_choices(script, number, decoded)
        assert list(decoded.answers) == answers
        np.testing.assert_allclose(decoded.answer_probabilities, probabilities, rtol=1e-4)
        assert bool(decoded.action_ids) == script.acts
    boxes = [symbols_of(a) for row, fields in zip(found, ROWS, strict=True) for a in _boxes(row, script, fields)]
    assert len(boxes) == 3
    assert all(y0 <= y1 and x0 <= x1 for y0, x0, y1, x1 in boxes)


def _boxes(decoded: Decoded, script: Script, fields: PromptFields) -> list[str]:
    said = zip(asked(script, fields), decoded.answers, strict=True)
    return [answer for (question, _), answer in said if question.name == "box"]


def test_drafts_and_forced_answers_of_many_ids() -> None:
    free = decode(ANSWERS, ROWS)
    drafted = decode(ANSWERS, ROWS, drafts=[row.answers for row in free])
    assert [row.accepted for row in drafted] == [7, 4, 1]  # three questions per target, and the path
    wrong = [(*row.answers[:-1], form_of(QUESTIONS_ASKED[3]).wrong(row.answers[-1])) for row in free]
    again = decode(ANSWERS, ROWS, drafts=wrong)
    assert [row.accepted for row in again] == [6, 3, 0]
    for one in (drafted, again):
        for row, other in zip(free, one, strict=True):
            assert (row.answers, row.action_ids) == (other.answers, other.action_ids)
            np.testing.assert_allclose(row.answer_probabilities, other.answer_probabilities, rtol=1e-4)
    forced = decode(ANSWERS, ROWS, forced=wrong)
    assert [row.answers for row in forced] == wrong
    assert all(p == 1 for row in forced for p in row.answer_probabilities)


@pytest.mark.slow
def test_heat_maps_are_the_probabilities_of_the_answers() -> None:
    one, found = decoder(ANSWERS), decode(ANSWERS, ROWS)
    rows = [one.plan(f).with_answers(d.answers, trusted=False) for f, d in zip(ROWS, found, strict=True)]
    for row, decoded, maps in zip(rows, found, one.answer_maps(random_images(CONFIG, 3), rows), strict=True):
        for (question, _), symbols, heat, p in zip(
            row.asked, row.symbols, maps, decoded.answer_probabilities, strict=True
        ):
            assert heat.shape == (len(symbols), len(form_of(question).grammar(WORDS).ids))
            np.testing.assert_allclose(heat.sum(axis=1), 1, rtol=1e-5)
            np.testing.assert_allclose(heat[np.arange(len(symbols)), symbols].prod(), p, rtol=1e-3)
            assert heat.argmax(axis=1).tolist() == symbols
            if question.name == "box":
                assert not heat[2, : symbols[0]].any()  # above the upper edge
    with pytest.raises(ValueError, match=r"Rows \[0\] hold no answers"):
        one.answer_maps(random_images(CONFIG, 1), [one.plan(ROWS[0])])


@pytest.mark.slow
def test_a_dialogue_can_ask_nothing() -> None:
    silent = replace(ROWS[0], targets=(), left_out=nothing_of_the_scene(ANSWERS))
    (alone,) = decode(ANSWERS, [silent])
    assert alone.answers == ()
    assert alone.action_ids
    with pytest.raises(ValueError, match="does not act, so that actions cannot be forced"):
        decoder(GROUND).decode(random_images(CONFIG, 1), [decoder(GROUND).plan(ROWS[0])], actions=[[1]])
