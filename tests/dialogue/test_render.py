from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.types import TokenSequence
from inspire_fast.dialogue.questions.direction_3d import Direction3D
from inspire_fast.dialogue.questions.distance import Distance
from inspire_fast.dialogue.render import Kind, PromptFields, discretise, encode, render, unroll
from inspire_fast.dialogue.script import SCRIPTS, ActionSlot, Forced, Script
from inspire_fast.dialogue.testing import DIRECTION, random_chunks, tiny_vocabulary

VOCABULARY = tiny_vocabulary()
DIRECTION_3D = Direction3D(axes=DIRECTION.axes, deadband_m=0.06)
DISTANCE = Distance(words=("near", "far"), bounds_m=(0.2,))
FIRST = SCRIPTS["inspire_first"](DIRECTION)  # a bidirectional segment after causal ones
RELEASED = ("pi0_fast", "inspire", "inspire_first")
ACTING = (*RELEASED, "st4vla", "st4vla_answers")
ALL = [
    *(SCRIPTS[name](DIRECTION) for name in ACTING),
    *(SCRIPTS[name](DIRECTION_3D, DISTANCE, max_targets=2) for name in ACTING),
    *(SCRIPTS[name](DIRECTION, released=True) for name in RELEASED),
]

prompts = st.builds(
    PromptFields,
    instruction=st.sampled_from(["Put the LEFT_bowl on the plate ", "open the drawer", "grasped; right\n left"]),
    state=st.lists(st.floats(-2, 2), min_size=0, max_size=8).map(np.array),
    targets=st.lists(st.sampled_from(["the left bowl", "the plate", "a grasped front"]), max_size=3, unique=True).map(
        tuple
    ),
)
scripts = st.sampled_from(ALL)


def full(script: Script, fields: PromptFields, answers: Sequence[str], seed: int) -> tuple[TokenSequence, list[int]]:
    actions = VOCABULARY.action.encode(random_chunks(1, 10, 7, seed)[0])
    return render(script, fields, VOCABULARY, answers=answers, action_ids=actions).tokens, actions


def draw_answers(script: Script, fields: PromptFields, data: st.DataObject) -> list[str]:
    return [data.draw(st.sampled_from(q.answers)) for _ in script.asked(fields.targets) for q in script.questions]


@given(script=scripts, fields=prompts, data=st.data())
def test_inference_is_a_prefix_of_training_after_every_answer(
    script: Script, fields: PromptFields, data: st.DataObject
) -> None:
    answers = draw_answers(script, fields, data)
    training, _ = full(script, fields, answers, seed=1)
    for k in range(len(answers) + 1):
        inference = render(script, fields, VOCABULARY, answers=answers[:k])
        n = len(inference.tokens)
        np.testing.assert_array_equal(inference.tokens.ids, training.ids[:n])
        np.testing.assert_array_equal(inference.tokens.block, training.block[:n])
        piece = inference.pieces[inference.empty]
        assert piece.kind is (Kind.ANSWER if k < len(answers) else Kind.ACTION)


@given(script=scripts, fields=prompts, data=st.data())
def test_blanks_and_continuations_spell_the_same_ids(script: Script, fields: PromptFields, data: st.DataObject) -> None:
    answers = draw_answers(script, fields, data)
    training, actions = full(script, fields, answers, seed=2)
    dialogue = encode(script, fields, VOCABULARY)
    start, blanks = dialogue.fill().tokens, dialogue.blanks()
    ids = start.ids.tolist()
    for blank, answer in zip(blanks[:-1], answers, strict=True):
        ids += VOCABULARY.text.encode(" " + answer) + blank.continuation.tolist()
    slot = script.segments[-1]
    assert isinstance(slot, ActionSlot)
    ids += VOCABULARY.from_action(actions).tolist() + VOCABULARY.text.encode("|", eos=slot.eos)
    assert ids == training.ids.tolist()


@given(script=scripts, fields=prompts, data=st.data())
def test_continuations_attend_as_the_training_mask_says(
    script: Script, fields: PromptFields, data: st.DataObject
) -> None:
    answers = draw_answers(script, fields, data)
    training, _ = full(script, fields, answers, seed=3)
    dialogue = encode(script, fields, VOCABULARY)
    start, blanks = dialogue.fill().tokens, dialogue.blanks()
    at = len(start)
    last_seen = np.searchsorted(training.block, training.block, side="right") - 1
    for blank, answer in zip(blanks[:-1], answers, strict=True):
        at += len(VOCABULARY.text.encode(" " + answer))
        np.testing.assert_array_equal(at + blank.attends_to, last_seen[at : at + len(blank.continuation)])
        at += len(blank.continuation)


@given(fields=prompts, data=st.data())
def test_only_the_answers_and_the_action_carry_loss(fields: PromptFields, data: st.DataObject) -> None:
    script = SCRIPTS["inspire"](DIRECTION)
    answers = draw_answers(script, fields, data)
    actions = VOCABULARY.action.encode(np.zeros((10, 7)))
    rendered = render(script, fields, VOCABULARY, answers=answers, action_ids=actions)
    supervised = rendered.tokens.supervised
    for index, piece in enumerate(rendered.pieces):
        wanted = piece.kind in (Kind.ANSWER, Kind.ACTION)
        assert (supervised[rendered.tokens.segment == index] == wanted).all()


def test_rows_of_a_small_dialogue() -> None:
    fields = PromptFields(instruction="put the left bowl", state=np.zeros(1), targets=("the left bowl",))
    rendered = render(SCRIPTS["inspire"](DIRECTION), fields, VOCABULARY, answers=["left"], action_ids=[3])
    kinds = [str(rendered.pieces[s].kind) for s in rendered.tokens.segment]
    assert list(dict.fromkeys(kinds)) == ["context", "forced", "answer", "action"]
    context = np.array(kinds) == "context"
    assert rendered.tokens.block[context].tolist() == [0] * context.sum()
    assert rendered.tokens.causal.tolist() == [k != "context" for k in kinds]
    assert rendered.tokens.ids[0] == VOCABULARY.text.bos_id
    assert rendered.tokens.ids[-1] == VOCABULARY.text.eos_id
    left = VOCABULARY.text.encode(" left")
    assert rendered.tokens.ids[np.array(kinds) == "answer"].tolist() == left
    # "left" is also in the instruction and in the question: there it carries no loss.
    assert (rendered.tokens.ids == left[0]).sum() == 3
    assert rendered.tokens.supervised[rendered.tokens.ids == left[0]].sum() == 1


def test_a_context_behind_causal_text_is_a_block_of_its_own() -> None:
    fields = PromptFields(instruction="put it", state=np.zeros(0), targets=("the plate",))
    rendered = render(FIRST, fields, VOCABULARY, answers=["up"], action_ids=[0])
    segment = next(i for i, p in enumerate(rendered.pieces) if p.kind is Kind.CONTEXT)
    inside = rendered.tokens.segment == segment
    assert len(set(rendered.tokens.block[inside])) == 1
    assert (
        rendered.tokens.block[inside][0]
        == rendered.tokens.block[~inside & (np.arange(len(inside)) < inside.argmax())][-1] + 1
    )
    assert rendered.tokens.causal[inside].tolist() == [True] + [False] * (inside.sum() - 1)


def test_released_flags_let_the_token_before_a_context_see_it() -> None:
    fields = PromptFields(instruction="put it", state=np.zeros(0), targets=("the plate",))
    script = SCRIPTS["inspire_first"](DIRECTION, released=True)
    tokens = render(script, fields, VOCABULARY, answers=["up"], action_ids=[0]).tokens
    context = tokens.segment == 3
    assert set(tokens.block[context].tolist()) == {int(tokens.block[context.argmax() - 1])}
    assert not tokens.causal[context].any()
    assert tokens.ids[-1] != VOCABULARY.text.eos_id
    (blank, _) = encode(script, fields, VOCABULARY).blanks()
    first = int(np.sum(tokens.segment == 2)) - 1  # in the continuation: the id before the context, which sees all of it
    end = first + 1 + int(context.sum())
    assert first >= 0
    assert blank.attends_to.tolist() == [
        *range(first),
        *[end - 1] * (end - first),
        *range(end, len(blank.continuation)),
    ]


def test_released_supervision_reaches_into_the_questions() -> None:
    fields = PromptFields(instruction="put the left bowl", state=np.zeros(1), targets=("the left bowl",))
    left = VOCABULARY.text.encode(" left")[0]
    for released, counts in ((False, 1), (True, 2)):
        tokens = render(SCRIPTS["inspire"](DIRECTION, released=released), fields, VOCABULARY, answers=["left"]).tokens
        assert (tokens.ids == left).sum() == 3  # instruction, question, answer
        assert tokens.supervised[tokens.ids == left].sum() == counts
        assert tokens.supervised[: (tokens.ids == left).argmax() + 1].sum() == 0


def test_no_more_targets_than_wanted_in_the_order_given() -> None:
    fields = PromptFields(instruction="x", state=np.zeros(1), targets=("the cup", "the plate", "the bowl"))
    pieces = unroll(SCRIPTS["inspire"](DIRECTION, DISTANCE, max_targets=2), fields)
    asked = [(p.target, p.slot.name) for p in pieces if p.kind is Kind.ANSWER and not isinstance(p.slot, ActionSlot)]  # pyright: ignore[reportOptionalMemberAccess]
    assert asked == [(t, q) for t in ("the cup", "the plate") for q in ("direction", "distance")]


@given(fields=prompts, data=st.data())
def test_an_unsupervised_dialogue_differs_in_the_answers_weights_alone(
    fields: PromptFields, data: st.DataObject
) -> None:
    script = data.draw(st.sampled_from([s for s in ALL if s.questions]))
    answers = draw_answers(script, fields, data)
    loud, quiet = (full(s, fields, answers, 1)[0] for s in (script, script.unsupervised()))
    pieces = unroll(script, fields)
    np.testing.assert_array_equal(loud.ids, quiet.ids)
    np.testing.assert_array_equal(loud.block, quiet.block)
    action = np.array([pieces[s].kind is Kind.ACTION for s in loud.segment])
    np.testing.assert_array_equal(quiet.supervised, action)
    assert loud.supervised[~action].any() == bool(answers)


def test_states_are_bins_as_in_openpi() -> None:
    """256 of them over [-1, 1]; what is below is -1, and what is above is in the last one."""
    assert discretise(np.array([-2, -1.001, -1, -0.993, -0.992, 0, 0.99, 1, 2])) == "-1 -1 0 0 1 128 254 255 255"


def test_one_target_is_enough() -> None:
    fields = PromptFields(instruction="x", state=np.zeros(1), targets=("the cup", "the plate"))
    assert [p.target for p in unroll(SCRIPTS["inspire"](DIRECTION, max_targets=1), fields) if p.slot][:-1] == [
        "the cup"
    ]


def test_refusals() -> None:
    script = SCRIPTS["inspire"](DIRECTION)
    fields = PromptFields(instruction="x", state=np.zeros(1), targets=("the plate",))
    with pytest.raises(ValueError, match="no answer to 'direction'; allowed: right"):
        render(script, fields, VOCABULARY, answers=["sideways"])
    with pytest.raises(ValueError, match=r"2 answers for a dialogue with 1 questions about \['the plate'\]"):
        render(script, fields, VOCABULARY, answers=["left", "left"])
    with pytest.raises(ValueError, match="one last segment"):
        Script(name="x", segments=(ActionSlot(), Forced(text="x")))
    with pytest.raises(ValueError, match="at least one question"):
        SCRIPTS["inspire_first"]()
    with pytest.raises(ValueError, match="max_targets must be at least 1"):
        SCRIPTS["inspire"](DIRECTION, max_targets=0)
