"""LLaVA's rows, written here after their published layouts: no file of theirs is at hand."""

from __future__ import annotations

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
import pytest

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.chunks import ChunkConfig, ChunkSource
from inspire_fast.data.converters.base import Storage
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import load_meta
from inspire_fast.data.robot_columns import PICTURE, is_of_pictures
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.labeling.llava import convert_llava
from inspire_fast.labeling.llava_rows import LlavaOptions, parse_wording, qwen_size
from inspire_fast.robots import ROBOTS

HW = (120, 160)
BOX, POINT, NEXT = "Give the bounding box for the apple.", "Point to the apple.", "What comes next?"
WORDINGS = (
    "box: Give the bounding box for {object}.",
    "point: Point to {object}.",
    "trace: Your task is {instruction}. *predict the trajectory that the end effector should take*",
    "marked: What comes next?",
)
PATH = "Your task is pick up the can. Based on it, predict the trajectory that the end effector should take, as tuples."


def row(*turns: str, **fields: Any) -> dict[str, Any]:
    said = [{"from": ("human", "gpt")[n % 2], "value": turn} for n, turn in enumerate(turns)]
    said[0]["value"] = "<image>\n" + said[0]["value"]
    return {"id": 1, "image": "a.png", "conversations": said, **fields}


def written(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl") -> Path:
    """A file of rows beside the picture `a.png`, whose left half is red."""
    folder.mkdir(exist_ok=True)
    picture = np.zeros((*HW, 3), np.uint8)
    picture[:, : HW[1] // 2, 0] = 255
    Image.fromarray(picture).save(folder / "a.png")
    text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def options(folder: Path, **changes: Any) -> LlavaOptions:
    # The pictures' own size, so that places stay as they are.
    given = {"pictures": folder, "dialect": "origin", "wordings": WORDINGS, "picture_hw": HW, "points": 2}
    return LlavaOptions(**{**given, **changes})


def facts(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl", **changes: Any) -> list[tuple[str, SceneFacts]]:
    """(instruction, facts) of each sample."""
    source = written(folder, rows, name)
    convert_llava(source, folder / "set", options=options(folder, **changes), storage=Storage(overwrite=True))
    dataset, table = LeRobotDataset(folder / "set"), FactsTable.load(folder / "set")
    found = [(dataset.task(n), table.facts(n, 0)) for n in range(len(dataset))]
    return [(task, scene) for task, scene in found if scene is not None]


def test_answers_become_facts(tmp_path: Path):
    rows = [
        row(BOX, "[[32, 30, 64, 90]]", POINT, "[(40, 60)]"),
        row(PATH, "[(0, 0), (80, 0), (160, 0)]"),
        row(NEXT, '{"subtask": "Place the can<box>[[0, 0, 80, 60]]</box> on the plate"}'),
        row(BOX, '{"current_bbox": [[32, 30], [64, 90]]}', "Point to the mug.", "[[8, 12]]"),
    ]
    apple, path, marked, alone, mug = facts(tmp_path, rows)
    (target,) = apple[1].targets
    assert (apple[0], target.phrase, target.offset_m) == ("find the apple", "the apple", None)
    assert target.box_px == pytest.approx((0.25, 0.2, 0.75, 0.4))  # y first
    assert target.point_px == pytest.approx((0.5, 0.25))
    assert (path[0], path[1].targets) == ("pick up the can", ())
    np.testing.assert_allclose(path[1].trace_px, [[0, 0.5], [0, 1]], atol=1e-6)
    assert marked[0] == "Place the can on the plate"
    assert [(t.phrase, t.box_px) for t in marked[1].targets] == [("the can", (0, 0, 0.5, 0.5))]
    assert (alone[0], mug[0]) == ("find the apple", "find the mug")  # without an instruction, one sample each
    assert alone[1].targets[0].point_px == pytest.approx((0.5, 0.3))  # the middle of the box
    assert mug[1].targets[0].point_px == pytest.approx((0.1, 0.05))


def test_three_dialects_mean_the_same(tmp_path: Path):
    same = [
        facts(tmp_path / "a", [row(BOX, "[32, 30, 64, 90]", h=120, w=160)]),
        facts(tmp_path / "b", [row(BOX, "[0.2, 0.25, 0.4, 0.75]")], name="rows.json", dialect="llava"),
        facts(tmp_path / "c", [row(BOX, "[16, 15, 32, 45]", new_h=60, new_w=80)], dialect="smart_resize"),
        facts(tmp_path / "d", [row(BOX, "[16, 15, 32, 45]")], dialect="smart_resize", resized_hw=(60, 80)),
        facts(tmp_path / "e", [row(BOX, "[22.4, 21, 44.8, 63]")], dialect="smart_resize", max_pixels=11760),
    ]
    for found in same:
        assert found[0][1].targets[0].box_px == pytest.approx((0.25, 0.2, 0.75, 0.4))
    assert qwen_size((480, 640), 50176) == (168, 252)
    assert [qwen_size((100, 100), 50176), qwen_size((120, 160), 11760)] == [(112, 112), (84, 112)]


@pytest.mark.parametrize(
    ("bad", "changes", "message"),
    [
        (row(BOX, "[32, 30, 64, 190]"), {}, r"\[64\.0, 190\.0\], outside of the picture \(x 0\.\.160, y 0\.\.120"),
        (row(BOX, "[0.2, 0.25, 0.4, 0.75]"), {}, "look like fractions"),
        (row(BOX, "[32, 30, 64, 90]"), {"dialect": "llava"}, r"outside of the picture \(x 0\.\.1, y"),
        (row(BOX, "[64, 90, 32, 30]"), {}, "top left corner first"),
        (row(BOX, "[32, 30, 64, 90]", h=60, w=80), {}, r"a picture of \(60, 80\) px.*has \(120, 160\)"),
        (row(BOX, "[32, 30, 64, 90]", image="b.png"), {}, r"b\.png does not exist"),
        (row(BOX, "[32, 30, 64, 90]", image=["a.png", "a.png"]), {}, "needs one picture"),
        (row(BOX, "[32, 30, 64, 90]"), {"dialect": "smart_resize"}, "needs the size of the resized picture"),
        (row(BOX, "[16, 15, 32, 45]", new_h=60, new_w=81), {"dialect": "smart_resize", "resized_hw": (60, 80)}, "81"),
        (row(BOX, "It is on the left."), {}, "expected numbers x, y in brackets"),
        (row(BOX, "[[0, 0, 9, 9], [20, 20, 30, 30]]"), {}, "two corners of one thing"),
        (row(POINT, "[(1, 2), (3, 4)]"), {}, "2 points for one target"),
        (row("How many apples are there?", "Two."), {}, "fits none of the 4 wordings"),
        (row(BOX, "[32, 30, 64, 90]", BOX, "[32, 30, 64, 91]"), {}, "two places of 'the apple'"),
        (row(NEXT, "Place the can<box>[0, 0, 8, 6]</box> on the plate <box>[0, 0"), {}, "must be pairs"),
        (row(NEXT, "Place<box>[0, 0, 8, 6]</box> the can on the plate"), {}, "behind none of the phrases"),
        (row(NEXT, "Thank you"), {}, "No target found"),
        ({"image": "a.png"}, {}, "no 'conversations' in the row"),
        (row(BOX), {}, "'human' and 'gpt' in turn"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, bad: Any, changes: dict[str, Any], message: str):
    good = row(BOX, "[0, 0, 1, 1]", new_h=60, new_w=80)
    source = written(tmp_path, [good, bad])
    with pytest.raises(DatasetError, match=rf"rows\.jsonl, line 2.*{message}"):
        convert_llava(source, tmp_path / "set", options=options(tmp_path, **changes))
    assert not (tmp_path / "set").exists()


def test_bad_rows_can_be_left_out_and_are_listed(tmp_path: Path):
    source = written(tmp_path, [row("What is this?", "A picture."), row(BOX, "[32, 30, 64, 90]")])
    convert_llava(source, tmp_path / "set", options=options(tmp_path), storage=Storage(skip_bad_episodes=True))
    skipped = json.loads((tmp_path / "set" / "conversion.json").read_text(encoding="utf-8"))["skipped"]
    assert "fits none" in skipped["rows.jsonl, line 1"]
    assert len(FactsTable.load(tmp_path / "set")) == 1


def test_a_row_that_is_no_row_stops_the_conversion(tmp_path: Path):
    source = written(tmp_path, [[1]])
    with pytest.raises(DatasetError, match=r"rows\.jsonl, line 1: expected an object"):
        convert_llava(source, tmp_path / "set", options=options(tmp_path))


def test_several_points_give_the_one_in_their_middle(tmp_path: Path):
    rows = [row(POINT, "[(0, 0), (40, 60), (72, 108)]")]
    assert facts(tmp_path, rows, several_points="middle")[0][1].targets[0].point_px == pytest.approx((0.5, 0.25))


def test_places_move_with_the_padded_picture(tmp_path: Path):
    ((_, scene),) = facts(tmp_path, [row(BOX, "[0, 0, 80, 120]")], picture_hw=(64, 64))
    box = np.array(scene.targets[0].box_px) * 64
    np.testing.assert_allclose(box, [8, 0, 56, 32], atol=1e-3)
    picture = LeRobotDataset(tmp_path / "set").row(0, [PICTURE])[PICTURE]
    red = np.argwhere(picture[..., 0] > 128)
    np.testing.assert_allclose([*red.min(axis=0), *(red.max(axis=0) + 1)], [8, 0, 56, 32], atol=1)


def test_a_camera_may_be_called_picture(tmp_path: Path):
    """A robot's dataset with such a column is no dataset of single pictures: its actions are trained."""
    root = write_fake_dataset(tmp_path / "set")
    info = root / "meta" / "info.json"
    info.write_text(info.read_text(encoding="utf-8").replace('"image": {', '"picture": {'), encoding="utf-8")
    assert PICTURE in load_meta(root).info["features"]
    assert not is_of_pictures(load_meta(root))


def test_pictures_are_samples_of_any_robot_without_actions(tmp_path: Path):
    facts(tmp_path, [row(BOX, "[32, 30, 64, 90]")])
    dataset = LeRobotDataset(tmp_path / "set")
    for name in ("libero", "libero_front", "droid"):  # whose pictures are turned differently; these never are
        table = FactsTable.load(tmp_path / "set")
        source = ChunkSource(dataset, table, robot=ROBOTS[name], horizon=4, config=ChunkConfig())
        sample = source[0]
        assert (sample.actions, [*sample.observation.images]) == (None, ["base_0_rgb"])
        assert sample.facts is not None
        assert sample.facts.targets[0].box_px == pytest.approx((0.25, 0.2, 0.75, 0.4))
    with pytest.raises(DatasetError, match="no actions"):
        source.chunks()


@pytest.mark.parametrize(
    ("wording", "message"),
    [
        ("boxes: {object}", "box"),
        ("box: Where is it?", "must hold {object}"),
        ("trace: the path*", "must hold {instruction}"),
        ("point:", "kind: what the person says"),
        ("box: {object} or {object}", "twice"),
    ],
)
def test_wordings_are_checked(wording: str, message: str):
    with pytest.raises(ValueError, match=message):
        parse_wording(wording)


def test_sizes_belong_to_their_dialect(tmp_path: Path):
    with pytest.raises(ValueError, match="belong to the dialect 'smart_resize'"):
        options(tmp_path, max_pixels=50176)
