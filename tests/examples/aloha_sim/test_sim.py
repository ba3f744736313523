"""gym-aloha in its own environment, driven by our server: an untrained policy, and a scripted one that must move it."""

import json
import os
import subprocess
import sys

import numpy as np
from PIL import Image, ImageSequence
import pytest

from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots.spec import IMAGE_KEYS
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.server import PolicyServer
from tests.examples.processes import ENVIRONMENTS, ROOT, Process, free_port

CLIENT = ENVIRONMENTS / "aloha-sim" / "bin" / "python"
pytestmark = [
    pytest.mark.robot,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CLIENT.exists(), reason="gym-aloha's environment is missing: make test-robots"),
]


def run(*options):
    program = ROOT / "examples/aloha_sim/main.py"
    return subprocess.run(
        [CLIENT, program, *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def frames_of(gif):
    """Pictures `[h, w]`, grey."""
    with Image.open(gif) as animation:
        return [np.array(frame.convert("L"), np.int16) for frame in ImageSequence.Iterator(animation)]


def test_an_untrained_policy_acts_through_the_server(tmp_path):
    with serve_in_background(PolicyServer(tiny_policy(robot="aloha", cameras=IMAGE_KEYS))) as server:
        gif = tmp_path / "episode.gif"
        done = run("--policy", f"127.0.0.1:{server.port}", "--max-steps", 12, "--execute", 5, "--gif", gif)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout.splitlines()[0])
    assert (row["steps"], row["stopped"], row["success"]) == (12, "max_steps", False)
    assert done.stdout.splitlines()[-1] == "0 of 1 episodes solved"
    assert frames_of(gif)[0].shape == (240, 320)


def test_a_scripted_swing_moves_the_simulated_arms(tmp_path):
    port = free_port()
    server = Process(
        tmp_path / "server.log",
        sys.executable,
        ROOT / "tests/examples/scripted_server.py",
        port,
        "aloha",
        "--horizon",
        50,
    )
    try:
        server.wait_for("ready")
        gif = tmp_path / "swing.gif"
        done = run("--policy", f"127.0.0.1:{port}", "--task", "insertion", "--max-steps", 20, "--gif", gif)
    finally:
        server.kill()
    assert done.returncode == 0, done.stderr
    frames = frames_of(gif)
    assert np.mean(np.abs(frames[-1] - frames[0]) > 30) > 0.005  # of the pixels


def test_another_robots_policy_and_no_server_end_with_one_line():
    with serve_in_background(PolicyServer(tiny_policy())) as server:
        done = run("--policy", f"127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert "error: This policy does not drive robot 'aloha'" in done.stderr
