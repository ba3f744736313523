"""Answers that are locations, decoded: each id is the network's own choice among the allowed ones."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from inspire_fast.core.types import Observation, Sample, SceneFacts, TargetFacts
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.data.training_transform import ModelInput
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import symbols_of
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.render import PromptFields, asked, nothing_of_the_scene, render
from inspire_fast.dialogue.script import SCRIPTS, Script
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.evaluation.report.held_out_locations import locate, means, measures_by_kind
from inspire_fast.models.config import PRESETS
from inspire_fast.models.testing import random_images
from inspire_fast.policy.asking import ask
from inspire_fast.policy.decoder import Decoded, Decoder
from tests.policy.paper_network import PaperNetwork

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


@lru_cache
def decoder(script: Script) -> Decoder:
    model: Any = PaperNetwork.of(CONFIG)
    return Decoder(model, script, WORDS, horizon=10, action_dim=7)


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
    images = {k: v[number] for k, v in random_images(CONFIG, len(ROWS)).items()}
    actions = decoded.action_ids if script.acts else None
    rendered = render(script, ROWS[number], WORDS, answers=decoded.answers, action_ids=actions)
    logits = PaperNetwork.of(CONFIG).scores(images, dict.fromkeys(images, True), rendered.tokens)
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


@pytest.mark.parametrize("script", [GROUND, ANSWERS], ids=["ground", "st4vla_answers"])
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


def test_a_dialogue_can_ask_nothing() -> None:
    silent = replace(ROWS[0], targets=(), left_out=nothing_of_the_scene(ANSWERS))
    (alone,) = decode(ANSWERS, [silent])
    assert alone.answers == ()
    assert alone.action_ids
    with pytest.raises(ValueError, match="does not act, so that actions cannot be forced"):
        decoder(GROUND).decode(random_images(CONFIG, 1), [decoder(GROUND).plan(ROWS[0])], actions=[[1]])


UNIT = {
    key: NormStats(mean=np.zeros(n), std=np.ones(n), q01=-np.ones(n), q99=np.ones(n))
    for key, n in (("state", 3), ("actions", 7))
}
INPUTS = ModelInput(cameras=CONFIG.cameras, image_hw=CONFIG.image_hw, normalizer=Normalizer(stats=UNIT))


def sample(number: int, prompt: str, *phrases: str, hidden: str = "") -> Sample:
    """A sample with random pictures; what is hidden has no box, and nobody knows the directions."""
    pictures = random_images(CONFIG, 3)
    targets = tuple(
        TargetFacts(phrase=p, offset_m=None, grasped=None, point_px=(0.5, 0.25), box_px=None if p == hidden else BOX)
        for p in phrases
    )
    trace = np.array([[0.5, 0.5], [0.5, 0.75]], np.float32)
    return Sample(
        observation=Observation(
            images={camera: np.asarray(views[number]) for camera, views in pictures.items()},
            state=np.zeros(3),
            prompt=prompt,
        ),
        facts=SceneFacts(targets=targets, trace_px=trace),
    )


BOX = (0.25, 0.25, 0.5, 0.75)
SAMPLES = [
    sample(0, "put the bowl on the plate", "the bowl", "the plate", hidden="the plate"),
    sample(1, "open the drawer", "the drawer"),
    sample(2, "put the bowl on the plate", "the bowl", "the plate"),
]


def test_a_network_is_asked_what_the_facts_answer() -> None:
    """And under another sample's instruction its answers count as answers about the targets at the same place."""
    one = decoder(ANSWERS)
    own = ask(one, INPUTS, SAMPLES)
    named = [[(question.name, target) for question, target, _ in asked.answers] for asked in own if asked]
    drawer = [("point", "the drawer"), ("box", "the drawer")]
    assert named[0] == [("point", "the bowl"), ("box", "the bowl"), ("point", "the plate"), ("trace", "")]
    assert named[1] == [*drawer, ("trace", "")]

    told = ask(one, INPUTS, SAMPLES, told=[SAMPLES[1], SAMPLES[2], SAMPLES[1]])[1]
    assert told is not None
    assert [(question.name, target) for question, target, _ in told.answers] == [*drawer, ("trace", "")]
    as_told = replace(SAMPLES[1], observation=replace(SAMPLES[1].observation, prompt=SAMPLES[2].observation.prompt))
    same = ask(one, INPUTS, [SAMPLES[0], replace(as_told, facts=SAMPLES[2].facts), replace(SAMPLES[2], facts=None)])
    assert same[2] is None
    assert same[1] is not None
    of_bowl = {(q.name, target): answer for q, target, answer in same[1].answers}
    assert [answer for _, _, answer in told.answers[:2]] == [of_bowl["point", "the bowl"], of_bowl["box", "the bowl"]]


def test_places_of_held_out_samples_are_measured_beside_baselines() -> None:
    rows = locate(decoder(ANSWERS), INPUTS, SAMPLES, ["a", "b", "c"])
    assert [[row.kind for row in one] for one in rows] == [
        ["point", "box", "point", "trace"], ["point", "box", "trace"], ["point", "box", "point", "box", "trace"]
    ]  # fmt: skip
    flat = [row for one in rows for row in one]
    assert all(row.answer is not None for row in flat)
    assert {row.target for row in flat if row.shuffled is None} == {"the plate"}  # the drawer's task has one target
    assert [row.episode for row in flat[:5]] == ["a"] * 4 + ["b"]
    assert flat[1].truth.tolist() == list(BOX)
    found = measures_by_kind(flat, means(one.facts for one in SAMPLES if one.facts is not None))
    assert {kind: [m.name for m in measures] for kind, measures in found.items()} == {
        "point": ["in_box", "error", "error_px"],
        "box": ["iou", "iou_50"],
        "trace": ["rmse", "frechet", "dtw", "end_error", "end_error_px"],
    }
    assert found["box"][0].mean_baseline == 1  # all boxes are the same here
    assert "mean  1.000" in str(found["box"][0])
    alone = locate(decoder(ANSWERS), INPUTS, SAMPLES[:1] * 3, ["a"] * 3)
    assert all(row.shuffled is None for one in alone for row in one)
