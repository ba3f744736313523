"""Predicted against executed paths: distances by hand, alarm and predictor on made-up episodes."""

import numpy as np
import pytest

from inspire_fast.dialogue.locations import write
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.evaluation.report.paths import (
    alarms,
    area_under_roc,
    deviations,
    distances_to_path,
    interval_of_area,
    paths_section,
    running_means,
)


def answer(path: list[tuple[float, float]]) -> AnswerRecord:
    return AnswerRecord(question="trace", asked="", target="", answer=write(path), probability=0.5, truth=None)


def episode(number: int, aside: float, *, success: bool, calls: int = 4) -> EpisodeRecord:
    """Predicts to go down by a tenth in each call of two steps; the gripper goes there, but `aside` to the right."""
    places = [(0.1 + 0.05 * step, 0.5 + aside * (step > 0)) for step in range(2 * calls + 1)]
    return EpisodeRecord(
        suite="libero_goal",
        task=0,
        prompt="go",
        episode=number,
        success=success,
        stopped="success",
        reason="",
        steps=2 * calls,
        holds=0,
        seconds=1.0,
        video=None,
        calls=tuple(
            CallRecord(
                step=2 * n,
                answers=(answer([(0.15 + 0.1 * n, 0.5), (0.2 + 0.1 * n, 0.5)]),),
                status="ok",
                reason="",
                timing_ms={},
            )
            for n in range(calls)
        ),
        path_px=tuple(places),
    )


def test_distances_are_to_the_nearest_place_of_the_line() -> None:
    path = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    points = np.array([[0.2, 0.5], [-0.3, -0.4], [0.5, 0.9], [2.0, 1.0]])
    np.testing.assert_allclose(distances_to_path(points, path), [0.2, 0.5, 0.1, 1.0])
    np.testing.assert_allclose(distances_to_path(points, path[:1]), np.linalg.norm(points, axis=1))
    np.testing.assert_allclose(distances_to_path(points, np.zeros((2, 2))), np.linalg.norm(points, axis=1))


def test_the_executed_places_up_to_the_next_call_are_compared() -> None:
    found = deviations(episode(0, 0.0, success=True), bins=1024)
    assert [deviation.step for deviation in found] == [0, 2, 4, 6]
    assert max(deviation.mean for deviation in found) < 1e-3  # half a bin
    aside = deviations(episode(0, 0.1, success=False), bins=1024)
    # The first path begins at 0.5 and the gripper is beside its end; later ones begin beside it and lead back.
    assert aside[0].mean == pytest.approx(0.1, abs=2e-3)
    assert all(0 < deviation.mean <= 0.1 for deviation in aside)


def test_calls_without_path_or_places_are_left_out() -> None:
    record = episode(0, 0.0, success=True)
    unknown = EpisodeRecord(**{**vars(record), "path_px": (None, *record.path_px[1:])})
    assert [deviation.step for deviation in deviations(unknown, bins=1024)] == [2, 4, 6]
    assert deviations(EpisodeRecord(**{**vars(record), "path_px": ()}), bins=1024) == []


def test_records_keep_the_path_through_json_and_older_ones_have_none() -> None:
    import dataclasses
    import json

    record = episode(0, 0.0, success=True)
    partly = EpisodeRecord(**{**vars(record), "path_px": (None, *record.path_px[1:])})
    stored = json.loads(json.dumps(dataclasses.asdict(partly)))
    assert EpisodeRecord.from_dict(stored) == partly
    del stored["path_px"]
    assert EpisodeRecord.from_dict(stored).path_px == ()


def test_the_area_under_the_curve_is_that_of_all_pairs() -> None:
    scores, solved = np.array([0.1, 0.2, 0.2, 0.4]), np.array([True, False, True, False])
    assert area_under_roc(scores, solved) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    low, high = interval_of_area(scores, solved)
    assert 0 <= low <= high <= 1
    with pytest.raises(ValueError, match="got 2 and 0"):
        area_under_roc(scores[:2], np.array([True, True]))


def test_the_alarms_threshold_is_of_the_other_solved_episodes() -> None:
    records = [episode(n, aside, success=aside < 0.05) for n, aside in enumerate((0.0, 0.01, 0.02, 0.2))]
    found = {n: (record, deviations(record, bins=1024)) for n, record in enumerate(records)}
    said = alarms(found)
    assert [alarm.step is not None for alarm in said] == [False, False, True, True]  # the third is a false alarm
    assert said[3].step == 0
    np.testing.assert_allclose(running_means(found[0][1])[-1], np.mean([d.mean for d in found[0][1]]))
    assert alarms({3: found[3]})[0].step is None  # nothing to compare with


def test_the_page_states_alarm_and_predictor_or_why_not() -> None:
    records = [episode(n, aside, success=aside < 0.05) for n, aside in enumerate((0.0, 0.01, 0.02, 0.2, 0.3))]
    questions = {"trace": {"points": 2, "bins": 1024}}
    page = "".join(paths_section(records, questions))
    assert "area under the ROC curve of 1.00" in page
    assert "failed, alarm right" in page
    assert "2 of 2" in page
    assert "1 of 3" in page
    assert paths_section(records, {"direction": {}}) == []
    assert "needs solved and failed" in "".join(paths_section(records[:2], questions))
    assert "No episode has both" in "".join(paths_section([], questions))
