"""The client that times a server: every stage in the table, observations from contracts, and what it refuses."""

import json

import numpy as np
import pytest

from examples.simple_client.main import main, observation_of
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.identity import robot_metadata
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.server import PolicyServer
from inspire_fast.serving.testing import PuppetPolicy


@pytest.mark.parametrize("robot", ["libero", "aloha"])
def test_every_stage_is_timed(capsys, tmp_path, robot):
    with serve_in_background(PolicyServer(PuppetPolicy(robot=robot))) as server:
        main(["--policy", f"127.0.0.1:{server.port}", "--requests", "5", "--json", str(tmp_path / "figures.json")])
    said, found = capsys.readouterr().out, json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert {"round_trip_ms", "server_infer_ms", "wait_ms", "prefill_ms"} <= {*found["stages"]}
    assert all(stage in said for stage in found["stages"])
    figures = found["stages"]["round_trip_ms"]
    assert 0 < figures["p50"] <= figures["p90"] <= figures["p99"] <= figures["max"]
    assert found["held"] == 0
    assert found["chunk"] == [10, ROBOTS[robot].action_dim]


def test_held_chunks_are_counted(capsys):
    with serve_in_background(PolicyServer(PuppetPolicy())) as server:
        main(["--policy", f"127.0.0.1:{server.port}", "--requests", "3", "--prompt", "hold"])
    assert "chunks held; held 3 of 3" in capsys.readouterr().out


def test_a_robot_that_nobody_knows_is_made_from_its_contract():
    metadata = {**robot_metadata(ROBOTS["droid"]), "robot": "droid_of_somebody"}
    made = observation_of(metadata, None, "go")
    ROBOTS["droid"].canonical({**made, "observation/joint_position": np.array([0, 0, 0, -1, 0, 1, 0], np.float32)})


@pytest.mark.parametrize(("metadata", "robot", "words"), [({}, None, "Give --robot"), ({}, "androd", "droid")])
def test_a_server_that_says_nothing_needs_a_robots_name(metadata, robot, words):
    with pytest.raises((ValueError, KeyError), match=words):
        observation_of(metadata, robot, "go")


def test_what_cannot_be_timed_ends_with_one_line():
    with pytest.raises(SystemExit, match=r"--requests must be at least 1"):
        main(["--requests", "0"])
    with (
        serve_in_background(PolicyServer(PuppetPolicy())) as server,
        pytest.raises(SystemExit, match=r"error: .*lacks"),
    ):
        main(["--policy", f"127.0.0.1:{server.port}", "--robot", "droid", "--requests", "1"])
