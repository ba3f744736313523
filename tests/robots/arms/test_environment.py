"""An ideal arm in its own process, driven by the control loop: what is sent, what is refused, who survives whom."""

from functools import partial
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from inspire_fast.commands import stop_arms as command
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import ROBOTS, LoopConfig, SafetyFilter, run_episode
from inspire_fast.robots.arms.actuation import JointPositions, JointVelocities
from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.environment import ArmEnvironment, StartPose
from inspire_fast.robots.arms.guard import GripperGate, JointGuard
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.stop_channel import stop_arms
from inspire_fast.robots.arms.stream import Mode
from inspire_fast.robots.arms.testing import IdealArm, planar_chain
from tests.robots.stop_folder import own_stop_folder

pytestmark = pytest.mark.slow  # processes in real time, which other tests beside them make late

DROID = ROBOTS["droid"]
CHAIN = planar_chain(7)


class NoCameras:
    def pictures(self):
        rng = np.random.default_rng()
        return {key: rng.integers(0, 255, (4, 6, 3), dtype=np.uint8) for key in DROID.cameras}

    def close(self):
        pass


@pytest.fixture
def faults(tmp_path, monkeypatch):
    with own_stop_folder() as variable:
        monkeypatch.setenv(*variable)
        yield tmp_path


@pytest.fixture
def arm(faults):
    process = ArmProcess(partial(IdealArm, faults=faults, log=faults / "sent"), joints=7, name="ideal")
    yield process
    process.close()


@pytest.fixture(scope="module")
def shared():
    """An arm for tests after which it can still be commanded; starting a process takes a second."""
    with own_stop_folder() as variable:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(*variable)
            process = ArmProcess(IdealArm, joints=7, name="shared")
        yield process
        process.close()


def environment(arm, *, fraction=0.5, box=None, **options):
    limits = arm.model.limits.narrowed(fraction=fraction, box=box)
    arm.begin(limits)
    return ArmEnvironment(
        **{
            "robot": DROID,
            "arm": arm,
            "actuation": JointVelocities(),
            "guard": JointGuard(limits=limits, kinematics=arm.model.kinematics),
            "cameras": NoCameras(),
            "state": lambda status: {
                "observation/joint_position": status.q.astype(np.float32),
                "observation/gripper_position": np.array([status.gripper], np.float32),
            },
            "prompt": "go",
            **options,
        }
    )


def sent(faults):
    rows = np.array([line.split() for line in (faults / "sent").read_text(encoding="utf-8").splitlines()], np.float64)
    return rows[:, 0], rows[:, 1:]


def forward(velocity=0.2):
    return lambda _: ActionChunk(actions=np.tile(np.float32([velocity] * 7 + [1.0]), (8, 1)))


def wait_until(condition, wait_s=5.0):
    end = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_episode_moves_the_arm_within_its_limits_and_ends_with_a_hold(arm, faults):
    one = environment(arm, start=StartPose(q=(0.1,) * 7, speed=0.9), gripper=GripperGate())
    config = LoopConfig(execute=8, max_steps=12, control_hz=15)
    result = run_episode(one, forward(), config, safety=SafetyFilter(robot=DROID), metadata={"robot": "droid"})
    assert result.stopped == "max_steps"
    status = arm.status()
    assert 0.2 < status.q[0] < 0.6
    assert status.gripper == 1.0
    wait_until(lambda: arm.status().mode == Mode.HOLDING and arm.status().resting)
    one.close()
    times, positions = sent(faults)
    limits = arm.model.limits.narrowed(fraction=0.5)
    assert np.abs(np.diff(positions, axis=0)).max() <= limits.velocity[0] * 0.01 + 1e-9
    assert arm.report["period_ms_mean"] < 40
    assert len(times) == arm.report["ticks"]


def test_what_is_sent_is_what_was_possible(shared):
    limits = shared.model.limits
    one = environment(shared, actuation=JointPositions(), robot=ROBOTS["droid_joint_position"])
    returned = one.step(np.array([0.2] * 7 + [0.3], np.float32))
    np.testing.assert_allclose(returned, [0.2] * 7 + [0.3], rtol=1e-6)
    returned = one.step(np.array([2.0] * 7 + [0.3], np.float32))
    assert returned[0] < 0.5  # 0.25 rad from the measured pose
    assert one.changed_steps == 1
    assert limits.high[0] > 2


@pytest.mark.parametrize(
    ("q", "words"),
    [((0.0,) * 6 + (9.0,), "joint7 9 .*Are these degrees"), ((0.0,) * 6, "needs 7 finite"), ((np.nan,) * 7, "finite")],
)
def test_a_start_pose_that_cannot_be_is_refused_before_any_motion(shared, q, words):
    one = environment(shared, start=StartPose(q=q))
    before = shared.status().commanded
    with pytest.raises(ValueError, match=words):
        one.reset(0)
    time.sleep(0.1)
    assert np.abs(shared.status().commanded - before).max() < 1e-4


def test_a_dry_run_sends_nothing(shared):
    one = environment(shared, dry_run=True, start=StartPose(q=(0.3,) * 7), gripper=GripperGate())
    before = shared.status().commanded
    config = LoopConfig(execute=4, max_steps=4, control_hz=50)
    run_episode(one, forward(), config, safety=SafetyFilter(robot=DROID), metadata={"robot": "droid"})
    assert np.abs(shared.status().commanded - before).max() < 1e-4
    assert shared.status().gripper == 0.0
    assert len(one.would_send) == 5
    assert one.would_send[-1] - before == pytest.approx(np.full(7, 0.04), abs=1e-4)


@pytest.mark.parametrize(("fault", "words"), [("frozen", "newest measurement"), ("lost", "does not answer")])
def test_a_fault_of_the_arm_ends_the_episode_with_its_reason(arm, faults, fault, words):
    one, config = environment(arm), LoopConfig(execute=8, max_steps=200, control_hz=50)

    def fault_later(step):
        if step.step == 5:
            (faults / fault).touch()

    with pytest.raises(ArmError, match=f"The arm has faulted: .*{words}"):
        run_episode(
            one, forward(), config, safety=SafetyFilter(robot=DROID), metadata={"robot": "droid"}, on_step=fault_later
        )


def test_the_emergency_stop_stops_an_arm_whose_loop_goes_on(arm, capsys):
    one = environment(arm)
    one.step(np.array([0.5] * 7 + [0.0], np.float32))
    command.main(["--now"])
    assert "ideal-" in (told := capsys.readouterr().out)
    assert "rests" in told
    with pytest.raises(ArmError, match="The arm has stopped: emergency stop"):
        one.step(np.array([0.5] * 7 + [0.0], np.float32))
    assert arm.close() is None
    assert stop_arms("again") == {}


def test_the_emergency_stop_knows_its_arguments_and_tells_of_no_arm(faults, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--slowly"])
    assert "--now" in capsys.readouterr().out
    command.main(["--now"])
    assert "No arm of this user is under control" in capsys.readouterr().out


def test_an_arm_that_cannot_be_reached_is_told(faults):
    (faults / "lost").touch()
    with pytest.raises(ArmError, match=r"^The arm does not answer\.$"):
        ArmProcess(partial(IdealArm, faults=faults), joints=7)


def is_alive(process):
    status = Path(f"/proc/{process}/status")
    return status.exists() and "zombie" not in status.read_text(encoding="utf-8")


LOOP = """
from functools import partial
from pathlib import Path
import sys, time
import numpy as np
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.testing import IdealArm
if __name__ == "__main__":
    arm = ArmProcess(partial(IdealArm, log=Path(sys.argv[1])), joints=7)
    arm.begin(arm.model.limits.narrowed(fraction=0.3))
    print(arm.pid, flush=True)
    for step in range(1000):
        arm.follow(np.full(7, 0.02 * step), 0.05)
        time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_arm_holds_when_its_loop_is_gone_or_hangs(faults, number):
    script, log = faults / "loop.py", faults / "sent"
    script.write_text(LOOP, encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    loop = subprocess.Popen([sys.executable, script, log], stdout=subprocess.PIPE, encoding="utf-8", env=environ)
    driver = int(loop.stdout.readline())
    wait_until(lambda: log.exists() and len(log.read_text(encoding="utf-8").splitlines()) > 60, 20)
    loop.send_signal(number)
    gone_s = time.monotonic()
    time.sleep(1.0)
    times, positions = sent(faults)
    moving = times[1:][np.abs(np.diff(positions, axis=0)).max(axis=1) > 1e-4]
    assert moving.max() - gone_s < 0.7
    if number == signal.SIGSTOP:
        loop.kill()
    loop.wait()
    loop.stdout.close()
    wait_until(lambda: not is_alive(driver))


def test_an_arm_that_was_not_begun_says_so(arm):
    with pytest.raises(ArmError, match="not under control yet"):
        arm.follow(np.zeros(7), 0.1)
