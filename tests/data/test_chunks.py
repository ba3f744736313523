"""Samples: which rows become one, what their chunk holds near an episode's end, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
import shutil

import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.chunks import ChunkConfig, ChunkSource
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable, write_facts
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.axes import Axes
from tests.data.synthetic import GOLDEN, episode_columns, label, scene, write_dataset

LIBERO = ROBOTS["libero"]
LENGTHS = (7, 5, 6)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_dataset(tmp_path_factory.mktemp("chunks") / "set", LENGTHS, rendered_every=3)
    label(folder, LENGTHS)
    return folder


def test_a_sample(root: Path) -> None:
    source = ChunkSource(
        LeRobotDataset(root), FactsTable.load(root), robot=LIBERO, horizon=4, config=ChunkConfig(max_image_age_s=1.0)
    )
    assert len(source) == sum(LENGTHS)
    sample = source[7 + 2]
    written = episode_columns(1, 5, rendered_every=3)
    assert source.location(9) == (1, 2)
    assert sample.observation.prompt == "put thing 1 on the plate"
    np.testing.assert_array_equal(sample.observation.images["base_0_rgb"], written["image"][2])
    np.testing.assert_array_equal(sample.observation.images["left_wrist_0_rgb"], written["wrist_image"][2])
    np.testing.assert_array_equal(sample.observation.state, written["state"][2])
    np.testing.assert_array_equal(sample.actions, written["actions"][[2, 3, 4, 4]])
    assert sample.facts is not None
    assert [t.phrase for t in sample.facts.targets] == ["the thing 0", "the thing 1"]
    np.testing.assert_array_equal(
        sample.facts.targets[0].offset_m, FactsTable.load(root).facts(1, 2).targets[0].offset_m
    )
    assert sample.robot == "libero"
    with pytest.raises(IndexError, match="Sample 18 of 18"):
        source[18]


def test_only_fresh_pictures(root: Path) -> None:
    """Rendered every third frame, 0.05 s apart: ages are 0, 0.05, 0.1, 0, ..."""
    dataset = LeRobotDataset(root)
    fresh = ChunkSource(dataset, None, robot=LIBERO, horizon=4)
    assert [fresh.location(i) for i in range(len(fresh))] == [(0, 0), (0, 3), (0, 6), (1, 0), (1, 3), (2, 0), (2, 3)]
    assert fresh[0].facts is None
    np.testing.assert_array_equal(fresh[0].actions, episode_columns(0, 7)["actions"][:4])
    older = ChunkSource(dataset, None, robot=LIBERO, horizon=4, config=ChunkConfig(max_image_age_s=0.05))
    assert len(older) == 5 + 4 + 4


def test_end_of_an_episode(root: Path) -> None:
    kept = ChunkSource(LeRobotDataset(root), None, robot=LIBERO, horizon=4, config=ChunkConfig(end_padding="drop"))
    assert [kept.location(i) for i in range(len(kept))] == [(0, 0), (0, 3), (1, 0), (2, 0)]
    with pytest.raises(DatasetError, match=r"none of its 18 rows.*end_padding='drop'.*horizon=8"):
        ChunkSource(LeRobotDataset(root), None, robot=LIBERO, horizon=8, config=ChunkConfig(end_padding="drop"))


def test_splits_are_disjoint_by_episode(root: Path) -> None:
    dataset = LeRobotDataset(root)
    episodes = {}
    for split in ("all", "train", "held_out"):
        source = ChunkSource(dataset, None, robot=LIBERO, horizon=4, config=ChunkConfig(split=split, held_out_every=3))
        episodes[split] = {source.location(i)[0] for i in range(len(source))}
        assert source.actions().shape == (sum(LENGTHS[e] for e in episodes[split]), 7)
        again = ChunkSource(dataset, None, robot=LIBERO, horizon=4, config=ChunkConfig(held_out_every=3)).of_split(
            split
        )
        assert [again.location(i) for i in range(len(again))] == [source.location(i) for i in range(len(source))]
    assert episodes == {"all": {0, 1, 2}, "train": {0, 2}, "held_out": {1}}  # by task: episodes 0, 2, 1
    assert not len(ChunkSource(dataset, None, robot=LIBERO, horizon=4, config=ChunkConfig(split="held_out")))


def test_the_first_facts_of_each_instruction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look-up per instruction, however many rows there are."""
    folder = write_dataset(tmp_path / "set", LENGTHS)
    frames = [None, SceneFacts(targets=()), scene(3), *map(scene, range(4, 7))]
    write_facts(folder, {0: [*frames, scene(9)], 2: frames}, robot="libero", frame_description="")
    table = FactsTable.load(folder)
    source = ChunkSource(LeRobotDataset(folder), table, robot=LIBERO, horizon=4)
    looked_up: list[tuple[int, int]] = []
    facts = table.facts
    monkeypatch.setattr(table, "facts", lambda *place: looked_up.append(place) or facts(*place))
    first = source.first_facts()
    assert [*first] == ["put thing 0 on the plate"]  # episode 1, the other instruction's only one, has no labels
    np.testing.assert_array_equal(first["put thing 0 on the plate"].targets[0].offset_m, scene(3).targets[0].offset_m)
    assert looked_up == [(0, 2)]


def test_tasks_that_take_turns_are_all_held_out(tmp_path: Path) -> None:
    """With an even k, counting episodes in their order would hold out one of two alternating tasks only."""
    robot = ROBOTS["libero"]
    features = {
        "state": {"dtype": "float32", "shape": (robot.state_dim,)},
        "actions": {"dtype": "float32", "shape": (robot.action_dim,)},
        **{name: {"dtype": "image", "shape": (8, 8, 3)} for name in ("image", "wrist_image")},
    }
    blank = np.zeros((2, 8, 8, 3), np.uint8)
    columns = {
        "state": np.zeros((2, 8), np.float32),
        "actions": np.zeros((2, 7), np.float32),
        "image": blank,
        "wrist_image": blank,
    }
    with DatasetWriter(tmp_path / "set", fps=20, robot_type="panda", features=features) as writer:
        for episode in range(16):
            writer.add_episode(columns, task=f"task {episode % 2}")
    dataset = LeRobotDataset(tmp_path / "set")
    for k in (2, 4, 8):
        source = ChunkSource(
            dataset, None, robot=robot, horizon=1, config=ChunkConfig(split="held_out", held_out_every=k)
        )
        assert set(source.tasks()) == {"task 0", "task 1"}
        assert len(source) == 2 * 16 // k


def test_numbers_without_pictures(root: Path, tmp_path: Path) -> None:
    blind = shutil.copytree(root, tmp_path / "set")
    source = ChunkSource(LeRobotDataset(blind), None, robot=LIBERO, horizon=4)
    samples = [source[i] for i in range(len(source))]
    again = LeRobotDataset(blind)
    again._frames = None  # type: ignore[assignment]
    source = ChunkSource(again, None, robot=LIBERO, horizon=4)
    np.testing.assert_array_equal(source.states(), [s.observation.state for s in samples])
    np.testing.assert_array_equal(source.chunks(), [s.actions for s in samples])
    assert source.tasks() == ("put thing 0 on the plate", "put thing 1 on the plate")


def test_refusals(root: Path) -> None:
    dataset = LeRobotDataset(root)
    with pytest.raises(
        DatasetError, match=r"lacks the columns \['wrist_image'\].*--data\.columns.*`--robot libero_front`"
    ):
        ChunkSource(LeRobotDataset(GOLDEN / "lerobot_v3" / "image"), None, robot=LIBERO, horizon=4)
    with pytest.raises(DatasetError, match=r"needs the keys .*wrist_image.*map to"):
        ChunkSource(dataset, None, robot=LIBERO, horizon=4, config=ChunkConfig(columns={"state": "observation/state"}))
    swapped = {"image": "observation/image", "wrist_image": "observation/wrist_image", "actions": "observation/state"}
    with pytest.raises(DatasetError, match=r"column 'actions' has shape \(7,\).*needs \(8,\)"):
        ChunkSource(dataset, None, robot=LIBERO, horizon=4, config=ChunkConfig(columns=swapped))


def test_labels_of_a_robot_with_the_same_frames(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`libero_front` stands in the same frames as `libero` and sees other pictures, which is worth a word."""
    dataset, facts = LeRobotDataset(root), FactsTable.load(root)
    front = ChunkSource(dataset, facts, robot=ROBOTS["libero_front"], horizon=4)
    same = ChunkSource(dataset, facts, robot=LIBERO, horizon=4)
    assert front.states().shape == same.states().shape
    for i in range(len(front)):
        ours, theirs = front[i].facts, same[i].facts
        assert ours is not None
        assert theirs is not None
        np.testing.assert_array_equal(ours.targets[1].offset_m, theirs.targets[1].offset_m)
    (record,) = caplog.records
    assert "images are rotated_180, and robot 'libero_front' has them flipped_vertically" in record.getMessage()


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": Axes(x=("back", "front"), y=("right", "left"), z=("down", "up"))},
        {"frames": {}},
        {"frames": {**LIBERO.frames, "gripper": LIBERO.axes}},
    ],
    ids=["axes", "no frames", "a frame's axes"],
)
def test_labels_of_a_robot_with_other_frames_are_refused(root: Path, changes: dict) -> None:
    other = dataclasses.replace(LIBERO, name="franka", **changes)
    with pytest.raises(DatasetError, match=r"about robot 'libero', with Axes\(.*not 'franka'.*label_dataset\.py"):
        ChunkSource(LeRobotDataset(root), FactsTable.load(root), robot=other, horizon=4)


def test_labels_of_a_robot_that_nobody_knows_are_refused(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "set")
    write_facts(copy, {}, robot="franka", frame_description="world axes")
    with pytest.raises(DatasetError, match="about robot 'franka', which this version does not know"):
        ChunkSource(LeRobotDataset(copy), FactsTable.load(copy), robot=LIBERO, horizon=4)


def test_states_that_the_robot_cannot_be_in_are_refused_when_the_dataset_is_opened(tmp_path: Path) -> None:
    features = {
        "state": {"dtype": "float32", "shape": (8,)},
        "actions": {"dtype": "float32", "shape": (7,)},
        "image": {"dtype": "image", "shape": (4, 4, 3)},
    }
    robot = ROBOTS["libero_front"]
    with DatasetWriter(tmp_path / "set", fps=20, robot_type="panda", features=features) as writer:
        for scale in (1.0, 1000.0):  # the second episode in millimetres
            columns = {
                "state": np.full((3, 8), 0.4, np.float32) * scale,
                "actions": np.zeros((3, 7), np.float32),
                "image": np.zeros((3, 4, 4, 3), np.uint8),
            }
            writer.add_episode(columns, task="a task")
    dataset = LeRobotDataset(tmp_path / "set")
    with pytest.raises(
        DatasetError, match=r"episode 1, frame 0: .* cannot be in this state: eef_x_m 400 \(-1 \.\. 1\)"
    ):
        ChunkSource(dataset, None, robot=robot, horizon=2)
    config = ChunkConfig(exclude_episodes=(1,))
    assert len(ChunkSource(dataset, None, robot=robot, horizon=2, config=config)) == 3
    with pytest.raises(DatasetError, match=r"Episodes \[2, 9999\] of .*set are to be left out: it has 2 episodes"):
        ChunkSource(dataset, None, robot=robot, horizon=2, config=ChunkConfig(exclude_episodes=(1, 2, 9999)))
