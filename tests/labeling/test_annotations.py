from collections.abc import Sequence
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import DatasetIdentity, FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.labeling.annotations import Annotations
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.robots import ROBOTS
from tests.labeling.datasets import LENGTH, libero_states, write

LIBERO = ROBOTS["libero"]


@pytest.fixture
def dataset(tmp_path: Path) -> LeRobotDataset:
    return write(tmp_path / "d", [(libero_states(), "put the can in the bin")] * 2)


def label(dataset: LeRobotDataset, lines: Sequence[Any]) -> FactsTable:
    path = dataset.root.parent / "labels.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n", encoding="utf-8"
    )
    label_dataset(dataset, Annotations(file=path), robot=LIBERO, progress=False)
    return FactsTable.load(dataset.root)


def target(**fields: Any) -> dict[str, Any]:
    return {"phrase": "the can", "offset_m": [0.1, -0.2, -0.3], **fields}


def test_offsets_positions_and_spans(dataset: LeRobotDataset):
    identity = dataclasses.asdict(DatasetIdentity.of(dataset.meta))
    table = label(
        dataset,
        [
            {"dataset": identity, "robot": "libero"},
            {"episode": 0, "frame": 3, "targets": [target(point_px=[0.25, 0.5], grasped=True)]},
            {"episode": 1, "frames": [0, 10], "targets": [{"phrase": "the bin", "position_m": [0.3, -0.3, 0.2]}]},
            {"episode": 1, "frame": 9, "targets": [target()]},
            "",
            {"episode": 1, "frame": 20, "targets": []},
        ],
    )
    (can,) = table.facts(0, 3).targets
    np.testing.assert_allclose(can.offset_m, [0.1, -0.2, -0.3], rtol=1e-6)
    assert (can.grasped, can.point_px) == (True, (0.25, 0.5))
    assert table.facts(0, 4) is None
    states = libero_states()
    for frame in range(10):
        np.testing.assert_allclose(
            table.facts(1, frame).targets[0].offset_m, [0.3, -0.3, 0.2] - states[frame, :3], atol=1e-6
        )
    assert [t.phrase for t in table.facts(1, 9).targets] == ["the bin", "the can"]
    assert table.facts(1, 20).targets == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"episode": 2, "frame": 0, "targets": []}], r"line 1: episode 2: .* 0\.\.1"),
        ([{"episode": 0, "frame": LENGTH, "targets": []}], rf"line 1: episode 0, frames {LENGTH}"),
        (
            [{"robot": "libero"}, {"episode": 0, "frame": 4, "targets": [target(offset_m=[0, float("nan"), 0])]}],
            "line 2 .episode 0, frame 4.*finite",
        ),
        ([{"episode": 0, "frame": 4, "targets": [target(offset_m=[0, 1])]}], "line 1 .*3 finite metres"),
        ([{"episode": 0, "frame": 4, "targets": [target(position_m=[0, 1, 2])]}], "either 'offset_m' or 'position_m'"),
        ([{"episode": 0, "frame": 4, "targets": [target(colour="red")]}], "colour"),
        ([{"episode": 0, "frame": 4, "targets": [{"offset_m": [0, 1, 2]}]}], "phrase"),
        ([{"episode": 0, "frame": 4.0, "targets": []}], "line 1: 'frame' must be a whole number"),
        ([{"episode": True, "frame": 4, "targets": []}], "line 1: 'episode' must be a whole number"),
        ([{"episode": 0, "frame": 4, "targets": [target(grasped="false")]}], "line 1: 'grasped' must be true or false"),
        ([{"episode": 0, "frame": 4, "targets": [target(phrase=3)]}], "line 1: .*'phrase' must be text"),
        ([{"episode": 0, "frame": 4, "targets": [target(point_px=[120, 0.5])]}], "line 1: 'point_px'"),
        ([{"episode": 0, "frame": 4, "targets": [target(), target()]}], "line 1 .*'the can' has facts in this frame"),
        (["{not json"], "line 1"),
        ([{"robot": "libero"}, {"episode": 0, "frame": 4}], "line 2: no 'targets'"),
        ([{"robot": "droid"}], "about robot 'droid'"),
        ([{"dataset": {"total_episodes": 9, "total_frames": 9, "sha256": "0" * 64}}], "another dataset"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(dataset: LeRobotDataset, lines: list[Any], message: str):
    with pytest.raises(DatasetError, match=message) as error:
        label(dataset, lines)
    assert "labels.jsonl" in str(error.value)


def test_a_missing_file_is_named(dataset: LeRobotDataset):
    with pytest.raises(DatasetError, match=r"nowhere\.jsonl"):
        label_dataset(dataset, Annotations(file=Path("nowhere.jsonl")), robot=LIBERO, progress=False)


def test_places_in_the_picture(dataset: LeRobotDataset):
    table = label(
        dataset,
        [
            {"robot": "libero", "picture_hw": [480, 640]},  # a dataset without pictures cannot contradict
            {
                "episode": 0,
                "frame": 3,
                "camera": "left_wrist_0_rgb",
                "quality": "by hand",
                "gripper_px": [0.5, 0.25],
                "trace_px": [[0.5, 0.5], [0.25, 0.75]],
                "targets": [{"phrase": "the can", "box_px": [0.125, 0.25, 0.5, 0.75]}],
            },
            {"episode": 0, "frame": 3, "targets": [{"phrase": "the bin", "point_px": [0, 1], "grasped": False}]},
        ],
    )
    scene = table.facts(0, 3)
    can, bin_ = scene.targets
    assert (can.offset_m, can.box_px, can.point_px) == (None, (0.125, 0.25, 0.5, 0.75), None)
    assert (bin_.offset_m, bin_.box_px, bin_.point_px) == (None, None, (0, 1))
    assert (scene.camera, scene.quality, scene.gripper_px) == ("left_wrist_0_rgb", "by hand", (0.5, 0.25))
    np.testing.assert_array_equal(scene.trace_px, np.array([[0.5, 0.5], [0.25, 0.75]], np.float32))


@pytest.mark.parametrize(
    ("fields", "of_target", "message"),
    [
        ({}, {"box_px": [0.5, 0.1, 0.2, 0.4]}, "'box_px' must have its top left corner first"),
        ({}, {"box_px": [10, 20, 30, 40]}, r"'box_px' must be \[y0, x0, y1, x1\], each in 0\.\.1; got \[10"),
        ({}, {"box_px": [0.1, 0.2, 0.3]}, "'box_px' must be"),
        ({}, {}, "needs either 'offset_m' or 'position_m', or a place"),
        ({"trace_px": [[0.5, 1.5]]}, {"point_px": [0, 0]}, "'trace_px' must be"),
        ({"trace_px": []}, {"point_px": [0, 0]}, r"float32 \[k, 2\]"),
        ({"gripper_px": [0.5]}, {"point_px": [0, 0]}, "'gripper_px' must be"),
        (
            {"camera": "right_wrist_0_rgb"},
            {"point_px": [0, 0]},
            r"camera 'right_wrist_0_rgb'; robot 'libero' has \['base",
        ),
    ],
)
def test_places_that_are_none_name_their_line(dataset: LeRobotDataset, fields: dict, of_target: dict, message: str):
    line = {"episode": 0, "frame": 0, "targets": [{"phrase": "the can", **of_target}], **fields}
    with pytest.raises(DatasetError, match=r"labels\.jsonl, line 1.*" + message):
        label(dataset, [line])


def test_a_frame_has_one_camera(dataset: LeRobotDataset):
    lines = [
        {"episode": 0, "frame": 0, "camera": camera, "targets": [{"phrase": phrase, "point_px": [0, 0]}]}
        for phrase, camera in (("the can", "base_0_rgb"), ("the bin", "left_wrist_0_rgb"))
    ]
    with pytest.raises(
        DatasetError, match=r"line 2 \(episode 0, frame 0\): an earlier line states another \['camera'\]"
    ):
        label(dataset, lines)
