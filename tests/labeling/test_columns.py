"""Label columns of public datasets, written here after their published layouts: no file of theirs is at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import os
from pathlib import Path
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.labeling.columns import InternData, RoboInter, fractions
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.labeling.pickled_arrays import LARGEST_BYTES, load_array
from inspire_fast.robots import ROBOTS
from tests.labeling.datasets import libero_states

LIBERO = ROBOTS["libero"]
HW = (180, 320)
LENGTH = 3
TASK = "pick up the can and place it in the basket"
RECORD = np.dtype(
    [("semanticId", "<u4"), *((n, "<i4") for n in ("x_min", "y_min", "x_max", "y_max")), ("occlusionRatio", "<f4")]
)


def with_columns(root: Path, columns: Mapping[str, Sequence[str | bytes]]) -> LeRobotDataset:
    """A dataset of one episode of three frames with further columns of texts or bytes."""
    features = {
        "image": {"dtype": "image", "shape": (*HW, 3)},
        "state": {"dtype": "float32", "shape": (8,), "names": None},
        "actions": {"dtype": "float32", "shape": (7,), "names": None},
    }
    state = libero_states()[18 : 18 + LENGTH]
    with DatasetWriter(root, fps=10, robot_type="droid", features=features) as writer:
        image = np.zeros((LENGTH, *HW, 3), np.uint8)
        writer.add_episode({"image": image, "state": state, "actions": state[:, :7]}, task=TASK)
    path = LeRobotDataset(root).episodes[0].data_path
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    info = root / "meta" / "info.json"
    stored = json.loads(info.read_text(encoding="utf-8"))
    stored["features"] |= {name: {"dtype": "string", "shape": [1], "names": None} for name in columns}
    info.write_text(json.dumps(stored), encoding="utf-8")
    return LeRobotDataset(root)


def facts(dataset: LeRobotDataset, producer: RoboInter | InternData) -> list[SceneFacts | None]:
    label_dataset(dataset, producer, robot=LIBERO, progress=False, overwrite=True)
    table = FactsTable.load(dataset.root)
    return [table.facts(0, frame) for frame in range(LENGTH)]


def robo_inter(scale: float = 1.0, **changes: Sequence[str]) -> dict[str, Sequence[str]]:
    """Columns whose pixels are multiplied by `scale`; the last frame is not annotated."""

    def text(*points: tuple[float, float]) -> list[str]:
        return [json.dumps([[x * scale, y * scale] for x, y in points])] * 2 + [""]

    columns: dict[str, Sequence[str]] = {
        "annotation.object_box": text((32, 18), (64, 90)),
        "annotation.placement_proposal": text((160, 90), (320, 180)),
        "annotation.gripper_box": text((0, 0), (64, 36)),
        "annotation.trace": text(*((32 + 16 * n, 18) for n in range(1, 11))),
        "Q_annotation.object_box": ["Primary", "Secondary", ""],
    }
    return {**columns, **changes}


def test_robo_inter_s_texts_become_facts(tmp_path: Path):
    first, second, third = facts(with_columns(tmp_path / "set", robo_inter()), RoboInter(points=4))
    can, basket = first.targets
    assert (can.phrase, basket.phrase, can.offset_m) == ("the can", "the basket", None)
    assert can.box_px == pytest.approx((0.1, 0.1, 0.5, 0.2))
    assert can.point_px == pytest.approx((0.3, 0.15))
    assert basket.box_px == (0.5, 0.5, 1, 1)
    assert (first.camera, first.quality, second.quality, third) == ("base_0_rgb", "Primary", "Secondary", None)
    assert first.gripper_px == pytest.approx((0.1, 0.1))
    np.testing.assert_allclose(first.trace_px, [[0.1, 0.1 + 0.125 * n] for n in range(1, 5)], atol=1e-6)


def test_quality_decides_what_counts(tmp_path: Path):
    dataset = with_columns(tmp_path / "set", robo_inter())
    first, second, _ = facts(dataset, RoboInter(quality="Primary"))
    assert [t.phrase for t in first.targets] == ["the can", "the basket"]
    assert [t.phrase for t in second.targets] == ["the basket"]  # whose quality nobody states
    assert second.quality is None


def test_three_dialects_mean_the_same(tmp_path: Path):
    pixels = facts(with_columns(tmp_path / "a", robo_inter()), RoboInter())[0]
    resized = facts(
        with_columns(tmp_path / "b", robo_inter(scale=1.5)), RoboInter(dialect="smart_resize", resized_hw=(270, 480))
    )[0]
    assert resized.targets[0].box_px == pytest.approx(pixels.targets[0].box_px)
    np.testing.assert_allclose(resized.trace_px, pixels.trace_px, atol=1e-6)
    part = fractions(np.array([[0.1, 0.5]]), "llava", HW, "x")
    np.testing.assert_allclose(part, [[0.5, 0.1]])  # y first
    np.testing.assert_allclose(fractions(np.array([[32, 90]]), "origin", HW, "x"), part)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"dialect": "llava"}, r"frame 0: .*\[32\.0, 18\.0\], outside of the picture \(x 0\.\.1"),
        ({"annotation.object_box": ["[[0.1, 0.1], [0.2, 0.5]]"] * 3}, {}, "frame 0: .*look like fractions"),
        ({"annotation.object_box": ["", "[[64, 90], [32, 18]]", ""]}, {}, "frame 1: .*top left corner first"),
        ({"annotation.object_box": ["[[1, 2], [400, 18]]"] * 3}, {}, r"frame 0: .*\[400\.0, 18\.0\], outside"),
        ({"annotation.trace": ["[1, 2]"] * 3}, {}, r"frame 0: 'annotation\.trace' must be a list of points"),
        ({"annotation.trace": ["{"] * 3}, {}, "frame 0: .*no JSON"),
        ({"annotation.object_box": ["[[1, 2]]"] * 3}, {}, "frame 0: .*two corners"),
        ({"Q_annotation.object_box": ["Best"] * 3}, {}, "'Best'; expected one of"),
    ],
)
def test_what_does_not_fit_names_its_frame(tmp_path: Path, changes: dict, options: dict, message: str):
    if "Q_annotation.object_box" not in changes:
        changes = {**changes, "Q_annotation.object_box": ["Primary"] * 3}
    dataset = with_columns(tmp_path / "set", robo_inter(**changes))
    with pytest.raises(DatasetError, match=r"set, episode 0: .*" + message):
        label_dataset(dataset, RoboInter(**options), robot=LIBERO, progress=False)


def test_options_and_columns_that_do_not_fit(tmp_path: Path):
    with pytest.raises(ValueError, match="belongs to the dialect 'smart_resize'"):
        RoboInter(dialect="origin", resized_hw=(1, 2))
    dataset = with_columns(tmp_path / "set", {})
    with pytest.raises(DatasetError, match="none of RoboInter's columns"):
        label_dataset(dataset, RoboInter(), robot=LIBERO, progress=False)
    with pytest.raises(DatasetError, match="lacks InternData's columns"):
        label_dataset(dataset, InternData(view="head"), robot=LIBERO, progress=False)
    full = with_columns(tmp_path / "full", robo_inter())
    with pytest.raises(DatasetError, match="no camera 'right_wrist_0_rgb'"):
        label_dataset(full, RoboInter(camera="right_wrist_0_rgb"), robot=LIBERO, progress=False)


def intern_data(**changes: Sequence[str | bytes]) -> dict[str, Sequence[str | bytes]]:
    """Three things; the basket is hidden in the last frame. The gripper moves to the right by 32 px per frame."""
    things = [(3, 32, 18, 64, 90, 0.1), (5, 160, 90, 320, 180, 0.2), (8, 0, 0, 10, 10, 0.0)]
    hidden = [things[0], (5, 160, 90, 320, 180, 0.95), things[2]]
    tools = [np.concatenate([[[160, 0]], np.tile([[32.0 * n, 18.0]], (10, 1))]) for n in range(LENGTH)]
    labels = json.dumps({"3": {"class": "can_17"}, "5": {"class": "basket_2"}, "8": {"class": "table"}})
    columns: dict[str, Sequence[str | bytes]] = {
        "annotation.head.bbox2d_tight": [pickle.dumps(np.array(t, RECORD)) for t in (things, things, hidden)],
        "annotation.head.bbox2d_tight_id2labels": [labels] * LENGTH,
        "annotation.head.tcp_2d_trace": [pickle.dumps(tool) for tool in tools],
        "annotation.pick_obj_uid": ["can_17"] * LENGTH,
        "annotation.place_obj_uid": ["basket_2"] * LENGTH,
    }
    return {**columns, **changes}


def test_intern_data_s_arrays_become_facts(tmp_path: Path):
    first, second, third = facts(with_columns(tmp_path / "set", intern_data()), InternData(view="head", points=2))
    can, basket = first.targets
    assert can.box_px == pytest.approx((0.1, 0.1, 0.5, 0.2))
    assert (can.phrase, basket.phrase, basket.box_px) == ("the can", "the basket", (0.5, 0.5, 1, 1))
    assert [t.phrase for t in third.targets] == ["the can"]
    assert second.gripper_px == pytest.approx((0.1, 0.1))
    np.testing.assert_allclose(first.trace_px, [[0.1, 0.1], [0.1, 0.2]], atol=1e-6)  # its places in the coming frames
    assert third.trace_px is None


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (os.system, (f"touch {self.path}",))


def test_a_hostile_pickle_runs_nothing(tmp_path: Path):
    """`pickle.loads` would run its command; here it is refused, and the dataset's episode is named."""
    trap = tmp_path / "sprung"
    hostile = pickle.dumps([Hostile(trap)])
    with pytest.raises(ValueError, match=r"names posix\.system; only NumPy arrays are read"):
        load_array(hostile)
    dataset = with_columns(tmp_path / "set", intern_data(**{"annotation.head.bbox2d_tight": [hostile] * LENGTH}))
    with pytest.raises(DatasetError, match=r"episode 0: frame 0: .*posix\.system"):
        label_dataset(dataset, InternData(view="head"), robot=LIBERO, progress=False)
    assert not trap.exists()
    pickle.loads(hostile)
    assert trap.exists()  # the pickle is what it is said to be


@pytest.mark.parametrize(
    "array", [np.zeros((11, 2)), np.zeros(2, RECORD), np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::2]]
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(array: np.ndarray, protocol: int):
    content = pickle.dumps(array, protocol=protocol)
    if protocol < 3:
        with pytest.raises(ValueError, match=r"_codecs\.encode"):
            load_array(content)
        return
    np.testing.assert_array_equal(load_array(content), array)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1}, "holds dict, not an array"),
        (np.array([{}], object), "Python objects"),
        (np.float64(3), r"names numpy\._core\.multiarray\.scalar"),
        (3.0, "holds float, not an array"),
        (eval, r"names builtins\.eval"),
    ],
)
def test_other_values_are_refused(value: object, message: str):
    with pytest.raises(ValueError, match=message):
        load_array(pickle.dumps(value, protocol=4))


def test_damaged_and_enormous_pickles_are_refused():
    with pytest.raises(ValueError, match="no readable pickle"):
        load_array(pickle.dumps(np.zeros(3), protocol=4)[:-9])
    with pytest.raises(ValueError, match="no readable pickle"):
        load_array(b"")
    with pytest.raises(ValueError, match="at most"):
        load_array(b"\0" * (LARGEST_BYTES + 1))
