"""Recordings: contents, limits, and losses after failures."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Answer, Status
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.safety import hold_action
from inspire_fast.serving.recording import Recorder, RecordingLimits, list_segments
from inspire_fast.serving.recording import segments as recording_segments
from tests.serving.conftest import wait_until

LIBERO = ROBOTS["libero"]
OPTIONS = RequestOptions()
PROGRAM = """
import pathlib, sys
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.recording import Recorder, RecordingLimits
import numpy as np
robot = ROBOTS["libero"]
recorder = Recorder(pathlib.Path(sys.argv[1]), robot=robot, horizon=10, limits=RecordingLimits(max_bytes=8 << 20))
for number in range(100_000):
    while recorder._waiting > 100:
        pass
    chunk = ActionChunk(actions=np.full((10, 7), 0.5, np.float32))
    recorder.record("robot", robot.fake_native(seed=number), RequestOptions(), chunk)
"""


def native(seed=0, robot=LIBERO, **changes):
    return {**robot.fake_native(seed=seed, image_hw=(32, 24)), **changes}


def chunk_of(value=0.5, rows=10, **fields):
    return ActionChunk(actions=np.full((rows, 7), value, np.float32), **fields)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "recording"


@pytest.fixture
def record(directory):
    """Makes recorders; they are closed after the test."""
    recorders = []

    def make(robot="libero", horizon=10, default_prompt="", **limits):
        limits = RecordingLimits(**limits)
        recorder = Recorder(
            directory, robot=ROBOTS[robot], horizon=horizon, limits=limits, default_prompt=default_prompt
        )
        recorders.append(recorder)
        return recorder

    yield make
    for recorder in recorders:
        recorder.close()


def rows(directory):
    """Every recorded row, in order."""
    datasets = [LeRobotDataset(path) for path in list_segments(directory)]
    return [dataset.row(i) for dataset in datasets for i in range(len(dataset))]


def size(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def test_what_was_asked_and_answered_comes_back(record, directory):
    recorder = record()
    asked = [native(seed) for seed in range(3)]
    answers = (Answer(question="direction", target="the bowl", answer="left", probability=0.75),)
    options = RequestOptions(targets=("the bowl",), seed=7)
    before = time.time()
    for number, observation in enumerate(asked):
        chunk = chunk_of(number / 4, answers=answers, timing_ms={"prefill_ms": 1.5})
        recorder.record("robot", observation, options, chunk)
    recorder.close()
    dataset = LeRobotDataset(list_segments(directory)[0])
    assert [episode.tasks for episode in dataset.episodes] == [("put the red block on the plate",)]
    assert dataset.meta.robot_type == "libero"
    for number, (row, observation) in enumerate(zip(rows(directory), asked, strict=True)):
        np.testing.assert_array_equal(row["observation.images.image"], observation["observation/image"])
        np.testing.assert_array_equal(row["observation.images.wrist_image"], observation["observation/wrist_image"])
        np.testing.assert_array_equal(row["observation.state"], observation["observation/state"])
        np.testing.assert_array_equal(row["action"], np.full(7, number / 4, np.float32))
        np.testing.assert_array_equal(row["chunk"].reshape(10, 7), np.full((10, 7), number / 4, np.float32))
        assert (row["chunk_length"], row["status"], row["reason"]) == (10, "ok", "")
        assert json.loads(row["answers"]) == [
            {"question": "direction", "target": "the bowl", "answer": "left", "probability": 0.75}
        ]
        assert json.loads(row["options"]) == {"targets": ["the bowl"], "seed": 7}
        assert json.loads(row["timing_ms"]) == {"prefill_ms": 1.5}
        assert (row["session"], row["request"]) == ("robot", number)
        assert before <= row["time_s"] <= time.time()


@pytest.mark.parametrize("name", list(ROBOTS))
def test_every_robot_can_be_recorded_and_a_held_chunk_is_the_robots_hold(name, record, directory):
    robot = ROBOTS[name]
    observation = robot.fake_native(image_hw=(16, 20))
    recorder = record(robot=name, horizon=4)
    held = ActionChunk(actions=None, status=Status.HELD, reason="told to hold")
    recorder.record("robot", observation, OPTIONS, held)
    recorder.close()
    (row,) = rows(directory)
    state = robot.native_state(observation)
    hold = hold_action(robot, None, state)
    assert (row["status"], row["reason"], row["chunk_length"]) == ("held", "told to hold", 0)
    np.testing.assert_array_equal(row["action"], hold)
    np.testing.assert_array_equal(row["chunk"].reshape(4, -1), np.tile(hold, (4, 1)))
    np.testing.assert_array_equal(row["observation.state"], state)
    for key, image in robot.native_images(observation).items():
        np.testing.assert_array_equal(row[f"observation.images.{key.rpartition('/')[2]}"], image)


def test_a_short_chunk_says_how_long_it_is(record, directory):
    recorder = record()
    recorder.record("robot", native(), OPTIONS, ActionChunk(actions=np.eye(2, 7, dtype=np.float32)))
    recorder.close()
    (row,) = rows(directory)
    assert row["chunk_length"] == 2
    np.testing.assert_array_equal(row["chunk"].reshape(10, 7), np.eye(7, dtype=np.float32)[[0] + [1] * 9])


def test_an_episode_is_one_robot_under_one_instruction(record, directory):
    recorder = record()
    for number in range(4):  # two robots of one connection, and another connection, take turns
        recorder.record("one", native(prompt="open the drawer"), RequestOptions(session="left"), chunk_of())
        recorder.record("one", native(prompt="open the drawer"), RequestOptions(session="right"), chunk_of())
        recorder.record("two", native(prompt="open" if number < 2 else "close"), OPTIONS, chunk_of())
    recorder.end("one")
    recorder.record("one", native(prompt="open the drawer"), RequestOptions(session="left"), chunk_of())
    recorder.close()
    (segment,) = list_segments(directory)
    dataset = LeRobotDataset(segment)
    found = sorted((episode.length, *episode.tasks) for episode in dataset.episodes)
    assert found == [(1, "open the drawer"), (2, "close"), (2, "open"), (4, "open the drawer"), (4, "open the drawer")]
    for episode in dataset.episodes:
        requests = dataset.columns(["request"])["request"][episode.start : episode.stop]
        assert (np.diff(requests) == 1).all()


def test_an_episode_ends_with_its_mark(record, directory):
    recorder = record()
    for mark in "aabba":
        recorder.record("one", native(), RequestOptions(episode=mark), chunk_of())
    recorder.close()
    (segment,) = list_segments(directory)
    assert [episode.length for episode in LeRobotDataset(segment).episodes] == [2, 2, 1]


def test_other_pictures_go_into_another_dataset(record, directory):
    recorder = record()
    recorder.record("one", native(), OPTIONS, chunk_of())
    recorder.record("one", LIBERO.fake_native(image_hw=(16, 16)), OPTIONS, chunk_of())
    recorder.close()
    shapes = [row["observation.images.image"].shape for row in rows(directory)]
    assert shapes == [(32, 24, 3), (16, 16, 3)]
    assert len(list_segments(directory)) == 2


def test_a_missing_prompt_is_the_default_one(record, directory):
    recorder = record(default_prompt="open the drawer")
    observation = native()
    del observation["prompt"]
    recorder.record("one", observation, OPTIONS, chunk_of())
    recorder.close()
    assert [row["task"] for row in rows(directory)] == ["open the drawer"]


def test_what_is_left_out_is_told_once_in_a_while_and_in_the_end(record, caplog):
    recorder = record()
    for _ in range(20):
        recorder.record("one", {**native(), "prompt": ""}, OPTIONS, chunk_of())
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (0, 20)
    told = [r.getMessage() for r in caplog.records if "were dropped" in r.getMessage()]
    assert len(told) == 2
    assert "1 requests were dropped" in told[0]
    assert "19 requests were dropped (20 in all)" in told[1]


def test_what_cannot_be_recorded_is_counted_and_named(record, directory, caplog, monkeypatch):
    monkeypatch.setattr("inspire_fast.serving.recording.recorder._REPORT_EVERY_S", 0.0)
    recorder = record()
    observation = native()
    del observation["prompt"]
    recorder.record("one", observation, OPTIONS, chunk_of())
    recorder.record("two", native(), OPTIONS, chunk_of(rows=11))
    recorder.record("three", {**native(), "observation/state": [[1.0], [1.0, 2.0]]}, OPTIONS, chunk_of())
    recorder.record("four", native(prompt="\udc80"), OPTIONS, chunk_of())
    recorder.record("five", native(), OPTIONS, chunk_of())
    recorder.close()
    assert [row["session"] for row in rows(directory)] == ["five"]
    assert (recorder.recorded, recorder.dropped) == (1, 4)
    for words in ("no prompt to record", "got (11, 7)", "session three", "session four"):
        assert words in caplog.text


def test_an_episode_larger_than_all_that_may_be_kept_is_left_out(record, directory, caplog):
    recorder = record(max_bytes=1 << 20)
    recorder.record("one", LIBERO.fake_native(image_hw=(512, 512)), OPTIONS, chunk_of())
    recorder.record("two", native(), OPTIONS, chunk_of())
    recorder.close()
    assert [row["session"] for row in rows(directory)] == ["two"]
    assert "do not fit into the limit of 1048576" in caplog.text


def test_the_disk_is_never_used_beyond_the_bound_and_the_oldest_goes_first(record, directory, monkeypatch):
    bound = 1 << 20
    recorder = record(max_bytes=bound)
    largest = 0
    add = recorder._segments.add

    def watched(episode):
        nonlocal largest
        add(episode)
        largest = max(largest, size(directory))

    monkeypatch.setattr(recorder._segments, "add", watched)
    monkeypatch.setattr(time, "time", lambda: 1e9)  # a stopped or jumping clock orders nothing
    for number in range(60):
        recorder.record(str(number), LIBERO.fake_native(seed=number), OPTIONS, chunk_of())
        recorder.record(str(number), LIBERO.fake_native(seed=1000 + number), OPTIONS, chunk_of())
        recorder.end(str(number))
    recorder.close()
    assert bound // 2 < largest <= bound
    assert size(directory) <= bound
    sessions = [int(row["session"]) for row in rows(directory)]
    assert sessions == [n for n in range(sessions[0], 60) for _ in range(2)]
    assert 0 < sessions[0] < 55
    assert recorder.dropped == 0


def test_what_others_put_into_the_directory_is_left_alone(record, directory):
    directory.mkdir()
    (directory / "notes.txt").write_text("x" * (2 << 20), encoding="utf-8")
    (directory / "20240101T000000Z-mine").mkdir()
    for _ in range(2):
        recorder = record(max_bytes=1 << 20)
        for number in range(20):
            recorder.record(str(number), LIBERO.fake_native(seed=number), OPTIONS, chunk_of())
            recorder.end(str(number))
        recorder.close()
    assert (directory / "notes.txt").stat().st_size == 2 << 20
    assert (directory / "20240101T000000Z-mine").is_dir()
    assert rows(directory)


def test_a_later_recorder_goes_on_with_the_numbers(record, directory):
    for session in ("first", "second"):
        recorder = record()
        recorder.record(session, native(), OPTIONS, chunk_of())
        recorder.close()
    assert [path.name.rpartition("-")[2] for path in list_segments(directory)] == ["000000", "000001"]
    assert [row["session"] for row in rows(directory)] == ["first", "second"]


def test_a_dataset_is_finished_when_it_is_old(record, directory):
    recorder = record(segment_s=0.05)
    recorder.record("one", native(), OPTIONS, chunk_of())
    recorder.end("one")
    wait_until(lambda: list_segments(directory))
    assert [row["session"] for row in rows(directory)] == ["one"]


def test_memory_is_bounded_by_writing_the_longest_episode(record, directory):
    recorder = record(max_memory_bytes=200_000)
    for number in range(40):
        while recorder._waiting:
            time.sleep(0.001)
        recorder.record(str(number % 5), LIBERO.fake_native(seed=number), OPTIONS, chunk_of())
        assert sum(episode.nbytes for episode in list(recorder._episodes.values())) < 300_000
    recorder.close()
    found = {(row["session"], row["request"]) for row in rows(directory)}
    assert found == {(str(session), request) for session in range(5) for request in range(8)}


def test_a_full_queue_drops_counts_and_says_so_once(record, directory, caplog, monkeypatch):
    recorder = record(max_waiting=4)
    gate = threading.Event()
    add = recorder._add
    monkeypatch.setattr(recorder, "_add", lambda exchange: (gate.wait(30), add(exchange)))
    slowest = 0.0
    for number in range(50):
        start = time.perf_counter()
        recorder.record("one", native(seed=number), OPTIONS, chunk_of())
        slowest = max(slowest, time.perf_counter() - start)
    recorder.end("one")  # is never dropped
    assert slowest < 1.0  # it waits for nobody
    assert recorder.dropped == 46
    assert caplog.text.count("requests were dropped") == 1
    gate.set()
    recorder.close()
    assert [row["request"] for row in rows(directory)] == [0, 1, 2, 3]
    assert "46 in all" in caplog.text


def test_requests_that_wait_are_bounded_in_bytes_too(record, monkeypatch):
    recorder = record(max_memory_bytes=100_000)
    gate = threading.Event()
    add = recorder._add
    monkeypatch.setattr(recorder, "_add", lambda exchange: (gate.wait(30), add(exchange)))
    for number in range(20):
        recorder.record("one", LIBERO.fake_native(seed=number), OPTIONS, chunk_of())
    assert recorder._waiting_bytes <= 100_000
    assert recorder.dropped == 20 - recorder._waiting
    gate.set()


@pytest.mark.parametrize("broken", ["add_episode", "close"])
def test_a_full_disk_stops_recording_with_one_error_and_nothing_else(record, directory, caplog, monkeypatch, broken):
    recorder = record(segment_s=0.05)
    recorder.record("one", native(), OPTIONS, chunk_of())
    recorder.end("one")
    wait_until(lambda: list_segments(directory))

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DatasetWriter, broken, fail)
    recorder.record("two", native(), OPTIONS, chunk_of())
    recorder.end("two")
    wait_until(lambda: not recorder.running)
    for _ in range(100):
        recorder.record("three", native(), OPTIONS, chunk_of())
    recorder.end("three")
    recorder.close()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "Recording has stopped" in errors[0].getMessage()
    assert errors[0].getMessage().endswith("1 requests are lost.")
    assert recorder.recorded == 1
    assert "No space left" in caplog.text
    assert [row["session"] for row in rows(directory)] == ["one"]  # what was finished stays
    assert sorted(path.name for path in directory.glob(".*")) == [".lock"]  # and the disk gets the rest back


def test_a_killed_process_loses_the_open_dataset_and_no_other(record, directory):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(directory)])
    try:
        wait_until(lambda: process.poll() is None and directory.is_dir() and len(list_segments(directory)) >= 2)
        wait_until(lambda: list(directory.glob(".*.partial")))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for hidden in directory.glob(".*.partial"):
        with pytest.raises(DatasetError):
            LeRobotDataset(hidden)
    before = list_segments(directory)
    found = rows(directory)
    requests = [row["request"] for row in found]
    assert requests == list(range(requests[0], requests[0] + len(requests)))
    np.testing.assert_array_equal(
        found[-1]["observation.images.image"], LIBERO.fake_native(seed=requests[-1])["observation/image"]
    )
    recorder = record()  # the dead process's lock is free, and its left-overs are deleted
    assert not list(directory.glob(".*.partial"))
    recorder.record("next", native(), OPTIONS, chunk_of())
    recorder.close()
    assert list_segments(directory)[:-1] == before
    assert rows(directory)[-1]["session"] == "next"


def test_a_deletion_that_was_cut_short_leaves_nothing_that_looks_whole(record, directory, monkeypatch):
    recorder = record()
    recorder.record("one", native(), OPTIONS, chunk_of())
    recorder.close()
    (segment,) = list_segments(directory)

    def die(path, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recording_segments.shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            recording_segments._remove(segment)
    assert list_segments(directory) == []
    record()
    assert sorted(path.name for path in directory.iterdir()) == [".lock"]


def test_two_processes_do_not_record_into_one_directory(record):
    record()
    with pytest.raises(FileExistsError, match="Another process records"):
        record()


def test_limits_are_checked():
    with pytest.raises(ValueError, match="max_bytes must be a whole number, at least 1048576"):
        RecordingLimits(max_bytes=1000)
