"""All questions: their examples, properties over the registry, and answers of the questions besides the paper's own."""

import doctest
import sys

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.dialogue.forms import Choice, form_of
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.questions.base import about_scene
from inspire_fast.dialogue.questions.direction import Direction
from inspire_fast.dialogue.questions.direction_3d import Direction3D
from inspire_fast.dialogue.questions.distance import Distance
from inspire_fast.dialogue.questions.distance_fine import FineDistance
from inspire_fast.dialogue.questions.movement import Movement
from inspire_fast.dialogue.questions.position_3d import Position3D
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.axes import Axes

AXES = Axes(x=("back", "front"), y=("left", "right"), z=("down", "up"))
VARIANTS = [
    *(QUESTIONS[name](axes=AXES) for name in QUESTIONS),
    Direction(axes=AXES, deadband_m=0.06),
    Direction3D(axes=AXES, deadband_m=0.06),
    Position3D(numbering="decimetre"),
    FineDistance(numbering="decimetre"),
]


def facts(*offset: float, grasped: bool = False, rotations: dict | None = None) -> TargetFacts:
    return TargetFacts(
        phrase="the bowl", offset_m=np.array(offset, np.float32), grasped=grasped, rotations=rotations or {}
    )


@pytest.mark.parametrize("question", VARIANTS[: len(QUESTIONS)], ids=lambda q: q.name)
def test_every_question_file_opens_with_an_example_that_holds(question) -> None:
    module = sys.modules[type(question).__module__]
    (example,) = (e for e in doctest.DocTestFinder(recurse=False).find(module) if e.examples)
    assert "question.wording(" in str(module.__doc__)
    assert doctest.DocTestRunner().run(example).failed == 0


fractions = st.floats(0, 1, width=32)
corners = st.tuples(fractions, fractions).map(sorted).filter(lambda pair: pair[0] < pair[1])


@pytest.mark.parametrize("question", VARIANTS, ids=lambda q: q.name)
@given(data=st.data())
def test_the_truth_is_allowed_and_alone_scores_one(question, data) -> None:
    offset = np.array(data.draw(st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3)), np.float32)
    (y0, y1), (x0, x1) = data.draw(corners), data.draw(corners)
    target = TargetFacts(
        phrase="the bowl",
        offset_m=offset,
        grasped=data.draw(st.booleans()),
        point_px=(y0, x0),
        box_px=(y0, x0, y1, x1),
    )
    trace = data.draw(st.lists(st.tuples(fractions, fractions), min_size=8, max_size=8))
    scene = SceneFacts(targets=(target,), trace_px=np.array(trace, np.float32), motion_m=offset)
    known, form = scene if about_scene(question) else target, form_of(question)
    truth = question.truth(known)
    assert form.allows(truth)
    assert question.score(truth, known) == 1
    others = question.answers[:: max(len(question.answers) // 40, 1)] or [form.pick(n) for n in range(20)]
    assert all(0 <= question.score(a, known) < 1 for a in others if a != truth)


def test_wordings_are_the_released_ones() -> None:
    assert [q.wording("the bowl") for q in VARIANTS[:5]] == [
        "In which direction is the bowl relative to the robot?",
        "In which direction is the bowl relative to the robot? x, y, z:",
        "What is the accurate position of the bowl relative to the robot? x, y, z:",
        "What is the distance between the robot and the bowl?",
        "What is the accurate distance between the robot and the bowl?",
    ]


def test_direction_3d() -> None:
    assert Direction3D(axes=AXES).truth(facts(0.3, -0.1, 0.02)) == "front left up"
    assert Direction3D(axes=AXES, deadband_m=0.06).truth(facts(0.3, -0.1, 0.02)) == "front left close"
    assert Direction3D(axes=AXES, grasped="catch").truth(facts(0, 0, 0, grasped=True)) == "catch"
    assert Direction3D(axes=AXES).score("front right down", facts(0.3, -0.1, 0.02)) == pytest.approx(1 / 3)
    assert Direction3D(axes=AXES).score("grasped", facts(0.3, -0.1, 0.02)) == 0
    assert len(Direction3D(axes=AXES).answers) == 9


def test_position_3d_in_both_numberings() -> None:
    near, far = facts(0.34, -0.11, 0.02), facts(1.7, -0.04, -2)
    assert Position3D().truth(near) == "0.3 -0.1 0.0"
    assert Position3D().truth(far) == "0.9 0.0 -0.9"  # clipped; no "-0.0"
    assert Position3D(numbering="decimetre").truth(near) == "3 -1 0"
    assert Position3D(numbering="decimetre").truth(far) == "9 0 -9"
    assert Position3D().score("0.4 -0.1 0.0", near) == pytest.approx((2 / 3 + 2) / 3)
    assert Position3D().score("0.6 -0.1 0.0", near) == pytest.approx(2 / 3)


def test_distances() -> None:
    words = [Distance().truth(facts(0, d, 0)) for d in (0.05, 0.0601, 0.25, 0.31)]
    assert words == ["close", "near", "middle", "far"]
    assert Distance().truth(facts(1, 0, 0, grasped=True)) == "close"
    assert FineDistance().truth(facts(0.3, 0.4, 0)) == "0.5"
    assert FineDistance(numbering="decimetre").truth(facts(3, 4, 0)) == "9"
    assert FineDistance().truth(facts(3, 4, 0, grasped=True)) == "0.0"
    assert FineDistance(numbering="decimetre").answers == tuple(map(str, range(10)))


def test_an_answer_that_the_tokenizer_changes_is_refused() -> None:
    assert Choice(answers=("up", "down")).grammar(tiny_vocabulary()).accepting.any()
    with pytest.raises(ValueError, match="cannot spell the answer 'up '"):
        Choice(answers=("up ", "down")).grammar(tiny_vocabulary())


def test_a_motion_of_the_least_length_is_one() -> None:
    question = Movement(axes=ROBOTS["libero"].axes, still_m=0.25)
    words = [
        question.truth(SceneFacts(targets=(), motion_m=np.array([length, 0, 0]))) for length in (0.249, 0.25, -0.25)
    ]
    assert words[0] == question.still
    assert len({question.still, *words}) == 3


def test_the_frame_is_data() -> None:
    down = np.diag([1.0, -1.0, -1.0])  # a gripper that points at the table: its z axis is the world's -z
    known = facts(0.1, -0.2, -0.3, rotations={"gripper": down})
    words = Axes(x=("back", "front"), y=("right", "left"), z=("up", "down"))
    assert Direction(axes=AXES).truth(known) == Direction(axes=words, frame="gripper").truth(known) == "down"
    assert Direction3D(axes=words, frame="gripper").truth(known) == "front left down"
    assert Position3D(frame="gripper").truth(known) == "0.1 0.2 0.3"
    with pytest.raises(ValueError, match=r"no rotation of the frame 'camera'; they have \['base', 'gripper'\]"):
        Direction(axes=AXES, frame="camera").truth(known)


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'metres'.*Did you mean 'metre'"):
        Position3D(numbering="metres")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="3 ascending bounds"):
        Distance(bounds_m=(0.2, 0.1, 0.3))
    with pytest.raises(ValueError, match="deadband_m must be a number, at least 0"):
        Direction3D(axes=AXES, deadband_m=-1)
    with pytest.raises(ValueError, match="deadband_m must be a number, at least 0"):
        Direction(axes=AXES, deadband_m=float("nan"))
    for template in ("Where is {object} {x}?", "Where is {object}? {", "{object} {0}"):
        with pytest.raises(ValueError, match="may hold no braces"):
            Direction(axes=AXES, template=template)


def test_numbers_about_a_held_target_and_from_no_answer() -> None:
    held = facts(0, 0.06, -0.2, grasped=True)
    assert Position3D().truth(held) == "0.0 0.0 0.0"
    assert [Position3D().score(words, held) for words in ("grasped", "0.1 0.2", "0.0 0.0 x", "0.0 0.0 0.0")] == [
        0,
        0,
        0,
        1,
    ]
    assert FineDistance().score("far", held) == 0
