"""A recorded episode instead of a model: what was recorded comes back, and nothing else."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from inspire_fast.core.policy import Policy, RequestOptions
from inspire_fast.core.types import Status
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.data.testing import TASK, write_fake_dataset
from inspire_fast.policy.replay import ReplayPolicy
from inspire_fast.robots import ROBOTS

LIBERO = ROBOTS["libero"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return LeRobotDataset(write_fake_dataset(tmp_path_factory.mktemp("replay") / "fake", episodes=3, frames=24))


def recorded(dataset, episode):
    bounds = dataset.episode(episode)
    actions = dataset.columns(["actions"])["actions"][bounds.start : bounds.stop]
    return actions.clip(-1.0, 1.0)  # grippers are recorded a little beyond


def observation(seed=0):
    return LIBERO.fake_native(seed, image_hw=(16, 16))


def in_session(name):
    return RequestOptions(session=name)


def write_actions(root, actions, *, column="action", fps=20):
    dim = actions.shape[1]
    features = {column: {"dtype": "float32", "shape": (dim,)}}
    with DatasetWriter(root, fps=fps, robot_type=None, features=features) as writer:
        writer.add_episode({column: actions}, task="go")
    return root


def test_the_recorded_actions_come_back_chunk_by_chunk_and_then_the_robot_holds(dataset):
    policy = ReplayPolicy(dataset.root, robot=LIBERO, episode=1, horizon=10)
    assert isinstance(policy, Policy)
    chunks = [policy.infer(observation(i), RequestOptions()) for i in range(3)]
    assert [len(chunk.actions) for chunk in chunks] == [10, 10, 4]
    np.testing.assert_array_equal(np.concatenate([chunk.actions for chunk in chunks]), recorded(dataset, 1))
    for _ in range(2):
        over = policy.infer(observation(), RequestOptions())
        assert (over.status, over.actions) == (Status.HELD, None)
        assert "episode 1 is over after 24 actions" in over.reason


def test_a_chunk_begins_where_the_client_stopped_executing_the_last(dataset):
    policy = ReplayPolicy(dataset.root, robot=LIBERO, horizon=10, execute=5)
    sent = []
    while (chunk := policy.infer(observation())).status is Status.OK:
        sent.append(np.asarray(chunk.actions)[:5])
    np.testing.assert_array_equal(np.concatenate(sent), recorded(dataset, 0))


def test_every_session_has_its_own_place(dataset):
    policy = ReplayPolicy(dataset.root, robot=LIBERO, horizon=10)
    actions = recorded(dataset, 0)
    starts = {"a": 0, "b": 0}
    for name in "aabab":
        chunk = policy.infer(observation(), in_session(name))
        np.testing.assert_array_equal(chunk.actions, actions[starts[name] : starts[name] + 10])
        starts[name] += 10
    assert policy.infer(observation(), in_session("a")).status is Status.HELD
    np.testing.assert_array_equal(policy.infer(observation(), in_session("b")).actions, actions[20:])


def test_the_longest_unused_place_is_forgotten(dataset):
    policy = ReplayPolicy(dataset.root, robot=LIBERO, horizon=10, sessions=2)
    for name in ("a", "b", "a", "c"):
        policy.infer(observation(), in_session(name))
    assert list(policy._calls) == ["a", "c"]


def test_a_loop_begins_anew(dataset):
    policy = ReplayPolicy(dataset.root, robot=LIBERO, horizon=24, loop=True)
    first, second = policy.infer(observation()), policy.infer(observation())
    np.testing.assert_array_equal(first.actions, second.actions)
    np.asarray(first.actions)[:] = 9.0  # the caller's own
    np.testing.assert_array_equal(policy.infer(observation()).actions, second.actions)


def test_a_bad_observation_is_refused_and_the_session_stays_where_it_is(dataset):
    policy = ReplayPolicy(dataset.root, robot=LIBERO, horizon=10)
    with pytest.raises(ValueError, match=r"must have shape \(8,\)"):
        policy.infer({**observation(), "observation/state": np.zeros(7, np.float32)})
    with pytest.raises(ValueError, match="no model is there"):
        policy.infer(observation(), RequestOptions(mode="force", answers=("left",)))
    np.testing.assert_array_equal(policy.infer(observation()).actions, recorded(dataset, 0)[:10])


def test_the_metadata_say_what_a_client_relies_on(dataset):
    metadata = ReplayPolicy(dataset.root, robot=LIBERO, episode=2, horizon=8, execute=6).metadata
    assert (metadata["robot"], metadata["action_horizon"], metadata["prompt"]) == ("libero", 8, TASK)
    assert (metadata["execute"], metadata["control_hz"], metadata["image_orientation"]) == (6, 20, "rotated_180")
    assert metadata["replay"] == f"{dataset.root}, episode 2"


@pytest.mark.parametrize("name", list(ROBOTS))
def test_actions_are_native_and_within_the_robots_limits(name, tmp_path, caplog):
    robot = ROBOTS[name]
    actions = np.linspace(robot.action_low, np.array(robot.action_high) + 1.0, 6).astype(np.float32)
    policy = ReplayPolicy(write_actions(tmp_path / "d", actions), robot=robot)
    replayed = policy.infer(robot.fake_native(image_hw=(16, 16))).actions
    assert replayed is not None
    straight = robot.action_periods == 0  # an angle a unit beyond its limit is within it on the other side
    np.testing.assert_array_equal(
        replayed[:, straight],
        np.clip(actions, robot.action_low, robot.action_high).astype(np.float32)[:, straight],
    )
    assert (replayed >= np.array(robot.action_low, np.float32)).all()
    assert (replayed <= np.array(robot.action_high, np.float32)).all()
    turned = (robot.action_periods > 0) & (actions > robot.action_high)
    count = ((actions > np.array(robot.action_high, np.float32)) & ~turned).any(axis=1).sum()
    assert f"{count} of 6 actions are beyond the limits of robot {name!r}" in caplog.text


def test_a_number_that_is_none_is_named_by_its_row(dataset, monkeypatch):
    actions = dataset.columns(["actions"])["actions"].copy()
    actions[27, 2] = np.nan  # the fourth row of the second episode
    monkeypatch.setattr(LeRobotDataset, "columns", lambda self, names: {"actions": actions})
    with pytest.raises(DatasetError, match="column 'actions' holds NaN or infinity at row 27"):
        ReplayPolicy(dataset.root, robot=LIBERO, episode=1)


def test_only_the_last_thousand_sessions_have_a_place(dataset):
    policy = ReplayPolicy(dataset.root, robot=LIBERO, horizon=10)
    for n in range(1025):
        policy._remember(str(n), 1)
    assert (len(policy._calls), next(iter(policy._calls))) == (1024, "1")


def test_another_speed_is_said(tmp_path, caplog):
    ReplayPolicy(write_actions(tmp_path / "d", np.zeros((3, 7), np.float32), fps=10), robot=LIBERO)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "2 times as fast as recorded" in caplog.text


def test_what_cannot_be_replayed_is_refused(dataset, tmp_path):
    with pytest.raises(DatasetError, match=r"'actions' has shape \(7,\); robot 'aloha' takes \(14,\)"):
        ReplayPolicy(dataset.root, robot=ROBOTS["aloha"])
    with pytest.raises(DatasetError, match="Did you mean 'actions'"):
        ReplayPolicy(dataset.root, robot=LIBERO, action_column="acton")
    with pytest.raises(IndexError, match="it has 3 episodes"):
        ReplayPolicy(dataset.root, robot=LIBERO, episode=3)
    with pytest.raises(ValueError, match=r"1 \.\. horizon = 4"):
        ReplayPolicy(dataset.root, robot=LIBERO, horizon=4, execute=5)
    with pytest.raises(DatasetError, match="No LeRobot dataset"):
        ReplayPolicy(tmp_path / "nothing", robot=LIBERO)


def test_no_accelerator_is_started():
    program = "import sys, inspire_fast.policy.replay; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_marked_request_goes_on_where_its_episode_is_whatever_the_server_remembers(dataset):
    actions = recorded(dataset, 0)
    for chunks in (1, 1, 0, 2):  # asked again after a lost reply; a server that knows nothing of the episode
        policy = ReplayPolicy(dataset.root, robot=LIBERO, horizon=10, execute=5)
        chunk = policy.infer(observation(), RequestOptions(episode="e", chunks=chunks))
        np.testing.assert_array_equal(chunk.actions, actions[5 * chunks : 5 * chunks + 10])
    assert policy.infer(observation(), RequestOptions(episode="e", chunks=5)).status is Status.HELD
    np.testing.assert_array_equal(policy.infer(observation()).actions, actions[:10])  # no mark: the connection's place
