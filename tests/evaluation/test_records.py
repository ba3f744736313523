from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.client import ConnectionLostError, RequestTimeoutError
from inspire_fast.core.types import ActionChunk, Answer, SceneFacts, Status, TargetFacts
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.evaluation.report.accuracy import accuracy, judged, majority
from inspire_fast.evaluation.run.failures import InfrastructureError, raising_infrastructure_errors
from inspire_fast.evaluation.run.rollout import Rollout, judge, questions_of
from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots import ROBOTS

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
    path.write_text(
        path.read_text(encoding="utf-8") + '{"suite": "libero_obj', encoding="utf-8"
    )  # killed in the middle of a line
    assert records.read(tmp_path) == [RECORD]
    second = replace(RECORD, episode=4)
    records.append(tmp_path, second)
    assert records.read(tmp_path) == [RECORD, second]
    assert all(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def test_accuracy_and_majority() -> None:
    given = [(None, answer(*pair)) for pair in (("left", "left"), ("left", "up"), ("up", "up"), ("up", "up"))]
    assert accuracy(given) == 0.75
    assert majority(given) == 0.75
    assert accuracy([]) is majority([]) is None


def test_answers_without_a_truth_do_not_count() -> None:
    call = CallRecord(step=0, answers=(answer("left", None), answer("up", "up")), status="ok", reason="", timing_ms={})
    assert judged([replace(RECORD, calls=(call,))]) == [(None, answer("up", "up"))]
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


def test_records_of_another_policy_or_setting_are_not_mixed(tmp_path: Path, metadata: dict) -> None:
    records.claim(tmp_path, {"execute": 5}, metadata)
    records.claim(tmp_path, {"execute": 5}, metadata)
    with pytest.raises(ValueError, match=r"settings\.execute: 5 then, 10 now"):
        records.claim(tmp_path, {"execute": 10}, metadata)
    with pytest.raises(ValueError, match=r"policy\.checkpoint"):
        records.claim(tmp_path, {"execute": 5}, {**metadata, "checkpoint": "another"})


def test_a_folder_of_an_earlier_version_is_continued(tmp_path: Path, metadata: dict) -> None:
    earlier = {key: value for key, value in metadata.items() if key not in ("action_names", "state_names")}
    records.claim(tmp_path, {}, earlier)
    records.claim(tmp_path, {}, metadata)
    with pytest.raises(ValueError, match=r"policy\.questions"):
        records.claim(tmp_path, {}, {**metadata, "questions": {}})


class Still:
    """An environment in which nothing happens."""

    prompt, success = "put a on b", False

    def reset(self, episode: int) -> None: ...

    def observe(self) -> dict:
        return ROBOTS["libero"].fake_native()

    def step(self, action: np.ndarray) -> np.ndarray:
        return action

    def facts(self) -> None:
        return None

    def close(self) -> None: ...


@pytest.mark.parametrize("error", [ConnectionLostError("gone"), RequestTimeoutError("late")])
def test_a_lost_server_is_no_failed_episode(tmp_path: Path, error: Exception) -> None:
    def infer(observation: object) -> ActionChunk:
        raise error

    rollout = Rollout(robot=ROBOTS["libero"], questions={}, execute=5, max_steps=20, videos=tmp_path)
    with pytest.raises(InfrastructureError, match=r"gone|late"):
        rollout.run(Still(), raising_infrastructure_errors(infer), ("s", 0, 0))
    assert not list(tmp_path.iterdir())


def test_a_policy_that_cannot_answer_is_a_held_episode() -> None:
    def infer(observation: object) -> ActionChunk:
        raise ValueError("no such target")

    rollout = Rollout(robot=ROBOTS["libero"], questions={}, execute=5, max_steps=20)
    record = rollout.run(Still(), raising_infrastructure_errors(infer), ("s", 0, 0))
    assert (record.success, record.stopped) == (False, "held")
    assert "no such target" in record.reason
