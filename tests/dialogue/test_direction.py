import json

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions import QUESTIONS, Question
from inspire_fast.dialogue.questions.direction import Direction
from inspire_fast.robots.axes import Axes

LIBERO = Axes(x=("back", "front"), y=("left", "right"), z=("down", "up"))
REAL_ARM = Axes(x=("left", "right"), y=("front", "back"), z=("down", "up"))


def facts(*offset: float, grasped: bool = False) -> TargetFacts:
    return TargetFacts(phrase="the bowl", offset_m=np.array(offset, np.float32), grasped=grasped)


@pytest.mark.parametrize(
    ("offset", "libero", "real_arm"),
    [
        ((0.3, 0.1, -0.2), "front", "right"),
        ((-0.3, 0.1, 0.2), "back", "left"),
        ((0.1, 0.3, 0.2), "right", "back"),
        ((0.1, -0.3, 0.2), "left", "front"),
        ((0.1, 0.1, 0.2), "up", "up"),
        ((0.1, 0.1, -0.2), "down", "down"),
    ],
)
def test_the_largest_axis_decides_in_the_robots_words(offset: tuple[float, ...], libero: str, real_arm: str) -> None:
    assert Direction(axes=LIBERO).truth(facts(*offset)) == libero
    assert Direction(axes=REAL_ARM).truth(facts(*offset)) == real_arm


def test_grasped_and_close() -> None:
    assert Direction(axes=LIBERO).truth(facts(1, 0, 0, grasped=True)) == "grasped"
    assert Direction(axes=LIBERO, grasped="catch").truth(facts(1, 0, 0, grasped=True)) == "catch"
    assert Direction(axes=LIBERO).truth(facts(0.01, 0, 0)) == "front"
    assert Direction(axes=LIBERO, deadband_m=0.06).truth(facts(0.01, 0, 0)) == "close"
    assert "close" not in Direction(axes=LIBERO).answers


@given(offset=st.lists(st.floats(-1, 1), min_size=3, max_size=3), grasped=st.booleans())
def test_truth_is_always_an_allowed_answer_and_scores_one(offset: list[float], grasped: bool) -> None:
    question = Direction(axes=LIBERO)
    known = facts(*offset, grasped=grasped)
    truth = question.truth(known)
    assert truth in question.answers
    assert question.score(truth, known) == 1
    assert sum(question.score(a, known) for a in question.answers) == 1


def test_the_papers_words_and_order() -> None:
    assert Direction(axes=LIBERO).answers == ("right", "left", "up", "down", "front", "back", "grasped")
    assert Direction(axes=LIBERO).wording("the bowl") == "In which direction is the bowl relative to the robot?"


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_a_question_survives_json(name: str) -> None:
    question = QUESTIONS[name](axes=LIBERO)
    again = QUESTIONS[name](**json.loads(json.dumps(question.parameters())))
    assert again == question
    assert isinstance(question, Question)


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="object"):
        Direction(axes=LIBERO, template="Where?")
    with pytest.raises(ValueError, match="six different"):
        Axes(x=("left", "right"), y=("left", "right"), z=("down", "up"))
    with pytest.raises(ValueError, match="distinct"):
        Direction(axes=LIBERO, grasped="left")
