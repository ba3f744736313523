"""Locations: bins, text, grammars; the scripts that ask for them; PaliGemma's own wording to the id."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import Locations, dequantise, place_of, quantise, read, spell, symbols_of, write
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.questions.pictures import closeness, overlap
from inspire_fast.dialogue.render import Kind, PromptFields, asked, encode, render
from inspire_fast.dialogue.script import SCRIPTS, Ask, Forced, ForEachTarget, Script, Slot
from inspire_fast.dialogue.spatial_scripts import SPATIAL_PROMPTS
from inspire_fast.dialogue.testing import DIRECTION, random_chunks, tiny_vocabulary

BINS = 16
WORDS = tiny_vocabulary(locations=BINS)
POINT, BOX = QUESTIONS["point"](bins=BINS), QUESTIONS["box"](bins=BINS)
TRACE, MOVEMENT = QUESTIONS["trace"](points=2, bins=BINS), QUESTIONS["movement"](axes=DIRECTION.axes)
ALL = (DIRECTION, POINT, BOX, TRACE, MOVEMENT)
FIELDS = PromptFields(
    instruction="put the bowl on the plate", state=np.zeros(2), targets=("the black bowl", "the plate")
)


@given(c=st.floats(0, 1), bins=st.sampled_from([16, 256, 1024]))
def test_a_location_is_at_most_half_a_bin_from_its_place(c: float, bins: int) -> None:
    symbol = quantise([c], bins)
    assert abs(dequantise(symbol, bins)[0] - c) <= 0.5 / (bins - 1) + 1e-12
    np.testing.assert_array_equal(quantise(dequantise(symbol, bins), bins), symbol)
    np.testing.assert_allclose(read(write([c], bins), bins), dequantise(symbol, bins))


def test_bins_are_paligemmas() -> None:
    assert quantise([0, 0.3, 0.5, 0.7007, 1]).tolist() == [0, 307, 512, 717, 1023]
    assert write([(0.3, 0.7007)]) == "<loc0307><loc0717>"
    for outside in (-1e-9, 1.001, float("nan"), 112.0):
        with pytest.raises(ValueError, match=r"fraction 0\.\.1 of the picture's height or width"):
            quantise([0.5, outside])
    with pytest.raises(ValueError, match="Locations are written like"):
        read("<loc12>")
    with pytest.raises(ValueError, match="has the bin 16; there are 16"):
        read("<loc0016>", 16)


@given(number=st.integers(0, 2**32 - 1), form=st.sampled_from([form_of(q) for q in ALL]))
def test_allowed_answers_are_what_the_grammar_allows(number: int, form: Locations) -> None:
    answer, grammar = form.pick(number), form.grammar(WORDS)
    ids = form.ids(answer, WORDS)
    state, chosen = 0, list[int]()
    for i in ids:
        symbol = int(np.searchsorted(grammar.ids, i))
        assert grammar.ids[symbol] == i
        assert grammar.allowed(state, chosen)[symbol]
        state, chosen = int(grammar.next_state[state, symbol]), [*chosen, symbol]
    assert grammar.accepting[state]
    assert form.answer(ids, WORDS) == answer
    assert form.allows(answer)
    wrong = form.wrong(answer)
    assert wrong != answer
    assert form.allows(wrong)
    assert form.allows(form.first)


def test_wrong_answers_are_mirrored_or_towards_the_corner():
    point, box = form_of(POINT), form_of(BOX)
    assert (point.first, box.first) == (spell([7, 7]), spell([0, 0, 15, 15]))
    assert point.wrong(spell([3, 10])) == spell([12, 5])
    assert point.wrong(spell([7, 6])) == spell([8, 9])
    assert point.wrong(spell([7, 7])) == spell([3, 3])  # mirrored it would lie less than an eighth of the picture aside
    assert point.wrong(spell([8, 8])) == spell([4, 4])
    assert box.wrong(spell([1, 2, 5, 7])) == spell([10, 8, 14, 13])
    assert box.wrong(spell([0, 0, 15, 15])) == spell([0, 0, 7, 7])


def test_the_corners_of_a_box_stay_in_order() -> None:
    form = Locations(count=4, bins=4, box=True)
    grammar = form.grammar(tiny_vocabulary(locations=4))
    assert grammar.not_below.tolist() == [-1, -1, 0, 1, -1]
    assert grammar.allowed(2, [2, 1]).tolist() == [False, False, True, True]  # y1 after y0 = 2
    assert grammar.allowed(3, [2, 1, 3]).tolist() == [False, True, True, True]  # x1 after x0 = 1
    assert form.allows("<loc0002><loc0001><loc0002><loc0003>")
    assert not form.allows("<loc0002><loc0001><loc0001><loc0003>")
    assert not form.allows("<loc0002><loc0001><loc0003>")
    assert not form.allows("<loc0002><loc0001><loc0003><loc0004>")
    assert not form.allows("left")


def test_a_vocabulary_has_as_many_locations_as_the_questions_say() -> None:
    with pytest.raises(ValueError, match="answers with 1024 locations, and the text tokenizer has 16"):
        form_of(QUESTIONS["point"]()).grammar(WORDS)
    assert WORDS.text.encode("<loc0003>") != WORDS.locations(BINS)[3:4].tolist()  # a person's text stays text


@pytest.mark.parametrize("name", ["inspire", "inspire_first", "ground", "st4vla", "st4vla_answers", "detect"])
@given(data=st.data())
def test_inference_writes_a_prefix_of_what_training_renders(name: str, data: st.DataObject) -> None:
    """Ids, blocks and weights agree after every answer, whichever questions are left out."""
    words, script = WORDS, SCRIPTS["paligemma_detect"](QUESTIONS["box"]()) if name == "detect" else None
    if script is None:
        script = SCRIPTS[name](*data.draw(st.lists(st.sampled_from(ALL), min_size=1, unique=True)))
    else:
        words = tiny_vocabulary(locations=1024)
    targets = data.draw(st.sampled_from([(), FIELDS.targets[:1], FIELDS.targets]))
    pairs = st.sampled_from([(q.name, t) for q in ALL for t in ("", *FIELDS.targets)])
    left_out = data.draw(st.frozensets(pairs, max_size=3))
    fields = PromptFields(instruction="put it", state=np.zeros(2), targets=targets, left_out=left_out)
    slots = asked(script, fields)
    assert not left_out & {(question.name, target) for question, target in slots}
    answers = [form_of(q).pick(data.draw(st.integers(0, 2**32 - 1))) for q, _ in slots]
    actions = words.action.encode(random_chunks(1, 10, 7, 1)[0])
    training = render(script, fields, words, answers=answers, action_ids=actions).tokens
    for k in range(len(answers) + 1):
        inference = encode(script, fields, words).fill(answers[:k])
        n = len(inference.tokens)
        for part in ("ids", "block", "weight"):
            np.testing.assert_array_equal(getattr(inference.tokens, part), getattr(training, part)[:n])
        if inference.empty is not None:
            assert inference.pieces[inference.empty].kind is (Kind.ANSWER if k < len(answers) else Kind.ACTION)


def test_detection_is_worded_as_paligemmas_own() -> None:
    words = tiny_vocabulary(locations=1024)
    script = SCRIPTS["paligemma_detect"](QUESTIONS["box"]())
    rendered = render(script, FIELDS, words, answers=["<loc0256><loc0512><loc0384><loc0767>"])
    text, locations = words.text, words.locations(1024)
    assert rendered.tokens.ids.tolist() == [
        text.bos_id,
        *text.encode("detect black bowl\n"),
        *locations[[256, 512, 384, 767]].tolist(),  # no space before the first
        *text.encode(" black bowl"),
        text.eos_id,
    ]
    prefix = len(text.encode("detect black bowl\n")) + 1
    assert rendered.tokens.block[:prefix].tolist() == [0] * prefix  # bidirectional, with the picture
    assert rendered.tokens.causal[prefix:].all()
    assert rendered.tokens.supervised.tolist() == [False] * prefix + [True] * (len(rendered.tokens) - prefix)
    with pytest.raises(ValueError, match="answers the one question 'box', with 1024 bins"):
        SCRIPTS["paligemma_detect"](BOX)


def test_spatial_prompts_are_context_and_differ_in_their_words_alone() -> None:
    lengths = {wording: len(text.split()) for wording, text in SPATIAL_PROMPTS.items()}
    assert max(lengths.values()) - min(lengths.values()) <= 1
    rendered = {
        wording: render(SCRIPTS["st4vla"](POINT, spatial_prompt=wording), FIELDS, WORDS, action_ids=[3])
        for wording in SPATIAL_PROMPTS
    }
    plain = render(SCRIPTS["pi0_fast"](), FIELDS, WORDS, action_ids=[3])
    for wording, one in rendered.items():
        assert [p.text for p in one.pieces[1:]] == [p.text for p in plain.pieces[1:]]
        assert one.pieces[0].text == f"{plain.pieces[0].text}{SPATIAL_PROMPTS[wording]}\n"
        assert one.tokens.weight.sum() == plain.tokens.weight.sum()
    with pytest.raises(ValueError, match="Did you mean 'padding'"):
        SCRIPTS["st4vla"](spatial_prompt="paddin")


def test_questions_about_the_scene_are_asked_once_after_those_about_targets() -> None:
    script = SCRIPTS["inspire"](TRACE, POINT, MOVEMENT, BOX)
    slots = asked(script, FIELDS)
    assert slots == script.slots(FIELDS.targets)
    assert [(q.name, t) for q, t in slots] == [
        *((name, target) for target in FIELDS.targets for name in ("point", "box")),
        ("trace", ""),
        ("movement", ""),
    ]
    with pytest.raises(ValueError, match=r"\['trace'\] are about the scene; `Ask` says them"):
        Script(name="x", segments=(ForEachTarget(segments=(Forced(text="?"), Slot(question=TRACE))),))
    with pytest.raises(ValueError, match=r"\['point'\] are about a target"):
        Script(name="x", segments=(Ask(segments=(Slot(question=POINT),)),))
    with pytest.raises(ValueError, match="give it some"):
        SCRIPTS["ground"]()


def test_text_of_locations() -> None:
    assert symbols_of(spell([3, 15])) == [3, 15]
    with pytest.raises(ValueError, match=r"is no answer to 'box'; allowed: 4 of <loc0000> \.\. <loc0015>"):
        render(SCRIPTS["ground"](BOX), FIELDS, WORDS, answers=["<loc0002><loc0001><loc0001><loc0003>"])
    with pytest.raises(ValueError, match="Locations are an even number of coordinates"):
        Locations(count=3)


def test_overlap_is_intersection_over_union():
    one, other = (0.1, 0.2, 0.5, 0.4), (0.3, 0.1, 0.9, 0.35)  # y0 x0 y1 x1; areas 0.08 and 0.15, both 0.2 x 0.15
    assert overlap(one, other) == overlap(other, one) == pytest.approx(0.03 / 0.2)
    assert overlap(one, one) == pytest.approx(1)
    assert overlap(one, (0.6, 0.2, 0.9, 0.4)) == 0  # apart
    assert overlap(one, (0.5, 0.2, 0.9, 0.4)) == 0  # side by side
    assert overlap((0.2, 0.2, 0.2, 0.2), (0.2, 0.2, 0.2, 0.2)) == 0  # no area at all


def test_only_what_is_true_is_all_close():
    true = np.array([[0.5, 0.5]])
    assert closeness(true, true, 0.1) < 1
    assert closeness(np.array([[0.53, 0.54]]), true, 0.1) == pytest.approx(0.5)
    assert closeness(np.array([[0.8, 0.9]]), true, 0.1) == 0


@pytest.mark.parametrize(
    ("question", "count", "shape"),
    [("point", 2, (2,)), ("trace", 2, (2,)), ("box", 4, (4,)), ("trace", 4, (2, 2)), ("trace", 6, (3, 2))],
)
def test_an_answer_in_bins_is_a_place_and_another_is_none(question, count, shape):
    answer = spell(range(count))
    found = place_of(question, answer, 8)
    assert found is not None
    assert found.shape == shape
    np.testing.assert_array_equal(found.reshape(-1), dequantise(list(range(count)), 8))
    assert place_of(question, answer, count - 1) is None  # a bin too many
    assert place_of(question, "left", 8) is None
