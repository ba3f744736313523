"""The Franka example on the real arm's network protocol, with every motion limit enforced, and what goes wrong there.

`make test-robots` builds the environments. ROBOT_TEST_REPEATS=10 repeats every fault; ROBOT_TEST_FIGURES is a file for
what was measured.
"""

import json
import os
from pathlib import Path
import random
import signal
import time

import numpy as np
import pytest

from tests.examples.franka.bench import CLIENT, MODEL, SIMULATOR, Bench

pytestmark = [
    pytest.mark.robot,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (CLIENT.exists() and SIMULATOR.exists() and MODEL.exists()),
        reason="the environments of the Franka example are missing: make test-robots",
    ),
]
REPEATS = range(int(os.environ.get("ROBOT_TEST_REPEATS", "1")))
# On a machine that is busy with other things the simulated arm falls behind real time, as no real arm does.
PATIENT = ("--stale", 3, "--max-lag", 1.0)
QUICK = ("--max-steps", 60, "--max-holds", 20, "--request-timeout", 2)


@pytest.fixture
def bench(tmp_path, request):
    made = []

    def make(*args, **options):
        made.append(Bench(tmp_path, *args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def figure(name, **values):
    if place := os.environ.get("ROBOT_TEST_FIGURES"):
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"fault": name, **values}) + "\n")


def finish(one, client, *, reflexes=0):
    """The client's exit status, after checking that the arm stands still and that no limit was broken."""
    status = client.end()
    assert "Traceback" not in client.text, client.text[-3000:]
    if one.simulator.process.poll() is None:
        assert one.settled(), one.joints()[-5:]
        assert len(one.reflexes()) == reflexes, one.reflexes()
    return status


@pytest.mark.parametrize(
    ("robot", "backend"),
    [("droid", "franky"), ("franka_delta_pose", "franky"), ("droid", "franka-rs"), ("droid_joint_position", "franky")],
)
def test_ten_episodes_without_a_reflex(bench, robot, backend):
    one = bench(robot)
    client = one.start_client("--backend", backend, "--episodes", 10, "--execution", "prefetch", *PATIENT, *QUICK)
    client.end(500)
    rows = one.report()
    episodes, cadence = rows[:-1], rows[-1]["stream"]
    assert [row["stopped"] for row in episodes] == ["max_steps"] * 10, client.text[-3000:]
    assert finish(one, client) == 0
    swing = np.ptp(one.joints(), axis=0)
    assert swing.max() > 0.2  # it did move
    assert cadence["period_ms_mean"] == pytest.approx(10, rel=0.1)
    periods = [row["period_ms_p99"] for row in episodes]
    figure(
        f"none/{robot}/{backend}",
        **cadence,
        step_period_ms_p99=max(periods),
        idle=sum(r["idle_steps"] for r in episodes),
    )


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_killed_arm_is_told_and_nothing_more_is_sent(bench, repeat):
    one = bench()
    client = one.start_client("--max-steps", 600, "--execution", "prefetch")
    one.wait_for_steps(20 + repeat)
    killed_s = one.simulator.send(signal.SIGKILL)
    client.wait_for("stopped: ", 15)
    told_s = time.monotonic() - killed_s
    assert finish(one, client) == 1
    assert "The arm has faulted" in client.text
    assert one.seconds_to_hold(killed_s) < 1.0
    figure("arm killed", to_hold_s=one.seconds_to_hold(killed_s), told_s=told_s)


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_killed_server_is_a_hold_and_the_episode_goes_on_when_it_is_back(bench, repeat):
    one = bench()
    client = one.start_client("--max-steps", 5000, "--max-holds", 60, "--request-timeout", 20, *PATIENT)
    one.wait_for_steps(30 + repeat)
    killed_s = one.server.send(signal.SIGKILL)
    one.server.end()
    time.sleep(2.5)
    to_hold_s = one.seconds_to_hold(killed_s)
    assert one.trace()[-1]["held"]
    one.start_server()
    back_s, steps = time.monotonic(), len(one.trace())
    one.wait_for_steps(steps + 60)
    assert not all(row["held"] for row in one.trace()[steps:])
    client.send(signal.SIGINT)
    assert finish(one, client) == 1
    again_s = min(row["time_s"] for row in one.trace()[steps:] if not row["held"]) - back_s
    assert to_hold_s < 1.0
    figure("server killed", to_hold_s=to_hold_s, moves_again_s=again_s)


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("execution", ["synchronous", "prefetch"])
def test_600_ms_of_delay(bench, execution, repeat):
    one = bench(server=("--delay-ms", 600))
    client = one.start_client("--execution", execution, *PATIENT, *QUICK)
    assert finish(one, client) == 0
    row = one.report()[0]
    assert row["stopped"] == "max_steps"
    figure(f"600 ms/{execution}", idle_share=row["idle_steps"] / row["steps"], gap_p99_ms=row["period_ms_p99"])


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_camera_that_stops_is_a_hold_that_is_told(bench, repeat):
    one = bench()
    client = one.start_client("--max-steps", 600, "--max-holds", 20, *PATIENT)
    one.wait_for_steps(20 + repeat)
    for picture in one.pictures.iterdir():
        picture.unlink()
    stale_s = time.monotonic()
    assert finish(one, client) == 0
    row = one.report()[0]
    assert row["stopped"] == "held"
    assert "the newest picture is" in client.text  # a second later the same pictures count as frozen, too
    to_hold_s = one.seconds_to_hold(stale_s)
    assert to_hold_s < 1.5  # 0.3 s until the picture is stale, then what is left of the chunk
    figure("stale frames", to_hold_s=to_hold_s)


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize(("fault", "word"), [("--nan-after", "NaN or infinity"), ("--wide-after", "shape|floats")])
def test_chunks_that_cannot_be_executed(bench, fault, word, repeat):
    one = bench(server=(fault, 3 + repeat % 3))  # of about eight chunks
    client = one.start_client(*PATIENT, *QUICK)
    assert finish(one, client) == 0
    row = one.report()[0]
    assert row["stopped"] == "held"
    assert any(part in row["reason"] for part in word.split("|")), row["reason"]
    sent = np.array([step["sent"] for step in one.trace()])
    assert np.isfinite(sent).all()
    assert not sent[-15:, :7].any()
    figure(fault, holds=row["holds"])


@pytest.mark.parametrize("repeat", REPEATS)
def test_ctrl_c_at_any_moment(bench, repeat):
    one = bench()
    client = one.start_client("--max-steps", 600, *PATIENT)
    wait_s = random.Random(repeat).uniform(0.0, 12.0)
    time.sleep(1.0 + wait_s)
    pressed_s = client.send(signal.SIGINT)
    status = finish(one, client)
    assert status in (1, 130, -2)  # before its first line a program ends by the signal itself
    ended_s = time.monotonic() - pressed_s
    assert not (client.text and "stopped: Ctrl-C" not in client.text and wait_s > 3.0), client.text
    figure("ctrl-c", after_s=1.0 + wait_s, to_hold_s=one.seconds_to_hold(pressed_s), ended_s=ended_s)


def test_a_killed_client_leaves_an_arm_that_holds(bench):
    one = bench()
    client = one.start_client("--max-steps", 600, *PATIENT)
    one.wait_for_steps(30)
    client.kill()
    assert one.settled()
    assert one.reflexes() == []
    assert "Motion finished" in one.simulator.text.split("Sent Move")[-1] or "motion finished" in one.simulator.text


def test_nothing_moves_by_a_policy_of_another_robot(bench):
    one = bench(served="franka_delta_pose")
    before = one.joints()
    client = one.start_client()
    assert finish(one, client) == 1
    assert "This policy does not drive robot 'droid'; nothing was moved" in client.text
    assert np.ptp(one.joints(), axis=0).max() < 0.02, before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--start", *np.rad2deg([0.0, -0.628, 0.0, -2.513, 0.0, 1.885, 0.0])), "Are these degrees"),
        # The tip would be at x = 0.76 m, with the hand, and its way there leads out of this box.
        (
            ("--start", 0, 1.0, 0, -1.0, 0, 1.885, 0, "--box", 0.2, -0.5, 0.02, 0.6, 0.5, 0.9),
            "outside of the workspace",
        ),
        (("--speed", "3"), "must be in 0 .. 1"),
        (("--exterior", "pictures:/nowhere"), "/nowhere does not exist"),
        (("--exterior", "camcorder:1"), "camcorder"),
        (("--arm", "127.0.0.9"), "No Franka at 127.0.0.9"),
    ],
)
def test_bad_input_is_refused_before_any_motion(bench, options, words):
    one = bench()
    client = one.start_client(*options)
    assert finish(one, client) == 1
    assert words in client.text
    assert np.ptp(one.joints(), axis=0).max() < 0.02


def test_a_dry_run_moves_nothing(bench):
    one = bench()
    client = one.start_client("--dry-run", *PATIENT, *QUICK)
    assert finish(one, client) == 0
    assert one.report()[0]["steps"] == 60
    assert np.ptp(one.joints(), axis=0).max() < 0.02


def test_the_script_checks_rehearses_and_runs(bench, tmp_path):
    one = bench()
    record = ("--record", tmp_path / "rollouts")
    client = one.start_client("--gripper", "none", *record, *PATIENT, *QUICK, "--max-steps", 90, script=True)
    client.wait_for("--- Run ---")
    checked, rehearsed = client.text.split("--- Rehearsal: 60 steps without moving ---")
    assert "Ready; nothing was moved." in checked
    assert '"stopped": "max_steps"' in rehearsed
    assert np.ptp(one.joints(), axis=0).max() < 0.02
    assert not (tmp_path / "rollouts").exists()
    assert finish(one, client) == 0
    assert np.ptp(one.joints(), axis=0).max() > 0.1
    assert one.report()[0]["steps"] == 90
    assert len(list((tmp_path / "rollouts").iterdir())) == 1


def test_the_script_ends_where_the_check_fails(bench):
    one = bench(served="franka_delta_pose")
    client = one.start_client("--gripper", "none", *PATIENT, script=True)
    assert finish(one, client) == 1
    assert "FAIL: policy, identity" in client.text
    assert "Rehearsal" not in client.text


@pytest.mark.parametrize("backend", ["franky", "franka-rs"])
def test_the_check_moves_nothing_and_finds_this_workstation_ready(bench, backend):
    one = bench()
    client = one.start_client("--backend", backend, "--gripper", "none", *PATIENT, check=("--seconds", 2))
    assert finish(one, client) == 0, client.text
    assert "Ready; nothing was moved." in client.text
    assert "scripted: drives 'droid'" in client.text
    assert np.ptp(one.joints(), axis=0).max() < 0.02


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--arm", "127.0.0.9"), "connected: No Franka at 127.0.0.9"),
        (("--speed", "3"), "limits: The fraction of the robot's speed limits must be in 0 .. 1"),
        (("--exterior", "pictures:/nowhere"), "present: /nowhere does not exist"),
    ],
)
def test_the_check_tells_what_fails(bench, options, words):
    one = bench()
    client = one.start_client("--gripper", "none", *PATIENT, *options, check=("--seconds", 1))
    assert finish(one, client) == 1
    assert words in client.text


def test_the_check_refuses_a_policy_of_another_robot(bench):
    one = bench(served="franka_delta_pose")
    client = one.start_client("--gripper", "none", *PATIENT, check=("--seconds", 1))
    assert finish(one, client) == 1
    assert "FAIL: policy, identity: This policy does not drive robot 'droid'" in client.text
