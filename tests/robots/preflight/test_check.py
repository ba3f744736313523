"""The command on an ideal arm in its own process, recorded pictures and a policy server: table, status, no motion."""

import contextlib
import sys

import numpy as np
from PIL import Image
import pytest

from inspire_fast.commands import check_robot
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.preflight import arm
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.server import PolicyServer
from inspire_fast.serving.testing import PuppetPolicy
from tests.robots.stop_folder import own_stop_folder

CAMERAS = sorted(ROBOTS["droid"].cameras)
PROGRAM = """
from functools import partial
from pathlib import Path

import numpy as np

from inspire_fast.robots import ROBOTS, LoopConfig
from inspire_fast.robots.arms.guard import JointGuard
from inspire_fast.robots.arms.limits import Box
from inspire_fast.robots.arms.testing import IdealArm
from inspire_fast.robots.cameras.base import CameraSpec
from inspire_fast.robots.cameras.registry import camera_of
from inspire_fast.robots.preflight.workstation import ArmPart, Workstation

HERE = Path(__file__).parent


def guard(options, model):
    box = Box(low=(-2, -2, -2), high=(2, 2, 2)) if "--box" not in options else Box(low=(9, 9, 9), high=(10, 10, 10))
    limits = model.limits.narrowed(fraction=2.0 if "--fast" in options else 0.3, box=box)
    return JointGuard(limits=limits, kinematics=model.kinematics)


def state(model, status):
    return {
        "observation/joint_position": status.q.astype(np.float32) + [0, 0, 0, -1, 0, 1, 0],
        "observation/gripper_position": np.array([status.gripper], np.float32),
    }


def workstation(options):
    port, *options = options
    arm = ArmPart(
        name="ideal",
        factory=partial(IdealArm, faults=HERE, log=HERE / "sent"),
        joints=7,
        guard=partial(guard, options),
        state=state,
        start=(0.1,) * 7 if "--degrees" not in options else (90.0,) * 7,
    )
    return Workstation(
        robot=ROBOTS["droid"],
        cameras={key: CameraSpec(camera=camera_of(f"pictures:{HERE / 'pictures'}")) for key in CAMERAS},
        policy=f"127.0.0.1:{port}" if int(port) else "",
        loop=LoopConfig(execute=8, max_steps=1, control_hz=15),
        prompt="go",
        arm=arm,
        stale_s=5.0,  # of a test beside others
    )
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (9, 240, 320, 3), dtype=np.uint8)
    for index, picture in enumerate(noise):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{index}.png", compress_level=1)
    (tmp_path / "program.py").write_text(f"CAMERAS = {CAMERAS}\n{PROGRAM}", encoding="utf-8")
    with own_stop_folder() as variable, pytest.MonkeyPatch.context() as patch:
        patch.setenv(*variable)
        yield tmp_path
    sys.modules.pop("program", None)


@contextlib.contextmanager
def serving(robot="droid"):
    server = PolicyServer(PuppetPolicy(robot=robot))
    with serve_in_background(server):
        yield server.port


def run(capsys, *args):
    """Exit status and what was printed."""
    try:
        check_robot.main([str(arg) for arg in args])
        status = 0
    except SystemExit as ended:
        status = ended.code
    return status, "".join(capsys.readouterr())


def test_a_workstation_that_is_ready(place, capsys, monkeypatch):
    monkeypatch.setattr(arm, "_RATE_SLACK", 0.0)  # how fast a machine is that runs other tests is not of interest
    with serving() as port:
        status, said = run(capsys, "--seconds", 0.5, "--requests", 3, place / "program.py", port)
    assert "FAIL" not in said
    assert status == 0
    assert "Ready; nothing was moved." in said
    for word in ("freshness", "state rate", "command rate", "start pose", "emergency stop", "identity", "latency"):
        assert word in said
    assert not (place / "sent").exists()  # no position was sent


@pytest.mark.slow  # a process of an arm each
@pytest.mark.parametrize(
    ("fault", "options", "words"),
    [
        ("lost", (), "ideal, connected: The arm does not answer."),
        ("frozen", (), "state rate: 0.0 Hz"),
        (None, ("--degrees",), "Are these degrees?"),
        (None, ("--fast",), "must be in 0 .. 1; got 2.0"),
    ],
)
def test_what_fails_is_told_once_and_nothing_moves(place, capsys, fault, options, words):
    if fault is not None:
        (place / fault).touch()
    status, said = run(capsys, "--seconds", 0.4, place / "program.py", 0, *options)
    assert status == 1
    assert sum(words in line for line in said.splitlines() if line.startswith("FAIL: ")) == 1, said
    assert not (place / "sent").exists()


def test_a_policy_of_another_robot(place, capsys):
    (place / "lost").touch()  # the arm is not of interest
    with serving("aloha") as port:
        status, said = run(capsys, "--seconds", 0.2, place / "program.py", port)
    assert status == 1
    assert "This policy does not drive robot 'droid'" in said


def test_no_server_at_all(place, capsys, monkeypatch):
    monkeypatch.setattr(check_robot, "_CONNECT_S", 0.3)
    with serving() as port:
        pass
    status, said = run(capsys, "--seconds", 0.2, "--robot", "droid", "--policy", f"127.0.0.1:{port}")
    assert status == 1
    assert "FAIL: policy, server: " in said
    assert "FAIL: policy, keys: Robot 'droid': the observation lacks" in said


def test_without_a_program_cameras_and_server_are_checked(place, capsys):
    cameras = [f"--camera={key}=pictures:{place / 'pictures'}" for key in CAMERAS]
    with serving() as port:
        address = f"127.0.0.1:{port}"
        status, said = run(capsys, "--seconds", 0.5, "--robot", "droid", *cameras, "--policy", address)
    assert "FAIL" not in said
    assert status == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "Give a robot's program"),
        (("nowhere.py",), "nowhere.py is no Python file"),
        (("--robot", "droid", "--camera", "wrist=opencv:0"), "one of the keys observation/exterior_image_1_left"),
        (("--robot", "droid", "--seconds", 0), "--seconds must be > 0"),
    ],
)
def test_a_wrong_command_line_ends_with_status_2(capsys, args, words):
    status, said = run(capsys, *args)
    assert status == 2
    assert words in said
