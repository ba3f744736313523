import numpy as np
import pytest

from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.render import PromptFields, render
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.policy.batching import Answers
from inspire_fast.robots import ROBOTS


@pytest.mark.parametrize("name", list(QUESTIONS))
@pytest.mark.parametrize("one_id_answers", [True, False])
def test_every_answer_renders_and_is_found_again(name: str, one_id_answers: bool) -> None:
    vocabulary = tiny_vocabulary(one_id_answers=one_id_answers)
    question = QUESTIONS[name](axes=ROBOTS["libero"].axes)
    answers = Answers(question, vocabulary)
    fields = PromptFields(instruction="open the drawer", state=np.zeros(2), targets=("the drawer",))
    for answer in question.answers:
        symbols = answers.symbols(answer)
        assert answers.word(np.array([*symbols, -1])) == answer
        rendered = render(SCRIPTS["inspire"](question), fields, vocabulary, answers=[answer])
        slot = next(i for i, piece in enumerate(rendered.pieces) if piece.kind == "answer")
        written = rendered.tokens.ids[rendered.tokens.segment == slot]
        np.testing.assert_array_equal(written, answers.ids[symbols])
