"""LIBERO's HDF5 demonstrations: which steps are kept, what is read, and a short one replayed in the real simulator."""

from __future__ import annotations

import gc
import json
from pathlib import Path
import warnings

import h5py
import numpy as np
import pytest

from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.converters.base import Description, Storage, convert
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.libero.suites import find_task
from inspire_fast.labeling.demonstrations.libero_hdf5 import (
    Converter,
    Hdf5Options,
    convert_hdf5,
    find_problem,
    kept_steps,
    read_demonstration,
)
from inspire_fast.labeling.demonstrations.replay import Recording
from inspire_fast.robots import ROBOTS

LIBERO = ROBOTS["libero"]
TASK = find_task("libero_object", 0)


def write_demos(path: Path, demos: list[dict[str, np.ndarray]], *, model_xml: str = "", **attributes) -> Path:
    """A file in the layout that LIBERO publishes."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        about = {
            "bddl_file_name": f"chiliocosm/bddl_files/libero_object/{TASK.bddl_file.name}",
            "problem_info": json.dumps({"language_instruction": TASK.prompt}),
            "num_demos": len(demos),
        }
        data.attrs.update({**about, **attributes})
        for number, arrays in enumerate(demos):
            demo = data.create_group(f"demo_{number}")
            demo.attrs.update({"model_file": model_xml, "num_samples": len(arrays["states"])})
            for name, values in arrays.items():
                demo[name] = values
    return path


def recorded(length: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    """A demonstration with pictures, of no real scene."""
    rng = np.random.default_rng(seed)
    return {
        "states": rng.standard_normal((length, 20)),
        "actions": rng.uniform(-1, 1, (length, 7)),
        "obs/agentview_rgb": rng.integers(0, 256, (length, 8, 8, 3), dtype=np.uint8),
        "obs/eye_in_hand_rgb": rng.integers(0, 256, (length, 8, 8, 3), dtype=np.uint8),
        "obs/ee_pos": rng.standard_normal((length, 3)),
        "obs/ee_ori": rng.standard_normal((length, 3)),
        "obs/gripper_states": rng.standard_normal((length, 2)),
    }


def test_no_ops_as_drawn_in_the_docstring() -> None:
    actions = np.zeros((6, 7))
    actions[:, 0] = [0, 0, 1, 0, 0, 1]
    actions[:, 6] = [-1, -1, -1, -1, 1, 1]
    assert kept_steps(actions).tolist() == [2, 4, 5]
    actions[:, 0] *= 0.99e-4
    assert kept_steps(actions).tolist() == [], "without a step kept before, the gripper's command is no reason"


def test_recorded_pictures_need_no_simulator(tmp_path: Path) -> None:
    demos = [recorded(5, seed) for seed in range(11)]
    demos[1]["actions"][2, :6] = 0
    demos[1]["actions"][2, 6] = demos[1]["actions"][1, 6]
    path = write_demos(tmp_path / "soup_demo.hdf5", demos)
    report = convert_hdf5([path], tmp_path / "set", options=Hdf5Options(pictures="recorded"))
    assert report.names[2] == "soup_demo.hdf5/demo_2"
    assert report.frames == 11 * 5 - 1
    dataset = LeRobotDataset(tmp_path / "set")
    assert [e.length for e in dataset.episodes] == [5, 4, *[5] * 9]
    for episode, frame, step in ((0, 3, 3), (1, 1, 1), (1, 2, 3), (10, 0, 0)):
        row, demo = dataset.row(dataset.episode(episode).start + frame), demos[episode]
        np.testing.assert_array_equal(row["image"], demo["obs/agentview_rgb"][step][::-1, ::-1])
        np.testing.assert_array_equal(row["wrist_image"], demo["obs/eye_in_hand_rgb"][step][::-1, ::-1])
        parts = [demo[f"obs/{name}"][step] for name in ("ee_pos", "ee_ori", "gripper_states")]
        np.testing.assert_array_equal(row["state"], np.concatenate(parts).astype(np.float32))
        np.testing.assert_array_equal(row["actions"], demo["actions"][step].astype(np.float32))
        assert row["task"] == TASK.prompt
    notes = json.loads((tmp_path / "set" / "conversion.json").read_text(encoding="utf-8"))["episodes"][1]
    assert (notes["suite"], notes["task"], notes["steps_left_out"]) == ("libero_object", TASK.name, 1)


@pytest.mark.parametrize(
    ("change", "attributes", "message"),
    [
        ({"actions": None}, {}, r"demo_0 lacks \['actions'\]"),
        ({"actions": np.zeros((4, 7))}, {}, r"states \(5, 20\) and actions \(4, 7\)"),
        ({"states": np.full((5, 20), np.nan)}, {}, "demo_0, frame 0: the state holds NaN"),
        ({"obs/ee_pos": None}, {}, r"holds no images \(`obs`\)"),
        ({"actions": np.zeros((5, 7))}, {}, "every one of its 5 steps is a no-op"),
        (
            {},
            {"bddl_file_name": "somewhere/wash_the_dishes.bddl"},
            "'wash_the_dishes.bddl', which is not one of LIBERO's",
        ),
    ],
)
def test_bad_demonstrations_are_named(tmp_path: Path, change, attributes, message: str) -> None:
    demo = {name: values for name, values in {**recorded(), **change}.items() if values is not None}
    path = write_demos(tmp_path / "soup_demo.hdf5", [demo], **attributes)
    with pytest.raises(DatasetError, match=rf"soup_demo\.hdf5.*{message}"):
        convert_hdf5([path], tmp_path / "set", options=Hdf5Options(pictures="recorded"))
    assert not (tmp_path / "set").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "broken.hdf5").write_bytes(b"nonsense")
    options = Hdf5Options(pictures="recorded")
    with pytest.raises(DatasetError, match=r"broken\.hdf5 cannot be read as HDF5"):
        convert_hdf5([tmp_path / "broken.hdf5"], tmp_path / "set", options=options)
    with pytest.raises(DatasetNotFoundError, match=r"missing\.hdf5 does not exist"):
        convert_hdf5([tmp_path / "missing.hdf5"], tmp_path / "set", options=options)


def test_the_file_names_the_task() -> None:
    same_name = {task.bddl_file.name: task for suite in ("libero_goal", "libero_10") for task in [find_task(suite, 3)]}
    for name, task in same_name.items():
        assert find_problem(f"anything/{task.suite}/{name}") == task
        assert find_problem(name).prompt == task.prompt


def scene_xml(environment: LiberoEnvironment) -> str:
    """The scene as LIBERO stores it in `model_file`, with the poses of fixtures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # robosuite leaves the file open that it reads the scene from
        text = environment._domain.sim.model.get_xml()
        gc.collect()
    return text


@pytest.mark.sim
def test_a_demonstration_in_the_simulator(tmp_path: Path, soup: LiberoEnvironment) -> None:
    """Twelve steps, recorded at one placement of the fixtures and replayed at another, agree."""
    soup.reset(3)
    rng, states, actions, seen, offsets = np.random.default_rng(0), [], [], [], []
    for step in range(12):
        states.append(soup.simulator_state())
        seen.append(soup.state())
        offsets.append(soup.facts().targets[0].offset_m)
        if step == 8:
            picture = soup.observe()["observation/image"]
        action = rng.uniform(-0.5, 0.5, 7) * (step % 4 > 0)
        actions.append(soup.step([*action[:6], -1]))
    model_xml = scene_xml(soup)
    demo = {"states": np.array(states), "actions": np.array(actions)}
    path = write_demos(tmp_path / "soup_demo.hdf5", [demo], model_xml=model_xml)
    kept = kept_steps(np.array(actions))
    assert kept.tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11]

    def run(root: Path, **options):
        with Converter(Hdf5Options(**options), soup) as converter:
            return convert(
                converter.episodes([path]),
                root,
                Description(fps=20, robot_type="libero"),
                storage=Storage(skip_bad_episodes=True),
                done=converter.write_labels,
            )

    with pytest.raises(DatasetError, match=r"No episode for .*at its end the task is not solved"):
        run(tmp_path / "solved", pictures="states", render_every=100)
    run(tmp_path / "states", pictures="states", only_successful=False, render_every=4)
    run(tmp_path / "replay", only_successful=False, render_every=100, settle_steps=0, drop_no_ops=False)

    dataset = LeRobotDataset(tmp_path / "states")
    assert [e.length for e in dataset.episodes] == [9]
    columns = dataset.columns(["state", "actions", "image_age_s"])
    # After a step, the simulator gives positions of one physics step (2 ms) ago; after a restore, the present ones.
    np.testing.assert_allclose(columns["state"], np.array(seen)[kept], atol=5e-3)
    np.testing.assert_array_equal(columns["actions"], np.array(actions, np.float32)[kept])
    np.testing.assert_allclose(columns["image_age_s"][:6], [0, 0.05, 0.1, 0.15, 0, 0.05], atol=1e-6)
    source = ChunkSource(dataset, FactsTable.load(dataset.root), robot=LIBERO, horizon=2)
    assert [source.location(i) for i in range(3)] == [(0, 0), (0, 4), (0, 8)]
    facts = FactsTable.load(dataset.root).facts(0, 4)
    np.testing.assert_allclose(facts.targets[0].offset_m, offsets[kept[4]], atol=5e-3)
    recording = Recording.load(dataset.root / "recordings" / "episode_000000.npz")
    np.testing.assert_array_equal(recording.states, np.array(states)[kept])
    assert (recording.suite, recording.task) == ("libero_object", TASK.name)

    replayed = LeRobotDataset(tmp_path / "replay")
    np.testing.assert_allclose(replayed.columns(["state"])["state"][:12], np.array(seen), atol=5e-3)
    assert replayed.row(0)["image"].shape == (96, 128, 3)
    assert np.abs(replayed.row(0)["image"].astype(int) - picture).mean() < 40
    assert read_demonstration(path, "demo_0").model_xml == model_xml


def test_files_of_one_name_do_not_share_labels(tmp_path: Path) -> None:
    files = [tmp_path / folder / "x_demo.hdf5" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        with h5py.File(file, "w") as opened:
            opened.create_group("data/demo_0")
    names = [episode.name for episode in Converter(Hdf5Options()).episodes(files)]
    assert names == [f"{file}/demo_0" for file in files]
