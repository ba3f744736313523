"""LeRobot's language columns: read as facts, written from facts, kept by copies."""

from __future__ import annotations

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.converters.lerobot import copy_dataset
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable, write_facts
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.language import EVENTS, PERSISTENT, TYPES, exchange
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.labeling.language_columns import LanguageColumns
from inspire_fast.robots import ROBOTS
from tests.labeling.datasets import libero_states

HW = (90, 160)
LIBERO = ROBOTS["libero"]
TASK = "pick up the can and place it in the basket"
CAN = {"label": "can", "bbox_format": "xyxy", "bbox": [16, 9, 32, 45]}


def vqa(answer: Any, camera: str = "image") -> list[dict[str, Any]]:
    return exchange("Where are the things?", answer, camera)


def with_events(root: Path, events: Sequence[list[dict[str, Any]]]) -> LeRobotDataset:
    """A dataset of one episode with LeRobot's two columns."""
    features = {
        "image": {"dtype": "image", "shape": (*HW, 3)},
        "state": {"dtype": "float32", "shape": (8,)},
        "actions": {"dtype": "float32", "shape": (7,)},
        **{name: {"dtype": "language", "shape": (1,)} for name in TYPES},
    }
    state = libero_states()[18 : 18 + len(events)]
    with DatasetWriter(root, fps=10, robot_type="panda", features=features, annotation_types=TYPES) as writer:
        image = np.zeros((len(events), *HW, 3), np.uint8)
        columns = {"image": image, "state": state, "actions": state[:, :7], EVENTS: events}
        columns[PERSISTENT] = [[]] * len(events)
        writer.add_episode(columns, task=TASK)
    return LeRobotDataset(root)


def facts(dataset: LeRobotDataset, **options: Any) -> list[SceneFacts | None]:
    label_dataset(dataset, LanguageColumns(**options), robot=LIBERO, progress=False, overwrite=True)
    table = FactsTable.load(dataset.root)
    return [table.facts(0, frame) for frame in range(dataset.episodes[0].length)]


def test_answers_about_places_become_facts(tmp_path: Path):
    box = {"label": "blue cup", "bbox_format": "xyxy", "bbox": [0, 0, 80, 90]}
    events = [
        vqa({"detections": [CAN, box]}),
        vqa({"label": "the basket", "point_format": "xy", "point": [120, 45]}),
        vqa({"label": "can", "count": 2}),
        [
            *vqa({"detections": [CAN]}, camera="wrist_image"),
            {"role": "user", "content": "stop", "style": "interjection"},
        ],
        [],
    ]
    boxes, point, *others = facts(with_events(tmp_path / "set", events))
    can, cup = boxes.targets
    assert (can.phrase, cup.phrase, can.offset_m, boxes.camera) == ("the can", "blue cup", None, "base_0_rgb")
    assert can.box_px == pytest.approx((0.1, 0.1, 0.5, 0.2))
    assert can.point_px == pytest.approx((0.3, 0.15))
    assert [(t.phrase, t.point_px, t.box_px) for t in point.targets] == [("the basket", (0.5, 0.75), None)]
    assert others == [None, None, None]


def test_a_phrase_with_two_places_is_left_out_and_counted(tmp_path: Path):
    second = {**CAN, "bbox": [50, 9, 60, 45]}
    other = {**CAN, "label": "basket"}
    dataset = with_events(tmp_path / "set", [vqa({"detections": [CAN, second, other]})])
    assert [t.phrase for t in facts(dataset)[0].targets] == ["the basket"]
    report = json.loads((dataset.root / "labels" / "report.json").read_text(encoding="utf-8"))
    assert "'phrases_with_several_places': 1" in str(report)


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        ({"detections": [{**CAN, "bbox": [16, 9, 332, 45]}]}, {}, r"frame 1: the box of 'can' has the point \[332"),
        ({"detections": [{**CAN, "bbox": [32, 45, 16, 9]}]}, {}, "frame 1: .*top left corner first"),
        ({"detections": [{**CAN, "bbox": [16, 9, 32]}]}, {}, "frame 1: .*must be 4 numbers"),
        ({"detections": [{**CAN, "bbox_format": "xywh"}]}, {}, "frame 1: .*'xywh'; expected 'xyxy'"),
        ({"detections": [CAN]}, {"dialect": "llava"}, r"frame 0: .*outside of the picture \(x 0\.\.1,"),
        ({"detections": [{**CAN, "label": ""}]}, {}, "frame 1: a label must be text"),
        ([1], {}, "frame 1: .*no JSON object"),
    ],
)
def test_bad_answers_are_named(tmp_path: Path, answer: Any, options: dict[str, Any], message: str):
    dataset = with_events(tmp_path / "set", [vqa({"detections": [CAN]}), vqa(answer)])
    with pytest.raises(DatasetError, match=message):
        facts(dataset, **options)


def test_a_dataset_without_the_column_is_refused(tmp_path: Path):
    dataset = LeRobotDataset(write_fake_dataset(tmp_path / "set", episodes=1, frames=3))
    with pytest.raises(DatasetError, match="no column 'language_events'"):
        label_dataset(dataset, LanguageColumns(), robot=LIBERO, progress=False, overwrite=True)


def scene(box: tuple[float, float, float, float] | None) -> SceneFacts:
    block = TargetFacts(phrase="the red block", offset_m=None, grasped=False, box_px=box, point_px=(0.25, 0.5))
    plate = TargetFacts(phrase="the plate", offset_m=None, grasped=False, box_px=box and (0.5, 0.0, 1.0, 0.5))
    return SceneFacts(targets=(block, plate))


def test_labels_are_written_and_read_again(tmp_path: Path):
    root = write_fake_dataset(tmp_path / "set", episodes=2, frames=3)
    told = [scene((0.0, 0.25, 0.5, 0.75)), scene(None), None]
    write_facts(root, {0: told}, robot="libero", frame_description="world axes")
    copy_dataset(root, tmp_path / "copy", language_columns=True)
    copy = LeRobotDataset(tmp_path / "copy")
    first, second, third = (copy.row(frame, [EVENTS])[EVENTS] for frame in range(3))
    question, answer = (row["content"] for row in first)
    assert question == "What are the bounding boxes of the red block and the plate?"
    assert json.loads(answer)["detections"] == [
        {"label": "the red block", "bbox_format": "xyxy", "bbox": [4.0, 0.0, 12.0, 8.0]},
        {"label": "the plate", "bbox_format": "xyxy", "bbox": [0.0, 8.0, 8.0, 16.0]},
    ]
    assert {row["camera"] for row in first} == {"image"}
    assert [row["content"] for row in second] == [
        "Where is the red block?",
        '{"label": "the red block", "point": [8.0, 4.0], "point_format": "xy"}',
    ]
    assert not third
    schema = pq.read_schema(copy.episode(0).data_path)
    assert [schema.field(name).type for name in TYPES] == [*TYPES.values()]
    again = facts(copy)
    assert [t.box_px for t in again[0].targets] == [(0.0, 0.25, 0.5, 0.75), (0.5, 0.0, 1.0, 0.5)]
    assert again[1].targets[0].point_px == (0.25, 0.5)
    with pytest.raises(DatasetError, match="already"):
        copy_dataset(copy.root, tmp_path / "twice", language_columns=True)
    copy_dataset(copy.root, tmp_path / "kept")
    assert LeRobotDataset(tmp_path / "kept").row(0, [EVENTS])[EVENTS] == first


def test_labels_without_places_are_refused(tmp_path: Path):
    root = write_fake_dataset(tmp_path / "set", episodes=1, frames=3)
    with pytest.raises(DatasetError, match="no place in a picture"):
        copy_dataset(root, tmp_path / "copy", language_columns=True)
