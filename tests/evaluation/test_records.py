from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.core.types import ActionChunk, Answer, SceneFacts, Status, TargetFacts
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.evaluation import records
from inspire_fast.evaluation.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.evaluation.rollout import judge, questions_of
from inspire_fast.evaluation.summary import accuracy, majority
from inspire_fast.policy.testing import tiny_policy

DIRECTION_OFFSET = np.array([0.1, 0.3, -0.2], np.float32)


def answer(word: str, truth: str | None) -> AnswerRecord:
    return AnswerRecord(question="direction", asked="?", target="the bowl", answer=word, probability=0.5, truth=truth)


RECORD = EpisodeRecord(
    suite="libero_object",
    task=0,
    prompt="pick it",
    episode=3,
    success=False,
    stopped="max_steps",
    reason="",
    steps=20,
    holds=0,
    seconds=1.5,
    video="a.mp4",
    calls=(CallRecord(step=0, answers=(answer("left", "up"),), status="ok", reason="", timing_ms={"infer_ms": 3.0}),),
)


def test_records_survive_the_disk_and_a_killed_writer(tmp_path: Path) -> None:
    records.append(tmp_path, RECORD)
    path = tmp_path / records.FILE
    path.write_text(path.read_text() + '{"suite": "libero_obj')  # killed in the middle of a line
    assert records.read(tmp_path) == [RECORD]
    second = replace(RECORD, episode=4)
    records.append(tmp_path, second)
    assert records.read(tmp_path) == [RECORD, second]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_accuracy_and_majority() -> None:
    given = [answer("left", "left"), answer("left", "up"), answer("up", "up"), answer("up", "up")]
    assert accuracy(given) == 0.75
    assert majority(given) == 0.75
    assert accuracy([]) is majority([]) is None


def test_answers_without_a_truth_do_not_count() -> None:
    call = CallRecord(step=0, answers=(answer("left", None), answer("up", "up")), status="ok", reason="", timing_ms={})
    assert records.answers([replace(RECORD, calls=(call,))]) == [answer("up", "up")]
    assert answer("left", None).right is None


def test_judging_uses_the_robots_words() -> None:
    facts = SceneFacts(targets=(TargetFacts(phrase="the bowl", offset_m=DIRECTION_OFFSET, grasped=False),))
    chunk = ActionChunk(
        actions=None,
        status=Status.HELD,
        reason="test",
        answers=(
            Answer(question="direction", target="the bowl", answer="left", probability=0.9),
            Answer(question="direction", target="the moon", answer="up", probability=0.9),
        ),
    )
    bowl, moon = judge(chunk, facts, {"direction": DIRECTION})
    assert (bowl.truth, bowl.right, bowl.asked) == (
        "right",
        False,
        "In which direction is the bowl relative to the robot?",
    )
    assert (moon.truth, moon.right) == (None, None)


@pytest.fixture(scope="module")
def metadata() -> dict:
    return dict(tiny_policy().metadata)


def test_questions_travel_in_the_metadata(metadata: dict) -> None:
    assert questions_of(metadata) == {"direction": DIRECTION}
    assert questions_of({}) == {}
