from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inspire_fast.core.errors import UnknownFactError
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.locations import read
from inspire_fast.dialogue.questions.box import Box
from inspire_fast.dialogue.questions.point import Point
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.envs.libero.target_table import table
from inspire_fast.evaluation.run.answering import lie, options_for, shifted

QUESTIONS = {"direction": DIRECTION}
FACTS = SceneFacts(
    targets=(
        TargetFacts(phrase="the bowl", offset_m=np.array([0.0, 0.3, 0.1], np.float32), grasped=False),
        TargetFacts(phrase="the plate", offset_m=np.array([0.0, 0.1, -0.2], np.float32), grasped=True),
    )
)


def test_the_oracle_tells_the_truth_and_the_liar_never() -> None:
    oracle = options_for("oracle", FACTS, QUESTIONS)
    assert (oracle.mode, oracle.targets, oracle.answers) == ("force", ("the bowl", "the plate"), ("right", "grasped"))
    liar = options_for("adversarial", FACTS, QUESTIONS)
    assert liar.targets == oracle.targets
    assert all(a != b for a, b in zip(liar.answers, oracle.answers, strict=True))


def test_random_answers_are_allowed_ones_and_the_same_for_the_same_scene() -> None:
    drawn = {
        options_for("random", SceneFacts(targets=(replace(FACTS.targets[0], offset_m=offset),)), QUESTIONS).answers
        for offset in np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    }
    assert drawn == {(word,) for word in DIRECTION.answers}
    assert options_for("random", FACTS, QUESTIONS) == options_for("random", FACTS, QUESTIONS)


def test_every_lie_is_an_allowed_answer_and_wrong() -> None:
    lies = {truth: lie(DIRECTION, truth) for truth in DIRECTION.answers}
    assert all(truth != said for truth, said in lies.items())
    assert set(lies.values()) == set(DIRECTION.answers)
    assert (lies["right"], lies["left"], lies["down"]) == ("down", "front", "grasped")


def test_the_policys_own_and_no_answers() -> None:
    assert options_for("own", FACTS, QUESTIONS) == RequestOptions()
    assert options_for("skip", None, {}).mode == "skip"


def test_truth_that_nobody_knows_cannot_be_forced() -> None:
    with pytest.raises(ValueError, match="asks no questions"):
        options_for("oracle", FACTS, {})
    with pytest.raises(ValueError, match="does not know what this task's phrases mean"):
        options_for("oracle", None, QUESTIONS)


def test_forced_targets_are_the_ones_that_the_policy_would_ask_about() -> None:
    """Else forced answers would stand in another dialogue than the policy's own. All 130 tasks."""
    for row in table():
        asked = GROUNDINGS["instruction"].ground(row.instruction)
        assert asked == tuple(target.phrase for target in row.targets)


PLACES = SceneFacts(
    targets=(
        TargetFacts(
            phrase="the bowl", offset_m=None, grasped=False, point_px=(0.4, 0.8), box_px=(0.01, 0.3, 0.98, 0.6)
        ),
        TargetFacts(phrase="the plate", offset_m=None, grasped=False, point_px=(0.1, 0.2), box_px=(0.0, 0.0, 0.2, 0.3)),
    ),
    trace_px=np.array([[0.1, 0.1], [0.2, 0.95]], np.float32),
)


def test_swapped_answers_are_the_truth_about_the_next_target() -> None:
    swapped = options_for("swapped", FACTS, QUESTIONS)
    assert (swapped.targets, swapped.answers) == (("the bowl", "the plate"), ("grasped", "right"))
    places = options_for("swapped", PLACES, {"point": Point()})
    assert places.answers == (Point().truth(PLACES.targets[1]), Point().truth(PLACES.targets[0]))
    with pytest.raises(ValueError, match=r"only \['the bowl'\]"):
        options_for("swapped", SceneFacts(targets=FACTS.targets[:1]), QUESTIONS)


def test_shifted_places_are_a_tenth_of_the_picture_aside_and_words_stay() -> None:
    def moved(question: Any, target: int) -> np.ndarray:
        said = options_for("shifted", PLACES, {question.name: question, "point": Point()})
        truth = options_for("oracle", PLACES, {question.name: question, "point": Point()})
        number = 2 * target if question.name != "point" else target
        assert question.form.allows(said.answers[number])
        return read(said.answers[number]) - read(truth.answers[number])

    np.testing.assert_allclose(moved(Point(), 0), [0.1, -0.1], atol=2e-3)
    np.testing.assert_allclose(moved(Point(), 1), [0.1, 0.1], atol=2e-3)
    np.testing.assert_allclose(moved(Box(), 0), [0.02, 0.1, 0.02, 0.1], atol=2e-3)  # as far as it can
    np.testing.assert_allclose(moved(Box(), 1), [0.1, 0.1, 0.1, 0.1], atol=2e-3)
    assert shifted(DIRECTION, "left") == "left"
    with pytest.raises(ValueError, match=r"the policy asks \['direction'\], in words"):
        options_for("shifted", FACTS, QUESTIONS)


def test_a_hidden_thing_is_where_it_was_seen_last() -> None:
    hidden = SceneFacts(targets=(PLACES.targets[0], replace(PLACES.targets[1], point_px=None)))
    questions, remembered = {"point": Point()}, {}
    with pytest.raises(UnknownFactError, match="'the plate'"):
        options_for("oracle", hidden, questions, remembered)
    seen = options_for("oracle", PLACES, questions, remembered)
    assert options_for("oracle", hidden, questions, remembered) == seen
    assert options_for("swapped", hidden, questions, remembered).answers == seen.answers[::-1]
