"""Quality of recorded episodes: each planted fault is found in its episode, and nothing in the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.commands import check_dataset
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.data.quality import Numbers, describe_lag, find, measure
from inspire_fast.robots import ROBOTS
from tests.data.synthetic import GOLDEN
from tests.labeling.simulated import load

FPS = 20
NUMBERS = Numbers(state="state", actions="actions", gripper_dims=(2,))
PICTURES = Numbers(state="state", actions="actions", gripper_dims=(2,), cameras=("image",))
Episode = dict[str, np.ndarray]


def motion(rng: np.random.Generator, frames: int = 80, lag: int = 1) -> Episode:
    """Two joints on smooth ways; actions are their velocities; the gripper closes once; every picture is another."""
    times = np.arange(frames + lag + 1) / FPS
    phases, rates = rng.uniform(0, 6, 2), rng.uniform(1.5, 2.5, 2)
    position = np.sin(times[:, None] * rates + phases)
    velocity = np.diff(position, axis=0)
    gripper = np.where(np.arange(frames) < frames // 2, -1.0, 1.0)
    state = np.column_stack([position[: frames + 1][:frames], gripper * 0.1]).astype(np.float32)
    actions = np.column_stack([velocity[lag:][:frames] * 10, gripper]).astype(np.float32)
    if lag == 0:
        actions[:, :2] = velocity[:frames] * 10
    image = rng.integers(0, 255, (frames, 4, 4, 3), np.uint8)
    return {"state": state, "actions": actions, "image": image}


def write(root: Path, episodes: list[Episode]) -> LeRobotDataset:
    features = {
        "state": {"dtype": "float32", "shape": (3,)},
        "actions": {"dtype": "float32", "shape": (3,)},
        "image": {"dtype": "image", "shape": (4, 4, 3)},
    }
    with DatasetWriter(root, fps=FPS, robot_type="arm", features=features, version="v3.0") as writer:
        for episode in episodes:
            writer.add_episode(episode, task="move")
    return LeRobotDataset(root)


def plant(fault: str, episode: Episode) -> Episode:
    episode = {name: column.copy() for name, column in episode.items()}
    state, actions, image = episode["state"], episode["actions"], episode["image"]
    if fault == "idle_s":
        state[20:65] = state[20]
    elif fault == "frozen_s":
        state[2:40] = state[2]  # a longer pause, in which the pictures may stay the same
        image[2:40] = image[2]
        image[45:70] = image[45]
    elif fault == "chatter":
        actions[40:56:2, 2] = -1
    elif fault == "action":
        actions[33, 0] = 40.0
    elif fault == "jerk":
        state[:, 0] += np.where(np.arange(len(state)) % 2, 0.6, -0.6)
    elif fault == "step":
        state[50:, 1] += 8.0
    elif fault == "short":
        return {name: column[:12] for name, column in episode.items()}
    elif fault == "lag":
        episode["actions"][:, :2] = np.roll(actions[:, :2], -5, axis=0)
    return episode


FAULTS = ("idle_s", "frozen_s", "chatter", "action", "jerk", "step", "short", "lag")


def test_sound_episodes_have_no_findings_and_the_lag_of_their_making(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    measures = measure(write(tmp_path, [motion(rng) for _ in range(12)]), NUMBERS)
    assert find(measures) == []
    assert measures.lag.pairs[:2] == ((0, 0), (1, 1))
    assert not measures.lag.absolute


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_is(tmp_path: Path, fault: str) -> None:
    rng = np.random.default_rng(1)
    episodes = [motion(rng) for _ in range(12)]
    episodes[7] = plant(fault, episodes[7])
    found = find(measure(write(tmp_path, episodes), PICTURES if fault == "frozen_s" else NUMBERS))
    assert (7, fault) in {(f.episode, f.measure) for f in found}
    assert {f.episode for f in found} == {7}
    frame = next(f.frame for f in found if f.measure == fault)
    place = {"idle_s": 20, "frozen_s": 45, "chatter": 40, "action": 33, "step": 49}
    assert frame == place.get(fault, frame)


def test_duplicates_are_found_also_when_their_pictures_differ(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    episodes = [motion(rng) for _ in range(6)]
    episodes.append({**episodes[2], "image": episodes[3]["image"]})
    found = find(measure(write(tmp_path, episodes), NUMBERS))
    assert [(f.episode, f.text) for f in found] == [(6, "the same states and actions as episode 2")]


@pytest.mark.parametrize("late", [0, 3])
def test_the_lag_is_the_one_of_the_data(tmp_path: Path, late: int) -> None:
    rng = np.random.default_rng(3)
    episodes = [motion(rng, lag=0) for _ in range(6)]
    for episode in episodes:  # the arm carries out what was commanded `late` frames before
        episode["actions"] = np.concatenate([episode["actions"][late:], episode["actions"][:late]])
    lag = measure(write(tmp_path, episodes), NUMBERS).lag
    assert lag.frames == late
    assert f"{late} frames" in describe_lag(lag, FPS)


def test_actions_that_are_targets_are_told_as_such(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    episodes = [motion(rng) for _ in range(6)]
    for episode in episodes:
        episode["actions"][:-1, :2] = episode["state"][1:, :2]
        episode["actions"][-1, :2] = episode["state"][-1, :2]
    lag = measure(write(tmp_path, episodes), NUMBERS).lag
    assert (lag.frames, lag.absolute) == (0, True)


def test_actions_that_command_nothing_have_no_lag(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    episodes = [motion(rng) for _ in range(6)]
    for episode in episodes:
        episode["actions"] = rng.normal(size=episode["actions"].shape).astype(np.float32)
    measures = measure(write(tmp_path, episodes), Numbers(state="state", actions="actions"))
    assert measures.lag.frames is None
    assert "no dimension" in describe_lag(measures.lag, FPS)


def test_of_twelve_unlike_tasks_those_that_differ_are_named(tmp_path: Path) -> None:
    features = {
        "state": {"dtype": "float32", "shape": (ROBOTS["libero"].state_dim,)},
        "actions": {"dtype": "float32", "shape": (7,)},
    }
    with DatasetWriter(tmp_path, fps=FPS, robot_type="panda", features=features, version="v3.0") as writer:
        for episode in load():
            moved = np.diff(episode.state[:, :6], axis=0, append=episode.state[-1:, :6]) * 20
            actions = np.column_stack([moved, np.sign(episode.state[:, 6] - 0.02)]).astype(np.float32)
            writer.add_episode({"state": episode.state, "actions": actions}, task=str(episode.prompt))
    found = find(measure(LeRobotDataset(tmp_path), Numbers(state="state", actions="actions", gripper_dims=(6,))))
    turning, waiting = 5, 9  # a knob turns the wrist as no other task does; an arm waits while its fingers close
    assert {(f.episode, f.measure) for f in found} == {
        *((turning, measure) for measure in ("action", "jerk", "step")),
        (waiting, "idle_s"),
    }


def test_what_is_not_finite_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    path = next(iter(write(tmp_path, [motion(rng) for _ in range(2)]).files()))
    table = pq.read_table(path)
    state = np.stack(table["state"].to_pylist()).astype(np.float32)
    state[84, 0] = np.nan  # as another program writes it
    column = pa.FixedSizeListArray.from_arrays(pa.array(state.ravel()), 3)
    pq.write_table(table.set_column(table.schema.get_field_index("state"), "state", column), path)
    dataset = LeRobotDataset(tmp_path)
    with pytest.raises(DatasetError, match=r"'state'.*episode 1, frame 4"):
        measure(dataset, NUMBERS)
    left = measure(dataset.without({1: "damaged"}), NUMBERS)
    assert [episode.episode for episode in left.episodes] == [0]
    assert left.episodes[0].action < 4


def test_the_command_lists_what_exclude_episodes_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(7)
    episodes = [motion(rng) for _ in range(12)]
    episodes[3], episodes[9] = plant("idle_s", episodes[3]), plant("frozen_s", episodes[9])
    write(tmp_path / "set", episodes)
    page = tmp_path / "page.html"
    check_dataset.main(["--root", str(tmp_path / "set"), "--decode", "--quality", "--page", str(page)])
    out = capsys.readouterr().out
    assert "--data.exclude-episodes 3 9\n" in out
    assert "episode 3, frame 20: idle for" in out
    assert "Pictures that stay the same" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--page", "x.html"], "add --quality"),
        (["--quality", "--page", "x.html", "--root", "ROOT", "ROOT"], "one dataset"),
    ],
)
def test_options_without_effect_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write(tmp_path, [motion(np.random.default_rng(8))])
    given = [str(tmp_path) if word == "ROOT" else word for word in words]
    with pytest.raises(SystemExit, match="2"):
        check_dataset.main(given if "--root" in given else [*given, "--root", str(tmp_path)])
    assert message in capsys.readouterr().err


def test_cameras_that_see_nothing_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    episodes = [motion(np.random.default_rng(seed)) for seed in range(3)]
    write(tmp_path / "seeing", episodes)
    for number, episode in enumerate(episodes):
        episode["image"][:] = np.arange(len(episode["image"]), dtype=np.uint8)[:, None, None, None] + 50 * number
    write(tmp_path / "blind", episodes)
    check_dataset.main(["--root", str(tmp_path / "seeing"), "--quality"])
    assert "of one colour" not in capsys.readouterr().out
    check_dataset.main(["--root", str(tmp_path / "blind"), "--quality"])
    assert "Pictures: all 12 that were looked at in 'image' are of one colour." in capsys.readouterr().out


def test_a_dataset_of_nothing_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Constant pictures and random actions, as another program wrote them: no list of all episodes to leave out."""
    for kind in ("image", "video"):
        check_dataset.main(["--root", str(GOLDEN / "lerobot_v3" / kind), "--quality", "--robot", "libero"])
        said = capsys.readouterr().out
        assert "nothing can be learnt from these actions" in said
        assert "of one colour" in said
        assert "3 of 3 episodes are unusual" in said
        assert "to leave them out" not in said
