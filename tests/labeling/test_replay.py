from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.libero.scene_cache import SceneCache
from inspire_fast.labeling.demonstrations import replay as replay_module
from inspire_fast.labeling.demonstrations.replay import Recording, Replay, fixture_poses, replay
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.robots import ROBOTS
from tests.labeling.datasets import write

pytestmark = pytest.mark.sim
LIBERO = ROBOTS["libero"]
STEPS = 12


@pytest.fixture(scope="module")
def recorded(soup: LiberoEnvironment):
    """Simulator states, actions, proprioception and facts of a short episode."""
    soup.reset(4)
    rng = np.random.default_rng(0)
    states, actions, proprioception, facts = [], [], [], []
    for _ in range(STEPS):
        states.append(soup.simulator_state())
        proprioception.append(soup.state())
        facts.append(soup.facts())
        actions.append(soup.step(np.array([*rng.uniform(-1, 1, 3), 0, 0, 0, -1], np.float32)))
    return np.array(states), np.array(actions), np.array(proprioception), facts


@pytest.mark.parametrize("by_actions", [False, True])
def test_a_replay_sees_what_was_true(soup: LiberoEnvironment, recorded: tuple, by_actions: bool):
    states, actions, proprioception, facts = recorded
    recording = Recording(
        suite="libero_object",
        task=0,
        states=states[:1] if by_actions else states,
        actions=actions if by_actions else None,
    )
    soup.reset(9)
    result = replay(soup, recording)
    assert len(result.facts) == STEPS
    np.testing.assert_allclose(result.gripper_m, proprioception[:, :3], atol=2e-3)
    for was, seen in zip(facts, result.facts, strict=True):
        assert [t.phrase for t in seen.targets] == [t.phrase for t in was.targets]
        for a, b in zip(was.targets, seen.targets, strict=True):
            np.testing.assert_allclose(a.offset_m, b.offset_m, atol=2e-3)
            assert a.grasped == b.grasped
    assert not result.success


def test_states_of_another_scene_or_nan_name_the_frame(soup: LiberoEnvironment, recorded: tuple):
    states = recorded[0].copy()
    states[5, 3] = np.nan
    with pytest.raises(ValueError, match=r"frame 5: .*finite: False"):
        replay(soup, Recording(suite="libero_object", task=0, states=states))
    with pytest.raises(ValueError, match=r"frame 0: .*Was it recorded in this scene"):
        replay(soup, Recording(suite="libero_object", task=0, states=states[:, :-1]))
    with pytest.raises(ValueError, match="no fixture 'stove_1_main'"):
        soup.restore(recorded[0][0], {"stove_1_main": (np.zeros(3), np.array([1.0, 0, 0, 0]))})


def test_a_dataset_is_labelled_by_replaying_it(
    soup: LiberoEnvironment, recorded: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    states, _, proprioception, facts = recorded
    scenes, closed = SceneCache(given=soup), list[bool]()
    monkeypatch.setattr(scenes, "close", lambda: closed.append(True))
    monkeypatch.setattr(replay_module, "SceneCache", lambda *_: scenes)
    dataset = write(tmp_path / "d", [(proprioception, soup.prompt)])
    folder = tmp_path / "recordings"
    folder.mkdir()
    file = folder / "episode_000000.npz"
    np.savez(file, suite="libero_object", task=0, states=states)
    label_dataset(dataset, Replay(recordings=folder), robot=LIBERO, progress=False)
    assert closed == [True]  # a simulator takes up to 2 GB
    table = FactsTable.load(dataset.root)
    for frame in (0, STEPS - 1):
        for a, b in zip(facts[frame].targets, table.facts(0, frame).targets, strict=True):
            np.testing.assert_allclose(a.offset_m, b.offset_m, atol=1e-3)
            assert set(b.rotations) == {"gripper", "camera"}
            assert b.box_px is None
    assert table.facts(0, STEPS - 1).trace_px is None
    path = np.array([scene.gripper_px for scene in facts])  # one way, without a grasp
    np.testing.assert_allclose(table.facts(0, 0).trace_px[-1], path[-1], atol=2e-3)
    np.testing.assert_allclose(table.facts(0, STEPS - 2).trace_px[-1], path[-1], atol=2e-3)
    boxes = Replay(recordings=folder, boxes=True, traces=False)
    label_dataset(dataset, boxes, robot=ROBOTS["libero_front"], progress=False)
    soup.restore(states[5])
    flipped, stored = soup.facts(boxes=True), FactsTable.load(dataset.root).facts(0, 5)
    for a, b in zip(flipped.targets, stored.targets, strict=True):
        y0, x0, y1, x1 = np.array(a.box_px)
        np.testing.assert_allclose(b.box_px, (y0, 1 - x1, y1, 1 - x0), atol=1e-6)  # left and right change places
    assert stored.trace_px is None
    np.savez(file, suite="libero_object", task=0, states=states[::-1])
    with pytest.raises(DatasetError, match=r"episode_000000\.npz, frame 0: the replayed gripper"):
        label_dataset(dataset, Replay(recordings=folder), robot=LIBERO, progress=False)
    np.savez(file, suite="libero_object", task=0, states=states[:-1])
    with pytest.raises(DatasetError, match="has 11 steps"):
        label_dataset(dataset, Replay(recordings=folder), robot=LIBERO, progress=False)
    np.savez(file, states=states)
    with pytest.raises(DatasetError, match="no recording"):
        label_dataset(dataset, Replay(recordings=folder), robot=LIBERO, progress=False)


def test_fixtures_are_read_from_the_recorded_scene():
    scene = (
        "<mujoco><worldbody><body name='stove_1_main' pos='1 2 3'/><body name='robot0_base' pos='0 0 0'/>"
        "<body name='bowl_1_main' pos='0 0 1'><freejoint/></body>"
        "<body name='cabinet_1_main' pos='0 1 0' quat='0 0 0 1'/></worldbody></mujoco>"
    )
    poses = fixture_poses(scene)
    assert set(poses) == {"stove_1_main", "cabinet_1_main"}
    np.testing.assert_array_equal(poses["stove_1_main"][0], [1, 2, 3])
    np.testing.assert_array_equal(poses["cabinet_1_main"][1], [0, 0, 0, 1])
    for wrong in ("<mujoco>", "<mujoco/>"):
        with pytest.raises(ValueError, match="model_xml"):
            fixture_poses(wrong)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"nonsense"])
def test_a_damaged_recording_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "episode_000000.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"episode_000000\.npz is no recording"):
        Recording.load(path)
