"""From a rollout on a robot to a dataset, and to labels by hindsight."""

import contextlib
import multiprocessing
from pathlib import Path
import subprocess
import sys
import time

import numpy as np
import pytest

from inspire_fast.commands.convert_dataset import rollouts
from inspire_fast.core.types import ActionChunk
from inspire_fast.data.converters.base import Storage
from inspire_fast.data.converters.rollouts import read_episode
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.robots import ROBOTS, LoopConfig, SafetyFilter, run_episode
from inspire_fast.robots.control.rollout import RolloutRecorder, read_rollout
from inspire_fast.robots.control.rollout_writer import write_rollouts
from inspire_fast.robots.control.runtime import Step

ROBOT = ROBOTS["franka_delta_pose"]


class Arm:
    """An end effector that goes where it is told."""

    prompt = "pick up the cup"

    def __init__(self):
        self.state, self.steps = np.array([0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0], np.float32), 0

    @property
    def success(self):
        return self.steps >= 12

    def reset(self, episode):
        self.steps = 0

    def observe(self):
        pictures = {key: np.full((8, 8, 3), 10 * self.steps, np.uint8) for key in ROBOT.cameras}
        return {**pictures, "observation/state": self.state.copy(), "prompt": self.prompt}

    def step(self, action):
        self.steps += 1
        self.state = np.append(self.state[:6] + action[:6], action[6]).astype(np.float32)
        return action

    def facts(self):
        return None

    def close(self):
        pass


# The hold before the first action is a step of the arm's, and none of the episode's.


def record(folder, *, killed_after=None, corrected=None):
    arm = Arm()
    recorder = RolloutRecorder(
        folder, ROBOT, observe=arm.observe, control_hz=15, extra=lambda: {"force": np.ones(3)}, corrected=corrected
    )

    def infer(observation):
        closed = float(arm.steps >= 4)
        return ActionChunk(actions=np.tile(np.float32([0.01, 0, -0.01, 0, 0, 0, closed]), (4, 1)))

    path = recorder.begin(arm.prompt)

    def on_step(step):
        recorder.add(step)
        if step.step == killed_after:
            raise KeyboardInterrupt

    config = LoopConfig(execute=4, max_steps=30)
    safety = SafetyFilter(robot=ROBOT)
    with contextlib.suppress(KeyboardInterrupt):
        recorder.end(run_episode(arm, infer, config, safety=safety, metadata={"robot": ROBOT.name}, on_step=on_step))
    recorder.close()
    return path


def test_a_rollout_becomes_a_dataset(tmp_path, capsys):
    turn = iter(range(100))
    record(tmp_path / "a", corrected=lambda: next(turn) >= 6)
    record(tmp_path / "a", killed_after=5).rename(tmp_path / "a" / "killed.rollout")
    rollouts(source=tmp_path / "a", root=tmp_path / "dataset", storage=Storage())
    assert "2 episodes, 17 frames" in capsys.readouterr().out
    dataset = LeRobotDataset(tmp_path / "dataset")
    assert (dataset.fps, len(dataset.episodes)) == (15, 2)
    first = read_episode(min((tmp_path / "a").glob("2*.rollout")))
    assert first.task == "pick up the cup"
    assert first.notes == {"stopped": "success", "reason": "the task is solved"}
    assert first.columns["actions"].shape == (11, 7)
    assert first.columns["state"][:, 0] == pytest.approx(0.41 + 0.01 * np.arange(11), abs=1e-5)
    assert first.columns["corrected"].tolist() == [False] * 6 + [True] * 5
    assert first.columns["exterior_image_1_left"][3, 0, 0, 0] == 50
    assert first.columns["force"].shape == (11, 3)
    killed = read_episode(tmp_path / "a" / "killed.rollout")
    assert killed.notes == {"stopped": "killed", "reason": ""}
    assert not killed.columns["success"].any()
    rollouts(source=tmp_path / "a", root=tmp_path / "good", storage=Storage(), only_success=True)
    assert len(LeRobotDataset(tmp_path / "good").episodes) == 1


@pytest.mark.parametrize("missing", [1, 50, 400])
def test_a_torn_file_keeps_every_whole_step(tmp_path, missing):
    path = record(tmp_path, killed_after=7)
    whole = list(read_rollout(path))
    path.write_bytes(path.read_bytes()[:-missing])
    torn = list(read_rollout(path))
    assert torn == whole[: len(torn)]
    assert len(whole) - 3 <= len(torn) < len(whole)
    assert read_episode(path).columns["held"].shape == (len(torn) - 1,)


def test_what_is_no_rollout_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="found none"):
        rollouts(source=tmp_path, root=tmp_path / "out", storage=Storage())
    (tmp_path / "x.rollout").write_bytes(b"\xc1\x00")
    with pytest.raises(ValueError, match="is no recorded rollout"):
        list(read_rollout(tmp_path / "x.rollout"))
    (tmp_path / "x.rollout").write_bytes(b"\x81\xa7rollout\x09")
    with pytest.raises(ValueError, match="version 9"):
        list(read_rollout(tmp_path / "x.rollout"))


def step_of(number):
    action = np.zeros(7, np.float32)
    return Step(step=number, requested=action, sent=action, reasons=(), held=False, index=0)


def test_a_disk_that_is_full_ends_the_episode(monkeypatch):
    rows, sent = multiprocessing.Pipe(duplex=False)
    answers, answered = multiprocessing.Pipe(duplex=False)
    sent.send(("begin", {"path": "/dev/full"}, None))
    sent.send(("row", {"step": 0}, None))
    monkeypatch.setattr("inspire_fast.robots.control.rollout_writer.signal.signal", lambda *_: None)
    write_rollouts(rows, answered)  # as in the process
    assert answers.recv() == 1
    assert "No space left on device" in answers.recv()


def test_a_writer_that_is_killed_ends_the_episode_and_keeps_what_it_wrote(tmp_path):
    arm = Arm()
    recorder = RolloutRecorder(tmp_path, ROBOT, observe=arm.observe, control_hz=15)
    with pytest.raises(OSError, match="No episode has begun"):
        recorder.add(step_of(0))
    path = recorder.begin(arm.prompt)
    recorder.add(step_of(0))
    recorder._writer.flush()
    recorder._writer._process.kill()
    recorder._writer._process.join()
    with pytest.raises(OSError, match="cannot be recorded any more: the process that writes it has ended"):
        recorder.add(step_of(1))
    recorder.close()
    recorder.close()
    assert [row["step"] for row in read_rollout(path) if "step" in row] == [0]


def test_what_was_recorded_is_written_when_the_program_is_killed(tmp_path):
    program = f"""
import os, signal, sys, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.data.test_rollouts import ROBOT, Arm, RolloutRecorder, step_of
if __name__ == "__main__":
    recorder = RolloutRecorder(Path({str(tmp_path)!r}), ROBOT, observe=Arm().observe, control_hz=15)
    recorder.begin("pick up the cup")
    for number in range(20):
        recorder.add(step_of(number))
    recorder._writer._worker.submit(lambda: None).result()  # all of it is on its way
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    assert subprocess.run([sys.executable, tmp_path / "program.py"], check=False, timeout=60).returncode == -9
    end = time.monotonic() + 20
    (path,) = tmp_path.glob("*.rollout")
    while len(rows := list(read_rollout(path))) < 21:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert [row["step"] for row in rows[1:]] == list(range(20))
