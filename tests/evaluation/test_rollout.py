"""One short episode in the real simulator, through the real server and client."""

from pathlib import Path

import av
import pytest

from inspire_fast.client import PolicyClient
from inspire_fast.envs import LiberoEnvironment, LiberoSettings
from inspire_fast.evaluation.run.rollout import Rollout, questions_of
from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.server import PolicyServer


@pytest.mark.sim
def test_a_policy_drives_libero_and_its_answers_are_judged(tmp_path: Path) -> None:
    policy = tiny_policy()
    environment = LiberoEnvironment("libero_object", 0, LiberoSettings(camera_hw=(64, 64), render_quality="reduced"))
    try:
        with serve_in_background(PolicyServer(policy)) as server, PolicyClient("127.0.0.1", server.port) as client:
            rollout = Rollout(
                robot=ROBOTS["libero"],
                questions=questions_of(client.metadata),
                execute=4,
                max_steps=8,
                videos=tmp_path,
            )
            record = rollout.run(environment, client.infer, ("libero_object", 0, 0))
    finally:
        environment.close()
    assert (record.steps, record.stopped, record.holds) == (8, "max_steps", 0)
    assert [call.step for call in record.calls] == [0, 4]
    first = record.calls[0]
    assert [a.target for a in first.answers] == ["the alphabet soup", "the basket"]
    # At the start the soup lies 23 cm to the left of the gripper, the basket 26 cm to its right.
    assert [a.truth for a in first.answers] == ["left", "right"]
    with av.open(str(tmp_path / str(record.video))) as film:
        assert sum(1 for _ in film.decode(video=0)) == 4
    assert not list(tmp_path.glob(".*"))
