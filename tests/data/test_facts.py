"""Facts come back as they were written, and only to the dataset that they are about."""

from __future__ import annotations

import json
from pathlib import Path
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.converters.lerobot import copy_dataset
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.facts import FACTS_PATH, DatasetIdentity, FactsTable, write_facts
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.row_samples import require_rows_of
from inspire_fast.robots import ROBOTS
from tests.data.synthetic import GOLDEN, label, scene, write_dataset

FRAME = "world axes, +x front, +y right, +z up"


def assert_same(left: SceneFacts | None, right: SceneFacts | None) -> None:
    if left is None or right is None:
        assert left is right
        return
    assert len(left.targets) == len(right.targets)
    for a, b in zip(left.targets, right.targets, strict=True):
        assert (a.phrase, a.grasped, a.point_px) == (b.phrase, b.grasped, b.point_px)
        np.testing.assert_array_equal(a.offset_m, b.offset_m)
        assert a.offset_m.dtype == np.float32


def test_round_trip_with_gaps(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set")
    facts = {
        2: [scene(i, targets=3) for i in range(6)],
        0: [scene(0), None, SceneFacts(targets=()), *(scene(i, targets=i - 2) for i in range(3, 7))],
    }
    write_facts(root, facts, robot="libero", frame_description=FRAME)
    table = FactsTable.load(root)
    assert (table.robot, table.frame_description, len(table)) == ("libero", FRAME, 12)
    for episode, frames in facts.items():
        for frame, expected in enumerate(frames):
            assert_same(table.facts(episode, frame), expected)
    assert table.facts(1, 0) is None
    with pytest.raises(IndexError, match="episode 0 with a frame 7"):
        table.facts(0, 7)


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set")
    label(root)
    first = (root / FACTS_PATH).read_bytes()
    label(root)
    assert (root / FACTS_PATH).read_bytes() == first
    assert [p.name for p in (root / "labels").iterdir()] == ["facts.parquet"]


def test_an_episode_s_rows_are_written_as_its_facts_are(tmp_path: Path) -> None:
    """Labels that stay, and those of a copied dataset, are moved as rows: the file is the same to the byte."""
    root, gripper = write_dataset(tmp_path / "set"), {"gripper": np.eye(3, dtype=np.float32)}
    turned = TargetFacts(phrase="a", offset_m=np.ones(3, np.float32), grasped=True, rotations=gripper)
    seen = SceneFacts(targets=(turned, *scene(1).targets), gripper_px=(0.25, 0.75))
    facts = {0: [None, seen, *[SceneFacts(targets=())] * 4, scene(6, targets=3)], 2: [scene(i) for i in range(6)]}
    first = write_facts(root, facts, robot="libero", frame_description=FRAME).read_bytes()
    table = FactsTable.load(root)
    rows = {number: table.episode(number) for number in facts}
    assert write_facts(root, rows, robot="libero", frame_description=FRAME).read_bytes() == first
    assert (table.episode(1).frames, len(table.episode(1).table)) == (5, 0)
    assert pq.ParquetFile(root / FACTS_PATH).num_row_groups == 1


def test_labels_of_another_dataset_are_refused(tmp_path: Path) -> None:
    root, other = write_dataset(tmp_path / "set"), write_dataset(tmp_path / "other", (7, 6, 5))
    label(root)
    shutil.copytree(root / "labels", other / "labels")
    with pytest.raises(
        DatasetError, match=r"facts\.parquet labels another dataset \(3 episodes, 18 frames, \w+\).*\(3 ep"
    ):
        FactsTable.load(other)
    write_dataset(root, (7, 5, 7), overwrite=True)
    with pytest.raises(DatasetNotFoundError, match="has no labels"):
        FactsTable.load(root)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"fps": 20.0}, True),  # LeRobot's tools write 20 so
        ({"data_files_size_in_mb": 200}, True),
        ({"robot_type": "franka"}, True),
        ({"splits": {"train": "0:1"}}, True),
        ({"fps": 10}, False),
        ({"features": {"state": {"dtype": "float32", "shape": [9]}}}, False),
    ],
)
def test_labels_stay_valid_when_nothing_of_the_frames_changes(tmp_path: Path, change: dict, same: bool) -> None:
    root = write_dataset(tmp_path / "set")
    label(root)
    info = root / "meta" / "info.json"
    stored = json.loads(info.read_text(encoding="utf-8"))
    stored |= {"features": {**stored["features"], **change.get("features", {})}}
    info.write_text(json.dumps({**stored, **{k: v for k, v in change.items() if k != "features"}}), encoding="utf-8")
    if same:
        assert len(FactsTable.load(root)) > 0
    else:
        with pytest.raises(DatasetError, match="labels another dataset"):
            FactsTable.load(root)


def test_labels_of_other_rows_of_the_same_shape_are_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set")
    label(root)
    dataset = LeRobotDataset(root)
    made_from = FactsTable.load(root).made_from
    assert list(made_from) == ["0", "1", "2"]
    assert "state" in made_from["1"]
    assert "timestamp" not in made_from["1"]
    require_rows_of(dataset, made_from)
    require_rows_of(dataset, {"0": {**made_from["0"], "gone": "0123"}})  # a column that nobody has now
    path = dataset.episodes[1].data_path
    table = pq.read_table(path)
    states = table["state"].to_pylist()
    states[dataset.episodes[1].file_row][0] += 0.1
    kind = table.schema.field("state").type
    pq.write_table(table.set_column(table.column_names.index("state"), "state", pa.array(states, kind)), path)
    wrong = "made from other rows: 'state' of episode 1 has other numbers now"
    changed = LeRobotDataset(root)
    with pytest.raises(DatasetError, match=wrong):
        ChunkSource(changed, FactsTable.load(root), robot=ROBOTS["libero"], horizon=2)
    with pytest.raises(DatasetError, match=wrong):
        copy_dataset(root, tmp_path / "copy")
    require_rows_of(changed.without({1: "damaged"}), made_from)


def test_labels_of_earlier_versions_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_dataset(tmp_path / "set")
    with monkeypatch.context() as patch:
        patch.setattr(DatasetIdentity, "of", DatasetIdentity.of_earlier_versions)
        label(root)
    assert len(FactsTable.load(root)) > 0


def test_refusals(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set")
    with pytest.raises(DatasetError, match=r"episode 3.*episodes 0\.\.2"):
        write_facts(root, {3: [scene(0)]}, robot="libero", frame_description=FRAME)
    with pytest.raises(DatasetError, match=r"episode 1 cover 4 frames.*has 5"):
        write_facts(root, {1: [scene(0)] * 4}, robot="libero", frame_description=FRAME)
    assert not (root / FACTS_PATH).exists()
    (root / "labels").mkdir(exist_ok=True)
    shutil.copy(GOLDEN / "lerobot_v3" / "image" / "meta" / "tasks.parquet", root / FACTS_PATH)
    with pytest.raises(DatasetError, match=r"not a facts file.*task_index"):
        FactsTable.load(root)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_dataset(tmp_path / "set")
    label(root)
    first = (root / FACTS_PATH).read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("inspire_fast.data.facts.pq.ParquetWriter.write_table", full_disk)
    with pytest.raises(OSError, match="No space"):
        label(root)
    assert (root / FACTS_PATH).read_bytes() == first
    assert [p.name for p in (root / "labels").iterdir()] == ["facts.parquet"]


def test_rotations_of_frames_come_back(tmp_path: Path) -> None:
    """The gripper's and the camera's frame, where a producer knows them; files from before hold none."""
    root = write_dataset(tmp_path / "set", (3,))
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)

    def target(phrase: str, **rotations: np.ndarray) -> TargetFacts:
        return TargetFacts(phrase=phrase, offset_m=np.ones(3, np.float32), grasped=False, rotations=rotations)

    scenes = [
        SceneFacts(targets=(target("a", gripper=turn, camera=turn.T), target("b"))),
        None,
        SceneFacts(targets=(target("a", gripper=-turn),)),
    ]
    path = write_facts(root, {0: scenes}, robot="libero", frame_description="world axes")
    table = FactsTable.load(root)
    first = table.facts(0, 0)
    assert first.targets[0].rotations.keys() == {"camera", "gripper"}
    np.testing.assert_array_equal(first.targets[0].rotations["gripper"], turn)
    np.testing.assert_array_equal(first.targets[0].rotations["camera"], turn.T)
    assert first.targets[1].rotations == {}
    np.testing.assert_array_equal(table.facts(0, 2).targets[0].rotations["gripper"], -turn)
    older = pq.read_table(path).drop_columns(LATER)
    pq.write_table(older, path)
    assert FactsTable.load(root).facts(0, 0).targets[0].rotations == {}


def test_the_gripper_point_comes_back_and_older_files_lack_it(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (3,))
    scenes = [
        SceneFacts(targets=scene(0).targets, gripper_px=(0.25, 0.75)),
        SceneFacts(targets=(), gripper_px=(0, 1)),
        scene(2),
    ]
    path = write_facts(root, {0: scenes}, robot="libero", frame_description=FRAME)
    assert [FactsTable.load(root).facts(0, frame).gripper_px for frame in range(3)] == [(0.25, 0.75), (0, 1), None]
    pq.write_table(pq.read_table(path).drop_columns(LATER[1:]), path)
    assert FactsTable.load(root).facts(0, 0).gripper_px is None


def test_phrases_are_read_as_numbers_of_distinct_texts(tmp_path: Path) -> None:
    """As plain text, the phrases of 140 million rows exceed the 2 GiB of one arrow array."""
    root = write_dataset(tmp_path / "set")
    label(root)
    table = FactsTable.load(root)
    phrases = table._columns["phrase"]
    assert pa.types.is_dictionary(phrases.type)
    assert len(phrases.dictionary) < len(table)


def test_rows_in_any_order_are_read(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set")
    path = write_facts(root, {0: [scene(i) for i in range(7)], 2: [scene(9)] * 6}, robot="libero", frame_description="")
    stored = pq.read_table(path)
    before = FactsTable.load(root)
    pq.write_table(stored.take(np.random.default_rng(0).permutation(len(stored))), path)
    after = FactsTable.load(root)
    assert len(after) == len(before) == 13
    for episode, frame in ((0, 0), (0, 6), (2, 3)):
        assert_same(after.facts(episode, frame), before.facts(episode, frame))


PICTURE = {
    "trace_px": np.array([[0.5, 0.25], [0.75, 1.0]], np.float32),
    "camera": "base_0_rgb",
    "quality": "Primary",
}
LATER = ["rotations", "gripper_px", "box_px", "trace_px", "camera", "quality"]


def in_picture(phrase: str = "the can", **changes: object) -> TargetFacts:
    """A target of a source that knows only the picture."""
    known = {"point_px": (0.25, 0.5), "box_px": (0.125, 0.25, 0.5, 0.75)}
    return TargetFacts(phrase=phrase, offset_m=None, grasped=False, **{**known, **changes})


def test_places_in_pictures_come_back(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (4,))
    scenes = [
        SceneFacts(targets=(in_picture(), *scene(0).targets), **PICTURE),
        None,
        SceneFacts(targets=(in_picture(box_px=None),), camera="left_wrist_0_rgb"),
        SceneFacts(targets=(), **PICTURE),
    ]
    first = write_facts(root, {0: scenes}, robot="libero", frame_description=FRAME).read_bytes()
    table = FactsTable.load(root)
    assert (table.cameras, table.in_pictures) == ({"base_0_rgb", "left_wrist_0_rgb"}, True)
    for frame, expected in enumerate(scenes):
        found = table.facts(0, frame)
        if expected is None or found is None:
            assert expected is found
            continue
        assert [(t.point_px, t.box_px) for t in found.targets] == [(t.point_px, t.box_px) for t in expected.targets]
        assert (found.camera, found.quality) == (expected.camera, expected.quality)
        assert (found.trace_px is None) == (expected.trace_px is None)
        if expected.trace_px is not None:
            np.testing.assert_array_equal(found.trace_px, expected.trace_px)
            assert found.trace_px.dtype == np.float32
    assert table.facts(0, 0).targets[0].offset_m is None
    with pytest.raises(ValueError, match="have no offset in metres"):
        table.facts(0, 0).targets[0].offset_in("base")
    assert write_facts(root, {0: table.episode(0)}, robot="libero", frame_description=FRAME).read_bytes() == first


def test_files_of_every_earlier_version_are_read(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (3,))
    path = write_facts(root, {0: [scene(i) for i in range(3)]}, robot="libero", frame_description=FRAME)
    for column in reversed(LATER):
        pq.write_table(pq.read_table(path).drop_columns([column]), path)
        found = FactsTable.load(root).facts(0, 0)
        assert_same(found, scene(0))
        assert (found.quality, found.targets[0].rotations) == (None, {})
    assert (found.gripper_px, found.trace_px, found.camera, found.targets[0].box_px) == (None, None, None, None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"point_px": (0.5, 1.2)}, r"point_px of 'the can' must be \(y, x\), fractions 0\.\.1.*got \(0\.5, 1\.2\)"),
        ({"point_px": (float("nan"), 0.2)}, "point_px"),
        ({"box_px": (0.5, 0.25, 0.125, 0.75)}, r"top left corner first.*got \(0\.5, 0\.25, 0\.125, 0\.75\)"),
        ({"box_px": (0.1, 0.5, 0.2, 0.5)}, "top left corner first"),
        ({"box_px": (0.1, -0.1, 0.2, 0.5)}, r"fractions 0\.\.1"),
        ({"box_px": (10, 20, 30, 40)}, r"fractions 0\.\.1.*got \(10, 20, 30, 40\)"),
    ],
)
def test_places_outside_of_the_picture_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        in_picture(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"trace_px": np.array([[0.5, 0.2], [0.5, -0.01]], np.float32)}, r"point 1 is \(0\.5, -0\.0"),
        ({"trace_px": np.zeros((0, 2), np.float32)}, r"float32 \[k, 2\]"),
        ({"trace_px": np.zeros((2, 2))}, "got float64"),
        ({"gripper_px": (1.5, 0.5)}, "gripper_px"),
        ({"camera": ""}, "got an empty text"),
    ],
)
def test_wrong_facts_of_a_scene_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneFacts(targets=(), **wrong)


def test_damaged_places_name_file_episode_and_frame(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (2,))
    path = write_facts(root, {0: [SceneFacts(targets=(in_picture(),))] * 2}, robot="libero", frame_description=FRAME)
    stored = pq.read_table(path)
    boxes = pa.array([[0.125, 0.25, 0.5, 0.75], [0.5, 0.25, 0.125, 0.75]], pa.list_(pa.float32(), 4))
    pq.write_table(stored.set_column(stored.column_names.index("box_px"), "box_px", boxes), path)
    assert FactsTable.load(root).facts(0, 0) is not None
    with pytest.raises(DatasetError, match=r"facts\.parquet, episode 0, frame 1: .*top left corner first"):
        FactsTable.load(root).facts(0, 1)


def test_labels_of_a_camera_that_the_robot_lacks_are_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (2,))
    wrist = SceneFacts(targets=(in_picture(),), camera="right_wrist_0_rgb")
    write_facts(root, {0: [wrist] * 2}, robot="libero", frame_description=FRAME)
    with pytest.raises(DatasetError, match=r"\['right_wrist_0_rgb'\]; robot 'libero' has the cameras \['base_0_rgb'"):
        ChunkSource(LeRobotDataset(root), FactsTable.load(root), robot=ROBOTS["libero"], horizon=1)


def test_places_are_turned_for_a_robot_of_another_orientation(tmp_path: Path) -> None:
    """`libero` turns pictures by 180 degrees, `libero_front` flips them: between them, left and right change places."""
    root = write_dataset(tmp_path / "set", (2,))
    told = SceneFacts(targets=(in_picture(),), gripper_px=(0.25, 0.25), **PICTURE)
    write_facts(root, {0: [told] * 2}, robot="libero", frame_description=FRAME)
    table = FactsTable.load(root)
    same = ChunkSource(LeRobotDataset(root), table, robot=ROBOTS["libero"], horizon=1)[0].facts
    assert same.targets[0].box_px == in_picture().box_px
    mirrored = ChunkSource(LeRobotDataset(root), table, robot=ROBOTS["libero_front"], horizon=1)[0].facts
    assert mirrored.targets[0].box_px == (0.125, 0.25, 0.5, 0.75)
    assert (mirrored.targets[0].point_px, mirrored.gripper_px) == ((0.25, 0.5), (0.25, 0.75))
    np.testing.assert_array_equal(mirrored.trace_px, [[0.5, 0.75], [0.75, 0]])
