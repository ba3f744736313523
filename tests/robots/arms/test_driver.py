"""The driver of an arm in a thread of the test's process: both sides of `ArmProcess`, without starting a process."""

import multiprocessing
from multiprocessing.connection import Connection
import os
import threading
import time

import numpy as np
import pytest

from inspire_fast.robots.arms import process
from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.shared import SharedStatus
from inspire_fast.robots.arms.stop_channel import StopChannel, stop_arms
from inspire_fast.robots.arms.stream import StreamConfig
from inspire_fast.robots.arms.testing import IdealArm
from inspire_fast.robots.arms.watch import watch_arm
from tests.robots.stop_folder import own_stop_folder


class InThread:
    """Stands in for a process: its target runs in a thread, and cannot be killed."""

    pid, killed = 7, False

    def __init__(self, *, target, args, **_):
        factory, config, name, theirs, memory = args
        args = (factory, config, name, Connection(os.dup(theirs.fileno())), memory)  # a process has its own copy
        self._thread = threading.Thread(target=target, args=args, daemon=True)
        self.start, self.is_alive, self.join = self._thread.start, self._thread.is_alive, self._thread.join

    def kill(self):
        InThread.killed = True


class Context:
    """Stands in for multiprocessing's."""

    Pipe, Process = staticmethod(multiprocessing.Pipe), InThread


def drive(factory, config, name, pipe, memory):
    """What `process._main` does, but for signals."""
    arm, channel = factory(), StopChannel(name)
    driver = process._Driver(arm, config, pipe, channel, SharedStatus(memory))
    try:
        pipe.send(("model", arm.connect()))
        driver.run()
    finally:
        channel.close()
        process._send_last(pipe, "report", driver.report())
        pipe.close()


@pytest.fixture
def arm(tmp_path, monkeypatch):
    monkeypatch.setattr(process.multiprocessing, "get_context", lambda kind: Context())
    monkeypatch.setattr(process, "_main", drive)
    monkeypatch.setattr(InThread, "killed", False)
    monkeypatch.setattr(process, "_SILENT_S", 20.0)  # tests beside this one make its threads late
    with own_stop_folder() as variable:
        monkeypatch.setenv(*variable)
        config = StreamConfig(stale_s=20.0)
        one = process.ArmProcess(lambda: IdealArm(faults=tmp_path), joints=7, config=config, name="thread")
        one.begin(one.model.limits)
        yield one
        one.close()
    assert not InThread.killed


def error_of(arm):
    """What `status` raises, once it does."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            arm.status()
        except ArmError as error:
            return str(error)
        time.sleep(0.01)
    return ""


def test_targets_are_followed_commands_are_counted_and_the_arm_is_given_back(arm):
    arm.follow(np.full(7, -0.05), 0.1)
    arm.move_gripper(1.0)
    end = time.monotonic() + 20
    while not (
        arm.status().obeyed == arm.sent and np.allclose(arm.status().q, -0.05, atol=0.01) and arm.status().gripper == 1
    ):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert arm.sent == 3  # `begin`, too
    arm.follow(np.full(7, 0.1), 2.0)
    arm.close()
    arm.close()
    assert arm.report["ticks"] > 1
    with pytest.raises(ArmError, match="has ended"):
        arm.hold("too late")


def test_a_stop_of_the_loop_is_told_as_a_stop(arm):
    arm.stop("a key was pressed")
    assert error_of(arm) == "The arm has stopped: a key was pressed"


def test_the_emergency_stop_is_answered_once_the_arm_rests_and_is_told_as_a_stop(arm):
    arm.follow(np.full(7, 0.5), 1.0)
    assert list(stop_arms("emergency stop", answer_s=20).values()) == ["rests"]
    assert error_of(arm) == "The arm has stopped: emergency stop"


def test_a_fault_is_told_as_a_fault_also_to_who_stops_it_then(arm, tmp_path):
    (tmp_path / "lost").touch()
    assert error_of(arm) == "The arm has faulted: The arm does not answer."
    assert list(stop_arms("again", answer_s=20).values()) == ["faulted: The arm does not answer."]
    assert error_of(arm) == "The arm has faulted: The arm does not answer."  # the first reason stays


def test_a_status_that_was_cut_off_and_one_that_is_old_are_errors(arm, monkeypatch):
    status = arm.status()
    with monkeypatch.context() as patch:
        patch.setattr(SharedStatus, "read", lambda _: (_ for _ in ()).throw(TimeoutError("cut off")))
        assert error_of(arm) == "cut off"
    monkeypatch.setattr(process, "_SILENT_S", -1.0)
    assert "has said nothing for" in error_of(arm)
    assert status.commanded.shape == (7,)


def test_an_arm_is_watched_at_the_streams_rate_before_it_is_taken():
    arm = IdealArm()
    watch = watch_arm(arm, 0.3, 50.0)
    assert watch.state_hz > 0
    assert watch.tick_ms_max >= watch.tick_ms_mean >= 15
    assert watch.age_ms_max >= watch.tick_ms_mean
    assert not watch.moved.any()
    nothing = watch_arm(arm, 0.0, 50.0)
    assert (nothing.state_hz, nothing.tick_ms_mean) == (0.0, 0.0)
