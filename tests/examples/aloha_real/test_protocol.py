"""The ALOHA example on Interbotix' topics and services (ROS 1), at 50 Hz, and what goes wrong there.

`make test-robots` builds the environment. ROBOT_TEST_REPEATS=10 repeats every fault; ROBOT_TEST_FIGURES is a file for
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

from inspire_fast.robots.control.rollout import read_rollout
from tests.examples.aloha_real.bench import READY, Bench, figures_of

pytestmark = [
    pytest.mark.robot,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not READY, reason="ALOHA's environment is missing (Debian's python3-rospy, unpacked): make test-robots"
    ),
]
REPEATS = range(int(os.environ.get("ROBOT_TEST_REPEATS", "1")))
PATIENT = ("--stale", 1.0, "--camera-stale", 0.6)  # on a machine that is busy with other things
QUICK = ("--max-steps", 200, "--max-holds", 40, "--request-timeout", 2)


@pytest.fixture
def bench(tmp_path):
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
            file.write(json.dumps({"fault": f"aloha/{name}", **values}) + "\n")


def finish(one, client):
    """The client's exit status, after checking that the arms stand still and kept every limit of speed."""
    status = client.end()
    assert "Traceback" not in client.text, client.text[-3000:]
    if one.node.process.poll() is None:
        assert one.settled(), one.joints()[-5:]
    # Over half a second: a busy machine delivers late, and of two commands that wait only the newer one.
    times_s, commands = one.commands()
    if len(commands) > 25:
        way, elapsed_s = np.abs(commands[25:] - commands[:-25]).max(axis=1), times_s[25:] - times_s[:-25]
        assert (way <= 0.3 * 3.15 * (elapsed_s + 0.1)).all()  # `--speed 0.3` of 3.14 rad/s
    return status


@pytest.mark.parametrize("cameras", ["folders", "topics", "topics, recorded"])
def test_episodes_at_50_hz_with_four_cameras(bench, cameras, tmp_path):
    one = bench() if cameras == "folders" else bench(topics=("--camera-hz", 30))
    record = ("--record", tmp_path / "rollouts") if "recorded" in cameras else ()
    client = one.start_client("--episodes", 3, "--execution", "prefetch", *record, *PATIENT, *QUICK)
    client.end(300)
    assert finish(one, client) == 0
    rows = one.report()
    assert [row["stopped"] for row in rows[:-1]] == ["max_steps"] * 3, client.text[-3000:]
    assert np.ptp(one.joints(), axis=0).max() > 0.2  # they did move
    assert np.ptp(one.commands(what="gripper")[1]) > 1.0
    arrived = figures_of(one.commands("puppet_right")[0])
    # Two cores that do other things besides; the figures say more.
    assert arrived["period_ms_mean"] == pytest.approx(20, rel=0.3)
    assert rows[-1]["stream"]["period_ms_mean"] == pytest.approx(20, rel=0.3)
    heights = {camera["height"] for camera in rows[0]["cameras"].values()}
    assert heights == {90.0 if cameras == "folders" else 480.0}
    if record:
        files = sorted((tmp_path / "rollouts").iterdir())
        assert [sum("sent" in row for row in read_rollout(file)) for file in files] == [200] * 3
    figure(
        f"none/{cameras}",
        arrived=arrived,
        stream=rows[-1]["stream"],
        steps=[{key: row[key] for key in ("period_ms_p99", "period_ms_max", "late_steps")} for row in rows[:-1]],
        camera_hz=[round(camera["rate_hz"], 1) for camera in rows[0]["cameras"].values()],
        idle=sum(row["idle_steps"] for row in rows[:-1]),
    )


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_killed_node_is_told_and_nothing_more_is_sent(bench, repeat):
    one = bench()
    client = one.start_client("--max-steps", 3000, "--execution", "prefetch")
    one.wait_for_steps(60 + repeat)
    killed_s = one.node.send(signal.SIGKILL)
    client.wait_for("stopped: ", 15)
    told_s = time.monotonic() - killed_s
    assert finish(one, client) == 1
    assert "The arm has faulted" in client.text
    assert one.seconds_to_hold(killed_s) < 1.0
    figure("node killed", to_hold_s=one.seconds_to_hold(killed_s), told_s=told_s)


def test_an_arm_without_a_word_stops_both(bench):
    one = bench()
    client = one.start_client("--max-steps", 3000)
    one.wait_for_steps(60)
    (one.folder / "deaf_left").touch()
    silent_s = time.monotonic()
    assert finish(one, client) == 1
    assert "newest measurement is" in client.text
    assert one.seconds_to_hold(silent_s) < 1.0
    assert one.commands("puppet_right")[0][-1] - silent_s < 1.0


def test_motors_that_do_not_follow_are_a_fault(bench):
    one = bench()
    client = one.start_client("--max-steps", 3000, "--max-lag", 0.15, *PATIENT)
    one.wait_for_steps(60)
    (one.folder / "stuck").touch()
    assert finish(one, client) == 1
    assert "behind its command" in client.text


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_killed_server_is_a_hold_and_the_episode_goes_on_when_it_is_back(bench, repeat):
    one = bench()
    client = one.start_client("--max-steps", 20000, "--max-holds", 300, "--request-timeout", 20, *PATIENT)
    one.wait_for_steps(100 + repeat)
    killed_s = one.server.send(signal.SIGKILL)
    one.server.end()
    time.sleep(2.5)
    to_hold_s = one.seconds_to_hold(killed_s)
    assert one.trace()[-1]["held"]
    one.start_server("--horizon", 50)
    back_s, steps = time.monotonic(), len(one.trace())
    one.wait_for_steps(steps + 200)
    assert not all(row["held"] for row in one.trace()[steps:])
    client.send(signal.SIGINT)
    assert finish(one, client) == 1
    again_s = min(row["time_s"] for row in one.trace()[steps:] if not row["held"]) - back_s
    assert to_hold_s < 1.0
    figure("server killed", to_hold_s=to_hold_s, moves_again_s=again_s)


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("execution", ["synchronous", "prefetch"])
def test_600_ms_of_delay(bench, execution, repeat):
    one = bench(server=("--delay-ms", 600, "--horizon", 100))
    client = one.start_client("--execution", execution, "--execute", 50, *PATIENT, *QUICK)
    assert finish(one, client) == 0
    row = one.report()[0]
    assert row["stopped"] == "max_steps"
    figure(f"600 ms/{execution}", idle_share=row["idle_steps"] / row["steps"], gap_p99_ms=row["period_ms_p99"])


@pytest.mark.parametrize("repeat", REPEATS)
def test_cameras_that_stop_are_a_hold_that_is_told(bench, repeat):
    one = bench(topics=("--camera-hz", 15, "--camera-size", 120, 160))
    client = one.start_client("--max-steps", 3000, "--max-holds", 40, *PATIENT, "--camera-stale", 0.3)
    one.wait_for_steps(60 + repeat)
    (one.folder / "blind").touch()
    stale_s = time.monotonic()
    assert finish(one, client) == 0
    row = one.report()[0]
    assert row["stopped"] == "held"
    assert "the newest picture is" in client.text  # after half a second the same pictures count as frozen, too
    to_hold_s = one.seconds_to_hold(stale_s)
    assert to_hold_s < 1.5  # 0.3 s until the picture is stale, then what is left of the chunk
    figure("stale frames", to_hold_s=to_hold_s)


def test_a_camera_that_repeats_its_picture_is_a_hold(bench):
    one = bench(topics=("--camera-hz", 15, "--camera-size", 120, 160))
    client = one.start_client("--max-steps", 3000, "--max-holds", 40, *PATIENT)
    one.wait_for_steps(60)
    (one.folder / "frozen").touch()
    assert finish(one, client) == 0
    assert "the camera is frozen" in one.report()[0]["reason"]


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
    assert np.ptp(sent[-30:], axis=0).max() < 1e-6
    figure(fault, holds=row["holds"])


@pytest.mark.parametrize("repeat", REPEATS)
def test_ctrl_c_at_any_moment(bench, repeat):
    one = bench()
    client = one.start_client("--max-steps", 3000, *PATIENT)
    wait_s = random.Random(repeat).uniform(0.0, 12.0)
    time.sleep(1.0 + wait_s)
    pressed_s = client.send(signal.SIGINT)
    status = finish(one, client)
    assert status in (1, 130, -2)  # before its first line a program ends by the signal itself
    assert not (client.text and "stopped: Ctrl-C" not in client.text and wait_s > 3.0), client.text
    figure("ctrl-c", after_s=1.0 + wait_s, to_hold_s=one.seconds_to_hold(pressed_s))


def test_a_killed_client_leaves_arms_that_hold(bench):
    one = bench()
    client = one.start_client("--max-steps", 3000, *PATIENT)
    one.wait_for_steps(60)
    client.kill()
    assert one.settled()


def test_nothing_moves_by_a_policy_of_another_robot(bench):
    one = bench(served="droid_joint_position")
    client = one.start_client()
    assert finish(one, client) == 1
    assert "This policy does not drive robot 'aloha'; nothing was moved" in client.text
    assert np.ptp(one.joints(), axis=0).max() < 0.02


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--start", *np.rad2deg([0.0, -0.96, 1.16, 0.0, -0.3, 0.0])), "Are these degrees"),
        (("--speed", "3"), "must be in 0 .. 1"),
        (("--max-lag", "0.6"), "never be noticed"),
        (("--cam-high", "pictures:/nowhere"), "/nowhere does not exist"),
        (("--cam-high", "ros:/usb_cam_nowhere/image_raw"), "nothing came on /usb_cam_nowhere/image_raw"),
        (("--box", -0.3, -0.5, 0.0, 0.9, 0.5, 0.3), "outside of the workspace"),
    ],
)
def test_bad_input_is_refused_before_any_motion(bench, options, words):
    one = bench()
    client = one.start_client(*PATIENT, *options)
    assert finish(one, client) == 1
    assert words in client.text
    assert np.ptp(one.joints(), axis=0).max() < 0.02


def test_a_camera_of_another_size_is_refused_before_any_motion(bench):
    one = bench(topics=("--camera-hz", 15, "--camera-size", 240, 320))
    client = one.start_client(*PATIENT, "--cam-high", "ros:/usb_cam_high/image_raw")  # 480 x 640 are expected then
    assert finish(one, client) == 1
    assert "images/cam_high: 240 x 320 px, expected 480 x 640" in client.text
    assert "images/cam_low" not in client.text
    assert np.ptp(one.joints(), axis=0).max() < 0.02


def test_no_master_and_another_mode_are_told(bench):
    one = bench()
    one.node.kill()
    (one.folder / "limp_mode").touch()
    one.node = one.start_node()
    client = one.start_client(*PATIENT)
    assert finish(one, client) == 1
    assert "operating mode 'pwm', not 'position'" in client.text
    client = one.start_client("--set-modes", "--max-steps", 5, *PATIENT)
    assert finish(one, client) == 0
    one.master.kill()
    client = one.start_client(*PATIENT)
    assert finish(one, client) == 1
    assert "No ROS master answers at http://127.0.0.1" in client.text


def test_a_dry_run_moves_nothing(bench):
    one = bench()
    client = one.start_client("--dry-run", *PATIENT, *QUICK)
    assert finish(one, client) == 0
    assert one.report()[0]["steps"] == 200
    assert np.ptp(one.joints(), axis=0).max() < 0.02


def test_the_check_moves_nothing_and_finds_this_workstation_ready(bench):
    one = bench(topics=("--camera-hz", 20))
    client = one.start_client(*PATIENT, "--camera-stale", 5, check=("--seconds", 3))
    assert finish(one, client) == 0, client.text
    assert "Ready; nothing was moved." in client.text
    assert "480 x 640 px, expected 480 x 640" in client.text
    assert not (one.folder / "commands").read_text(encoding="utf-8")


def test_the_check_names_a_camera_of_another_size_and_an_arm_that_says_nothing(bench):
    one = bench(topics=("--camera-hz", 15, "--camera-size", 240, 320))
    client = one.start_client(check=("--seconds", 2))
    assert finish(one, client) == 1
    assert "FAIL: images/cam_low, size: 240 x 320 px, expected 480 x 640" in client.text
    (one.folder / "deaf_right").touch()
    client = one.start_client(check=("--seconds", 1))
    assert finish(one, client) == 1
    assert "no state of puppet_right came" in client.text
