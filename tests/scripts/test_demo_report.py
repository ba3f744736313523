from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspire_fast.data.video import VideoEncoder
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.frame import compose
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.robots import ROBOTS
from scripts.demo.report import write_report
from scripts.demo.summary import summarise
from tests.core.hostile import HOSTILE, require_harmless

LIBERO = ROBOTS["libero"]


def answer(word: str, truth: str) -> AnswerRecord:
    return AnswerRecord(
        question="direction", asked="Where?", target="the plate", answer=word, probability=0.5, truth=truth
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What the stages of a run leave behind."""
    rows = [
        {"step": 1, "answer_loss": 2.0, "action_loss": 3.0, "held_out_answer_loss": 2.5, "held_out_action_loss": 3.5},
        {"step": 2, "answer_loss": 1.0, "action_loss": 2.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    held_out = {
        "samples": 4,
        "answer_accuracy": 0.75,
        "answer_majority_baseline": 0.5,
        "action_error": 0.1,
        "action_error_mean_baseline": 0.3,
        "action_error_by_dim": [0.1] * 7,
        "confusion": [["left", "left", 3], ["up", "left", 1]],
    }
    (tmp_path / "held_out.json").write_text(json.dumps(held_out), encoding="utf-8")
    episodes = tmp_path / "episodes"
    film = VideoEncoder(episodes / "film.mp4", fps=4, height=32, width=32, codec="h264")
    film.add(np.zeros((32, 32, 3), np.uint8))
    film.close()
    call = CallRecord(
        step=0,
        answers=(answer("left", "left"), answer("up", "down")),
        status="ok",
        reason="",
        timing_ms={"round_trip_ms": 7.0},
    )
    for episode, success in enumerate((True, False)):
        record = EpisodeRecord(
            suite="libero_object",
            task=0,
            prompt="<pick> & place",
            episode=episode,
            success=success,
            stopped="success" if success else "max_steps",
            reason="",
            steps=9,
            holds=0,
            seconds=1.0,
            video="film.mp4",
            calls=(call,),
        )
        records.append(episodes, record)
    return tmp_path


def summary(run: Path, seconds: dict[str, float]) -> dict[str, Any]:
    found = records.read(run / "episodes")
    return summarise(
        found,
        found[:1],
        checkpoint_dir=run,
        demonstrations={"episodes": 12, "failures": 1},
        parameters=1234567,
        seconds=seconds,
    )


def test_the_page_shows_the_figures_of_the_json(run: Path) -> None:
    report = summary(run, {"train": 10.0, "evaluate": 5.0})
    found = records.read(run / "episodes")
    page = write_report(report, found, found[:1], run).read_text(encoding="utf-8")
    stored = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert (stored["successes"], stored["episodes"], stored["demonstrations"], stored["steps"]) == (1, 2, 12, 2)
    assert (stored["shipped_successes"], stored["shipped_episodes"]) == (1, 1)
    assert (stored["shipped_answer_accuracy"], stored["shipped_answer_majority_baseline"]) == (0.5, 0.5)
    assert stored["rollout_answer_accuracy"] == 0.5
    assert stored["losses"]["answer_loss"] == [[1, 2.0], [2, 1.0]]
    assert stored["losses"]["held_out_action_loss"] == [[1, 3.5]]
    assert stored["seconds_total"] == 15.0
    for text in ("1,234,567 parameters", "75.0%", "50.0%", "0.100", "0.300", "1 of 2", "1 of 1", "7 ms"):
        assert text in page
    assert "&lt;pick&gt; &amp; place" in page
    assert page.count("data:video/mp4;base64,") == 2  # the shipped policy's folder has none
    assert "http" not in page  # self-contained


def test_text_of_others_cannot_break_the_page(run: Path) -> None:
    report = {**summary(run, {HOSTILE: 10.0}), "confusion": [[HOSTILE, HOSTILE, 1]]}
    found = [replace(record, suite=HOSTILE, prompt=HOSTILE) for record in records.read(run / "episodes")]
    page = write_report(report, found, found, run).read_text(encoding="utf-8")
    require_harmless(page, shown=10, scripts=1)


def test_a_picture_has_even_sizes_and_the_answers_colours() -> None:
    native = LIBERO.fake_native()
    frames = [
        compose(native, LIBERO, answers=[answer("left", truth)], status="ok", caption="step 0", questions=2)
        for truth in ("left", "up")
    ]
    assert frames[0].shape == frames[1].shape
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0

    def has(frame: np.ndarray, colour: tuple[int, int, int]) -> bool:
        return bool((frame == colour).all(axis=-1).any())

    assert has(frames[0], (90, 200, 110))
    assert not has(frames[0], (235, 95, 85))
    assert has(frames[1], (235, 95, 85))


def test_pictures_are_shown_upright() -> None:
    native = LIBERO.fake_native()
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = 255  # left in what the policy sees, which is a mirror
    frame = compose({**native, "observation/image": image}, LIBERO, answers=[], status="ok", caption="", questions=0)
    picture = frame[10:298, 10:298].mean(axis=(0, 2))
    assert picture[:120].max() < 60
    assert picture[180:].min() > 200
