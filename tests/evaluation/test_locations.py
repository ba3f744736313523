"""Measures of points, boxes and traces, by drawings and by definition."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from inspire_fast.core.types import ActionChunk, Answer, Status
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.evaluation.records.frame import MARGIN, SIDE, compose, place_marks
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.evaluation.report.accuracy import judged
from inspire_fast.evaluation.report.location_section import located as located_answers
from inspire_fast.evaluation.report.location_section import locations_section
from inspire_fast.evaluation.report.locations import (
    Located,
    Measure,
    dynamic_time_warping,
    frechet,
    iou,
    measures,
    point_in_mask,
    root_mean_square,
    training_means,
)
from inspire_fast.evaluation.run.rollout import judge
from inspire_fast.robots.libero import LIBERO
from tests.evaluation.test_records import RECORD

PATHS = arrays(np.float64, st.tuples(st.integers(1, 4), st.just(2)), elements=st.floats(0, 1))


def located(kind: str, truth: list, answer: list | None, episode: int = 0, **more: object) -> Located:
    given_answer = None if answer is None else np.array(answer, float)
    return Located(
        kind=kind, episode=episode, truth=np.array(truth, float), answer=given_answer, picture_hw=(100, 200), **more
    )


def of(rows: list[Located], name: str, mean: list | None = None) -> Measure:
    found = measures(rows, None if mean is None else {"": np.array(mean, float)})
    return next(measure for measure in found if measure.name == name)


def test_overlap_of_boxes():
    """Two squares of 2 x 2 that share 1 x 1: 1 / 7."""
    square = np.array([0.0, 0, 0.2, 0.2])
    assert iou(square, square + 0.1) == pytest.approx(1 / 7)
    assert iou(square, square) == pytest.approx(1)
    assert iou(square, square + 0.5) == 0
    assert iou(square, square[[2, 3, 0, 1]]) == 0  # swapped corners
    assert iou(np.zeros(4), np.zeros(4)) == 0


def alignments(n: int, m: int) -> list[list[tuple[int, int]]]:
    """All walks forward from (0, 0) to (n - 1, m - 1)."""
    if n == m == 1:
        return [[(0, 0)]]
    steps = [(n - 1, m), (n, m - 1), (n - 1, m - 1)]
    return [[*walk, (n - 1, m - 1)] for a, b in steps if a and b for walk in alignments(a, b)]


@settings(settings.get_profile("few"))
@given(PATHS, PATHS)
def test_distances_of_paths_are_the_best_over_all_alignments(first: np.ndarray, second: np.ndarray):
    lengths = [
        [float(np.linalg.norm(first[i] - second[j])) for i, j in walk] for walk in alignments(len(first), len(second))
    ]
    assert frechet(first, second) == pytest.approx(min(map(max, lengths)))
    longer = max(len(first), len(second))
    assert dynamic_time_warping(first, second) == pytest.approx(min(map(sum, lengths)) / longer)
    assert frechet(first, first) == dynamic_time_warping(first, first) == 0


def test_traces_are_measured_in_fractions_of_the_longer_side_and_in_pixels():
    """In a picture of 100 x 200 px, 0.1 of the width are 20 px, 0.1 of the longer side; 0.1 of the height are 10 px."""
    rows = [located("trace", [[0.5, 0.5], [0.5, 0.6]], [[0.5, 0.6], [0.6, 0.6]])]
    assert root_mean_square(np.array([[0, 0], [0, 0]]), np.array([[3, 4], [0, 0]])) == pytest.approx(np.sqrt(12.5))
    assert of(rows, "rmse").value == pytest.approx(np.sqrt((20**2 + 10**2) / 2) / 200)
    assert of(rows, "end_error").value == pytest.approx(10 / 200)
    assert of(rows, "end_error_px").value == pytest.approx(10)


def test_points_in_masks_and_errors():
    mask = np.zeros((10, 20), bool)
    mask[5, 10:12] = True
    assert point_in_mask(np.array([0.55, 0.5]), mask)
    assert not point_in_mask(np.array([0.55, 0.49]), mask)
    assert not point_in_mask(np.array([1.0, 1.0]), mask)
    box = np.array([0.5, 0.5, 0.6, 0.6])
    rows = [
        located("point", [0.55, 0.55], [0.55, 0.55], 0, mask=mask, box=box),
        located("point", [0.55, 0.55], [0.95, 0.55], 1, mask=mask, box=box),
        located("point", [0.55, 0.55], None, 2, mask=mask, box=box),
    ]
    assert of(rows, "in_mask").value == pytest.approx(1 / 3)  # no answer is a wrong one,
    assert of(rows, "error_px").value == pytest.approx(20)  # and has no distance
    assert (of(rows, "in_box").answers, of(rows, "error_px").answers) == (3, 2)
    bare = [located("point", [0.5, 0.5], [0.5, 0.5])]
    assert [m.name for m in measures(bare)] == ["error", "error_px"]


def test_baselines_stand_beside_the_model():
    """The mean of the training truths, and the answers to other instructions."""
    left, right = [0.0, 0.0, 0.4, 0.4], [0.0, 0.6, 0.4, 1.0]
    rows = [
        located("box", truth, truth, episode, shuffled=np.array(other, float))
        for episode, (truth, other) in enumerate([(left, right), (right, left)])
    ]
    means = training_means([("the bowl", np.array(left)), ("the plate", np.array(right))])
    mean = means[""].tolist()
    np.testing.assert_allclose(mean, [0, 0.3, 0.4, 0.7])
    measure = of(rows, "iou", mean)
    assert (measure.value, measure.shuffled_baseline) == (1, 0)
    assert measure.mean_baseline == pytest.approx(1 / 7)
    named = [replace(rows[0], target="the plate"), replace(rows[0], target="the cup")]
    assert [measures([row], means)[0].mean_baseline for row in named] == [
        pytest.approx(iou(named[0].truth, np.array(right))), pytest.approx(1 / 7)
    ]  # fmt: skip
    assert training_means([]) == {}
    assert of(rows[:1], "iou").mean_baseline is None


def test_intervals_count_episodes_and_not_answers():
    """Ten equal answers of an episode are one observation."""
    good, bad = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
    few = [located("box", good, good if n % 2 else bad, n) for n in range(20)]
    many = [row for row in few for _ in range(10)]
    narrow = [located("box", good, good if n % 2 else bad, n) for n in range(500)]
    a, b, c = (of(rows, "iou") for rows in (few, many, narrow))
    assert (b.low, b.high, b.episodes) == (pytest.approx(a.low), pytest.approx(a.high), 20)
    ends = np.array([(m.low, m.high) for m in (a, c)])
    assert np.ptp(ends[0]) > 3 * np.ptp(ends[1])
    assert ends[0, 0] < 0.5 < ends[0, 1]
    assert of(few[:1], "iou").low is None


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"Located.answer of kind 'box' must be finite and have the shape \(4,\)"):
        located("box", [0, 0, 1, 1], [0, 0, 1])
    with pytest.raises(ValueError, match=r"\(k, 2\)"):
        located("trace", [0.5, 0.5], None)
    with pytest.raises(ValueError, match="trace of 1 points cannot be compared with one of 2"):
        located("trace", [[0, 0], [1, 1]], [[0, 0]])
    with pytest.raises(ValueError, match="one kind of location at a time"):
        measures([located("box", [0, 0, 1, 1], None), located("point", [0, 0], None)])
    assert measures([]) == []
    assert [m.value for m in measures([located("box", [0, 0, 1, 1], None)])] == [0, 0]


def answer(question: str, said: str, truth: str | None, target: str = "the bowl") -> AnswerRecord:
    return AnswerRecord(question=question, asked="", target=target, answer=said, probability=0.5, truth=truth)


POINT, ELSEWHERE = "<loc0512><loc0256>", "<loc0512><loc0768>"
BOX, PATH = "<loc0000><loc0000><loc0512><loc0512>", "<loc0512><loc0512><loc0512><loc1023>"


def record(episode: int, *answers: AnswerRecord) -> EpisodeRecord:
    call = CallRecord(step=0, answers=answers, status="ok", reason="", timing_ms={})
    return replace(RECORD, episode=episode, calls=(call,))


def test_a_report_measures_places_and_counts_words():
    records = [
        record(0, answer("point", POINT, POINT), answer("box", BOX, BOX), answer("trace", PATH, PATH, "")),
        record(
            1, answer("point", ELSEWHERE, POINT), answer("direction", "left", "right"), answer("point", "left", POINT)
        ),
        record(2, answer("point", POINT, None)),
    ]
    rows = located_answers(records)
    assert [(row.kind, row.answer is None) for row in rows] == [
        ("point", False), ("box", False), ("trace", False), ("point", False), ("point", True)
    ]  # fmt: skip
    assert rows[2].truth.shape == (2, 2)
    assert [given.question for _, given in judged(records)] == ["direction"]
    section = "".join(locations_section(records))
    assert '<td>iou</td><td class="n">1.000</td>' in section
    assert f"{0.5 * 512 / 1023:.3f}" in section  # the error of two points, one right, one half a picture away
    assert "end error" in section
    assert "error px" not in section
    assert locations_section([record(0, answer("direction", "left", "right"))]) == []


def test_places_are_read_with_the_question_s_own_bins() -> None:
    """Bin 64 of 128 is the middle of the picture."""
    coarse = AnswerRecord(
        question="point", asked="", target="", answer="<loc0064><loc0064>", probability=1.0, truth=None, bins=128
    )
    (mark,) = place_marks([coarse], (64, 64), "upright")
    np.testing.assert_allclose(mark.place, [0.5, 0.5], atol=0.01)
    told = replace(coarse, truth="<loc0064><loc0127>")
    (row,) = located_answers([record(0, told)])
    assert row.truth.tolist() == pytest.approx([64 / 127, 1.0])
    assert not replace(told, truth="<loc0064><loc0128>").is_place  # no bin of this question
    chunk = ActionChunk(
        actions=None,
        status=Status.HELD,
        reason="a test",
        answers=(Answer(question="point", target="the bowl", answer="<loc0000><loc0127>", probability=0.5),),
    )
    (judged_answer,) = judge(chunk, None, {"point": QUESTIONS["point"](bins=128)})
    assert judged_answer.place(judged_answer.answer).tolist() == [0, 1]


def test_places_are_drawn_into_the_frame_of_a_video():
    """The picture is turned and mirrored back for people; a mark goes where its place is."""
    native = {key: np.zeros((64, 64, 3), np.uint8) for key in LIBERO.cameras}
    native |= {"observation/state": np.zeros(8, np.float32), "prompt": "pick up the bowl"}
    common: dict = {"status": "ok", "caption": "", "questions": 2}
    empty = compose(native, LIBERO, answers=(), **common)[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]
    boxed = answer("box", "<loc0000><loc0000><loc0256><loc0256>", BOX)
    frame = compose(native, LIBERO, answers=(boxed,), **common)[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]
    rows, columns = np.nonzero((frame.astype(int) != empty).any(axis=-1))
    assert rows.max() == pytest.approx(SIDE / 2, abs=2)
    assert columns.min() == pytest.approx(SIDE / 2, abs=2)  # the left half of the turned picture is the right one
    tall = place_marks([answer("point", "<loc0512><loc0512>", None)], (64, 32), "upright")
    np.testing.assert_allclose(tall[0].place, [0.5, 0.5], atol=0.01)
    edge = place_marks([answer("point", "<loc0512><loc0256>", None)], (64, 32), "upright")
    np.testing.assert_allclose(edge[0].place, [0.5, 0.0], atol=0.01)  # a quarter of the square is black margin
