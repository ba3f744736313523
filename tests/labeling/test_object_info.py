"""InSpire's own label files, written here in their layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.labeling.object_info import ObjectInfo, frame_id, libero_facts, off_the_body
from inspire_fast.robots import ROBOTS

ARM = ROBOTS["inspire_arm"]
STATE = [-2843.0, -52329.0, 336502.0, -172493.0, 42622.0, 97746.0, 69300.0]
# The frame that the release's documentation shows, of "move the can near the apple".
FRAME: dict[str, Any] = {
    "action": [-4058.0, -52250.0, 336503.0, -172566.0, 42634.0, 96400.0, 69300.0],
    "state": STATE,
    "task": "move the can near the apple",
    "object_info": {
        "catch": {"the apple": False, "the can": False},
        "position": {
            "robot": STATE[:3],
            "the apple": [-66238.0, -258794.0, 133875.0],
            "the can": [-156676.0, -175687.0, 141998.0],
        },
        "is catched": False,
        "coarse_direction": {"the can": "down", "the apple": "front"},
    },
}


def arm_dataset(root: Path, states: np.ndarray) -> LeRobotDataset:
    features = {name: {"dtype": "float32", "shape": (7,), "names": None} for name in ("state", "actions")}
    with DatasetWriter(root, fps=10, robot_type="arm", features=features) as writer:
        writer.add_episode({"state": states, "actions": states}, task=FRAME["task"])
    return LeRobotDataset(root)


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[LeRobotDataset, Path]:
    states = np.array([STATE, [v + 1000 for v in STATE]], np.float32)
    folder = tmp_path / "real" / "episode_0" / "anno_w_pos"
    folder.mkdir(parents=True)
    for frame, state in enumerate(states):
        content = json.loads(json.dumps(FRAME))
        content["state"] = state.tolist()
        content["object_info"]["position"]["robot"] = state[:3].tolist()
        content["object_info"]["catch"]["the can"] = frame == 1
        (folder / f"{frame}.json").write_text(json.dumps(content), encoding="utf-8")
    return arm_dataset(tmp_path / "d", states), tmp_path / "real"


def test_the_real_robots_layout(labelled: tuple[LeRobotDataset, Path]):
    dataset, folder = labelled
    label_dataset(dataset, ObjectInfo(folder=folder), robot=ARM, progress=False)
    table = FactsTable.load(dataset.root)
    can, apple = table.facts(0, 0).targets
    assert (can.phrase, apple.phrase) == ("the can", "the apple")  # the instruction's order, not the file's
    np.testing.assert_allclose(can.offset_m, [-0.153833, -0.123358, -0.194504], atol=1e-6)
    np.testing.assert_allclose(apple.offset_m, [-0.063395, -0.206465, -0.202627], atol=1e-6)
    # the words that the release writes into the same file follow from these vectors and the arm's axes
    for target in (can, apple):
        axis = int(np.argmax(np.abs(target.offset_m)))
        word = ARM.axes.word(axis, positive=bool(target.offset_m[axis] > 0))
        assert word == FRAME["object_info"]["coarse_direction"][target.phrase]
    assert [t.grasped for t in table.facts(0, 1).targets] == [True, False]


def test_labels_of_another_episode_or_damaged_ones_are_noticed(labelled: tuple[LeRobotDataset, Path], tmp_path: Path):
    dataset, folder = labelled
    file = folder / "episode_0" / "anno_w_pos" / "1.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "state": STATE}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"1\.json labels another frame"):
        label_dataset(dataset, ObjectInfo(folder=folder), robot=ARM, progress=False)
    content["object_info"]["position"]["the can"][1] = float("nan")
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"episode 0: .*1\.json: .*finite"):
        label_dataset(dataset, ObjectInfo(folder=folder), robot=ARM, progress=False)
    file.write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"1\.json cannot be read"):
        label_dataset(dataset, ObjectInfo(folder=folder), robot=ARM, progress=False)
    file.unlink()
    with pytest.raises(DatasetError, match="has 1 label files"):
        label_dataset(dataset, ObjectInfo(folder=folder), robot=ARM, progress=False)


def test_libero_files_aim_at_openings_and_add_up_nothing(tmp_path: Path):
    path = tmp_path / "a.json"
    vectors = {"alphabet_soup_1_main": [0.1, -0.2, -0.1], "basket_1_main": [0.2, 0.3, -0.2], "milk_1_main": [0, 0, 0]}
    path.write_text(json.dumps({"gripper_to_obj": vectors, "is_grasp": {"alphabet_soup_1": True}}), encoding="utf-8")
    instruction = "pick up the alphabet soup and place it in the basket"
    for _ in range(2):
        soup, basket = libero_facts(path, instruction).targets
        np.testing.assert_allclose(soup.offset_m, [0.1, -0.2, -0.1], atol=1e-6)
        np.testing.assert_allclose(basket.offset_m, [0.2, 0.3, -0.2 + 0.07185], atol=1e-6)
        assert (soup.grasped, basket.grasped) == (True, False)
    with pytest.raises(DatasetError, match="another task"):
        libero_facts(path, "put the bowl on the plate")
    path.write_text(
        json.dumps({"gripper_to_obj": {**vectors, "basket_1_main": [0, None, 0]}, "is_grasp": {}}), encoding="utf-8"
    )
    with pytest.raises(DatasetError, match=r"a\.json"):
        libero_facts(path, instruction)


def test_a_handle_beside_its_body_is_refused_with_the_reason(tmp_path: Path):
    path = tmp_path / "a.json"
    levels = {
        f"wooden_cabinet_1_cabinet_{name}": [x, 0.0, 0.0]
        for name, x in (("top", 0.1), ("middle", 0.2), ("bottom", 0.3))
    }
    path.write_text(json.dumps({"gripper_to_obj": levels, "is_grasp": {}}), encoding="utf-8")
    instruction = "open the middle drawer of the cabinet"
    assert libero_facts(path, instruction) is None  # the file knows the drawer's origin, not where its handle is
    assert list(off_the_body(instruction)) == ["the middle drawer of the cabinet"]


def test_frame_ids_are_text_or_padded_bytes():
    assert frame_id("abc") == "abc"
    assert frame_id(np.array([97, 98, 99, 0, 0], np.uint8)) == "abc"
