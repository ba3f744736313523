from dataclasses import replace

import numpy as np
import pytest

from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.render import PromptFields, render
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.policy.answer_automata import Answers
from inspire_fast.policy.batching import (
    CONTINUATION_BUCKETS,
    PROMPT_BUCKETS,
    QUESTION_BUCKETS,
    ROW_BUCKETS,
    SPARE_BUCKETS,
    Sizes,
    bucket,
    lay_out,
    plan_row,
    sizes_of,
)
from inspire_fast.robots import ROBOTS


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name not in ("point", "box", "trace")])
@pytest.mark.parametrize("one_id_answers", [True, False])
def test_every_answer_renders_and_is_found_again(name: str, one_id_answers: bool) -> None:
    vocabulary = tiny_vocabulary(one_id_answers=one_id_answers)
    question = QUESTIONS[name](axes=ROBOTS["libero"].axes)
    answers = Answers(question, vocabulary)
    fields = PromptFields(instruction="open the drawer", state=np.zeros(2), targets=("the drawer",))
    for answer in question.answers[:: -(-len(question.answers) // 60)]:  # of long lists, sixty spread over it
        symbols = answers.symbols(answer)
        assert answers.word(np.array([*symbols, -1])) == answer
        rendered = render(SCRIPTS["inspire"](question), fields, vocabulary, answers=[answer])
        slot = next(i for i, piece in enumerate(rendered.pieces) if piece.kind == "answer")
        written = rendered.tokens.ids[rendered.tokens.segment == slot]
        np.testing.assert_array_equal(written, answers.ids[symbols])


def test_answers_are_equal_for_equal_questions_in_one_vocabulary() -> None:
    several, one = tiny_vocabulary(one_id_answers=False), tiny_vocabulary()
    mine = Answers(DIRECTION, one)
    assert mine == Answers(replace(DIRECTION), one)
    assert hash(mine) == hash(Answers(replace(DIRECTION), one))
    assert mine != Answers(DIRECTION, several)
    assert mine != Answers(replace(DIRECTION, grasped="held"), one)
    assert mine != DIRECTION


def test_answers_that_cannot_be_told_apart_name_their_question() -> None:
    question = replace(DIRECTION, grasped="left of it")
    with pytest.raises(
        ValueError, match=r"^Question 'direction', answers right, left, .*left of it: .* continues or repeats"
    ):
        Answers(question, tiny_vocabulary(one_id_answers=False))


def test_buckets_are_the_documented_ones() -> None:
    """docs/decoding.md; no bucket wastes more than its step."""
    assert _steps(PROMPT_BUCKETS) == [(8, 128), (16, 256), (32, 512), (64, 1024)]
    assert _steps(CONTINUATION_BUCKETS) == [(4, 32), (8, 64), (16, 256), (128, 512)]
    assert SPARE_BUCKETS == (32, 64, 128, 256, 512)
    assert QUESTION_BUCKETS == (0, 2, 4, 8, 16)
    assert ROW_BUCKETS == (1, 2, 4, 8, 16, 32, 64)
    assert [bucket(n, PROMPT_BUCKETS, "ids") for n in (1, 8, 9, 128, 129, 1024)] == [8, 8, 16, 128, 144, 1024]
    with pytest.raises(ValueError, match="1025 ids exceed the largest bucket, 1024"):
        bucket(1025, PROMPT_BUCKETS, "ids")


def _steps(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Each step between neighbours, and the last size that it leads to."""
    last = dict(zip(np.diff((0, *sizes)).tolist(), sizes, strict=True))
    return sorted(last.items())


def test_a_layout_is_what_its_size_says() -> None:
    """Two questions of a row in the last two of four slots; where answers are given, the prompt holds all but them."""
    vocabulary = tiny_vocabulary()
    answers = {DIRECTION.name: Answers(DIRECTION, vocabulary)}
    questions = tuple(answers.values())
    fields = PromptFields(instruction="open the drawer", state=np.zeros(2), targets=("the drawer", "the plate"))
    row = plan_row(SCRIPTS["inspire"](DIRECTION), fields, vocabulary, answers)
    given = row.with_answers(("left", "up"), trusted=True)
    between, suffix = (len(blank.continuation) for blank in row.blanks)
    assert row.starts == (row.beginning, row.beginning, row.beginning)
    assert given.starts == (row.beginning, row.beginning + 1 + between, row.beginning + 2 + between + suffix)
    assert given.length == len(given.prompt()) == row.length + 2 + between + suffix
    free, kept = sizes_of([row], questions), sizes_of([given], questions)
    assert (free.rows, free.slots, free.depth, free.suffix) == (1, 2, 1, suffix)
    assert free.room == 2 + free.continuation + suffix
    assert free.continuation == bucket(between, CONTINUATION_BUCKETS, "ids")
    assert (kept.room, kept.continuation) == (2, bucket(between, SPARE_BUCKETS, "ids"))
    assert free.holds(free)
    assert not free.holds(kept)
    assert not kept.holds(free)
    both = free.union(kept)
    assert both.holds(free)
    assert both.holds(kept)
    layout = lay_out([row, given], questions, Sizes(**{**vars(both), "rows": 4, "slots": 4}))
    assert layout.ids.shape == (4, both.prompt)
    assert layout.real.tolist() == [True, True, False, False]
    assert layout.filled.tolist() == layout.trusted.tolist() == [False, True, False, False]
    assert layout.slots.active.T.tolist() == [[False, False, True, True]] * 2 + [[False] * 4] * 2
    assert layout.slots.start[2:, 1].tolist() == list(given.starts[:2])
    assert layout.slots.start[:, 0].tolist() == [row.length] * 4
    assert layout.lengths.tolist() == [row.length, given.length, 1, 1]
    assert layout.slots.continuation_lengths[2, :2].tolist() == [between, between]
    assert layout.suffix_lengths.tolist() == [suffix, suffix, 0, 0]
    assert (layout.slots.drafted[:, 0] == -1).all()
    assert layout.slots.drafted[2:, 1, 0].tolist() == [answers[DIRECTION.name].symbols(a)[0] for a in ("left", "up")]
