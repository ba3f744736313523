"""Other people's recordings become datasets: InSpire's real-robot folders, and steps in RLDS's layouts.

That RLDS files of the real library are read is proved in tests/external; here is what follows the reading.
"""

from __future__ import annotations

import json
from pathlib import Path
import shutil
import sys

import numpy as np
from PIL import Image
import pytest

from inspire_fast.data.chunks import ChunkConfig, ChunkSource
from inspire_fast.data.converters.base import Description, Pending, Storage, convert
from inspire_fast.data.converters.inspire import inspire_episodes
from inspire_fast.data.converters.rlds import DROID, LIBERO, episode_from_steps, rlds_episodes
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.robots import ROBOTS

ARM = ROBOTS["inspire_arm"]
FRAMES = 12  # more than ten: numbers in names are no text


def numbers(episode: int) -> np.ndarray:
    """States `[12, 7]` in the arm's unit."""
    return np.random.default_rng(episode).uniform(-1e5, 1e5, (FRAMES, 7)).round(1)


def picture(episode: int, frame: int) -> np.ndarray:
    return np.full((10, 14, 3), (40 * episode + frame, frame, 200), np.uint8)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three episodes as the release has them, one with its annotations in the later folder."""
    folder = tmp_path / "recordings"
    for episode, kind in ((0, "anno"), (2, "anno_w_pos"), (10, "anno")):
        states = numbers(episode)
        (folder / f"episode_{episode}" / "img").mkdir(parents=True)
        (folder / f"episode_{episode}" / kind).mkdir()
        for frame in range(FRAMES):
            Image.fromarray(picture(episode, frame)).save(folder / f"episode_{episode}" / "img" / f"{frame}.png")
            content = {"task": f"put can {episode} on the plate", "state": states[frame].tolist()}
            content["action"] = (states[frame] + 1).tolist()
            (folder / f"episode_{episode}" / kind / f"{frame}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "notes").mkdir()
    return folder


def converted(folder: Path, root: Path, *, actions_from_states: bool = False, **storage):
    return convert(
        inspire_episodes(folder, actions_from_states=actions_from_states),
        root,
        Description(fps=10, robot_type=ARM.name, names={"state": ARM.state_names}),
        storage=Storage(**storage),
    )


def test_inspire_folders(recordings: Path, tmp_path: Path) -> None:
    report = converted(recordings, tmp_path / "set")
    assert (list(report.names), report.frames, report.skipped) == (["episode_0", "episode_2", "episode_10"], 36, {})
    dataset = LeRobotDataset(tmp_path / "set")
    assert dataset.features["state"].names == list(ARM.state_names)
    for place, episode in zip(dataset.episodes, (0, 2, 10), strict=True):
        for frame in range(FRAMES):
            row = dataset.row(place.start + frame)
            np.testing.assert_array_equal(row["image"], picture(episode, frame))
            np.testing.assert_array_equal(row["state"], numbers(episode)[frame].astype(np.float32))
            np.testing.assert_array_equal(row["actions"], (numbers(episode)[frame] + 1).astype(np.float32))
            assert row["task"] == f"put can {episode} on the plate"
    # The robot's own columns: a config needs no more than this mapping.
    columns = {"image": "observation/image", "state": "observation/state"}
    source = ChunkSource(dataset, None, robot=ARM, horizon=5, config=ChunkConfig(columns=columns))
    np.testing.assert_array_equal(source[0].observation.state, numbers(0)[0].astype(np.float32))


def test_actions_from_the_next_states(recordings: Path, tmp_path: Path) -> None:
    for path in recordings.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        del content["action"]
        path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"episode_0: .*0\.json has no usable 'action' \(--actions-from-states"):
        converted(recordings, tmp_path / "set")
    converted(recordings, tmp_path / "set", actions_from_states=True)
    actions = LeRobotDataset(tmp_path / "set").columns(["actions"])["actions"][:FRAMES]
    states = numbers(0).astype(np.float32)
    np.testing.assert_array_equal(actions, np.concatenate([states[1:], states[-1:]]))


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def uneven(folder: Path) -> None:
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "img" / "3.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "img" / "4.png").unlink(), r"img must hold frames 0\.\.11.*not in both: \[4\]"),
        (lambda f: (f / "anno" / "11.json").unlink(), r"img must hold frames 0\.\.10.*not in both: \[11\]"),
        (lambda f: (f / "anno" / "5.json").write_text("{", encoding="utf-8"), r"anno.5\.json is not valid JSON"),
        (lambda f: edit(f / "anno" / "5.json", state=[0.0] * 6), r"5\.json: 'state' must be 7 finite numbers"),
        (lambda f: edit(f / "anno" / "5.json", state=[float("nan")] * 7), r"5\.json: 'state' must be 7 finite numbers"),
        (lambda f: edit(f / "anno" / "5.json", task=""), r"5\.json has no instruction \(`task` is ''\)"),
        (lambda f: edit(f / "anno" / "5.json", task="wave"), r"5\.json: the instruction changes within the episode"),
        (lambda f: (f / "img" / "3.png").write_bytes(b"\x89PNG"), r"img.3\.png cannot be decoded"),
        (uneven, r"img.3\.png is \(5, 5, 3\); the episode's first image is \(10, 14, 3\)"),
        (lambda f: shutil.rmtree(f / "img"), "img does not exist"),
    ],
)
def test_bad_recordings_are_named_and_skipped_when_told_to(
    recordings: Path, tmp_path: Path, damage, message: str
) -> None:
    damage(recordings / "episode_10")
    with pytest.raises(DatasetError, match=f"episode_10: .*{message}"):
        converted(recordings, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    report = converted(recordings, tmp_path / "set", skip_bad_episodes=True)
    assert list(report.names) == ["episode_0", "episode_2"]
    assert list(report.skipped) == ["episode_10"]
    stored = json.loads((tmp_path / "set" / "conversion.json").read_text(encoding="utf-8"))
    assert stored["skipped"].keys() == {"episode_10"}


def test_nothing_to_convert(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"No episodes in .*episode_0/anno/0\.json"):
        converted(tmp_path, tmp_path / "set")

    def broken() -> None:
        raise DatasetError("it is broken")

    pending = [Pending(name="one", read=broken)]
    with pytest.raises(DatasetError, match="one: it is broken"):
        convert(pending, tmp_path / "set", Description(fps=10, robot_type=None))
    with pytest.raises(DatasetError, match=r"No episode for .*'one': 'it is broken'"):
        convert(
            pending, tmp_path / "set", Description(fps=10, robot_type=None), storage=Storage(skip_bad_episodes=True)
        )
    assert not (tmp_path / "set").exists()


def droid_steps(length: int = 3) -> list[dict]:
    """As TensorFlow Datasets hands a DROID episode out."""
    rng = np.random.default_rng(0)
    cameras = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
    return [
        {
            "observation": {
                **{camera: rng.integers(0, 256, (6, 8, 3), dtype=np.uint8) for camera in cameras},
                "joint_position": rng.standard_normal(7),
                "gripper_position": rng.standard_normal(1),
            },
            "action_dict": {"joint_velocity": rng.standard_normal(7), "gripper_position": rng.standard_normal(1)},
            "language_instruction": b"",
            "language_instruction_2": b"close the drawer",
        }
        for _ in range(length)
    ]


def test_droid_steps_make_samples_of_the_robot(tmp_path: Path) -> None:
    steps = droid_steps()
    episode = episode_from_steps(steps, DROID)
    assert episode.task == "close the drawer"
    pending = [Pending(name="one", read=lambda: episode)]
    convert(pending, tmp_path / "set", Description(fps=DROID.fps, robot_type=DROID.robot))
    robot = ROBOTS[DROID.robot]
    columns = {
        "exterior_image_1_left": "observation/exterior_image_1_left",
        "wrist_image_left": "observation/wrist_image_left",
        "joint_position": "observation/joint_position",
        "gripper_position": "observation/gripper_position",
    }
    source = ChunkSource(
        LeRobotDataset(tmp_path / "set"), None, robot=robot, horizon=2, config=ChunkConfig(columns=columns)
    )
    sample, observation = source[1], steps[1]["observation"]
    state = np.concatenate([observation["joint_position"], observation["gripper_position"]]).astype(np.float32)
    np.testing.assert_array_equal(sample.observation.state, state)
    np.testing.assert_array_equal(sample.observation.images["wrist_0_rgb"], observation["wrist_image_left"])
    taken = steps[1]["action_dict"]
    wanted = np.concatenate([taken["joint_velocity"], taken["gripper_position"]]).astype(np.float32)
    assert sample.actions is not None
    np.testing.assert_array_equal(sample.actions[0], robot.canonical_actions(wanted))


def test_steps_that_do_not_fit_the_layout() -> None:
    with pytest.raises(
        DatasetError, match=r"step 0: there is no 'observation/image': 'image' is not among \['exterior"
    ):
        episode_from_steps(droid_steps(), LIBERO)
    with pytest.raises(DatasetError, match="no steps"):
        episode_from_steps([], DROID)
    steps = droid_steps()
    steps[2]["language_instruction_2"] = b" "
    with pytest.raises(DatasetError, match=r"step 2 has no instruction in \['language_instruction', "):
        episode_from_steps(steps, DROID)
    steps[2]["language_instruction"] = b"wave"
    with pytest.raises(
        DatasetError, match=r"the instruction changes within the episode: \['close the drawer', 'wave'\]"
    ):
        episode_from_steps(steps, DROID)
    steps = droid_steps()
    steps[1]["observation"]["joint_position"] = np.zeros(6)
    with pytest.raises(DatasetError, match=r"steps differ in 'joint_position': \[\(6,\), \(7,\)\]"):
        episode_from_steps(steps, DROID)


def test_rlds_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="pip install tensorflow-cpu tensorflow-datasets"):
        next(rlds_episodes(tmp_path, DROID))


def test_incomplete_and_ambiguous_recordings_are_named(recordings: Path) -> None:
    shutil.rmtree(recordings / "episode_2" / "anno_w_pos")
    (recordings / "episode_10" / "anno" / "3.json").write_text("[1]", encoding="utf-8")
    pending = {episode.name: episode for episode in inspire_episodes(recordings)}
    assert list(pending) == ["episode_0", "episode_2", "episode_10"]
    with pytest.raises(DatasetError, match="anno does not exist"):
        pending["episode_2"].read()
    with pytest.raises(DatasetError, match=r"3\.json must hold a JSON object"):
        pending["episode_10"].read()
    pictures = recordings / "episode_0" / "img"
    shutil.copy(pictures / "1.png", pictures / "01.png")
    with pytest.raises(DatasetError, match=r"01\.png and 1\.png are the same frame"):
        pending["episode_0"].read()
    shutil.copytree(recordings / "episode_0", recordings / "demo_0")
    with pytest.raises(DatasetError, match="bear the same number"):
        list(inspire_episodes(recordings))
