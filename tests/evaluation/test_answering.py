from dataclasses import replace

import numpy as np
import pytest

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.envs.libero.target_table import table
from inspire_fast.evaluation.run.answering import lie, options_for

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
