"""From clicks to traces: a dataset whose pictures show a dot where a known camera sees the gripper."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess

import numpy as np
import pytest

from inspire_fast.commands.label_dataset import label
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable, write_facts
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.labeling.calibrated import Traces
from inspire_fast.labeling.calibration import PinholeCamera
from inspire_fast.labeling.clicks import Calibrate
from tests.labeling.test_calibration import camera_over_the_table, episodes

HW = (120, 160)
LENGTH = 30
CLOSED = slice(12, 20)


def small_camera() -> PinholeCamera:
    large = camera_over_the_table()
    return PinholeCamera(
        rotation=large.rotation, translation_m=large.translation_m, focal_px=large.focal_px / 4, picture_hw=HW
    )


@pytest.fixture
def dotted(tmp_path: Path) -> LeRobotDataset:
    """Four episodes; in each picture a white dot is where the gripper is."""
    points, _ = episodes(frames=LENGTH)
    features = {
        "image": {"dtype": "image", "shape": (*HW, 3)},
        "state": {"dtype": "float32", "shape": (8,), "names": None},
        "actions": {"dtype": "float32", "shape": (7,), "names": None},
    }
    with DatasetWriter(tmp_path / "set", fps=20, robot_type="panda", features=features) as writer:
        for path in points.reshape(-1, LENGTH, 3):
            state = np.zeros((LENGTH, 8), np.float32)
            state[:, :3], state[:, 6], state[:, 7] = path, 0.04, -0.04
            state[CLOSED, 6:] = 0.01, -0.01
            image = np.zeros((LENGTH, *HW, 3), np.uint8)
            for picture, (x, y) in zip(image, small_camera().pixels(path), strict=True):
                picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 255
            writer.add_episode({"image": image, "state": state, "actions": state[:, :7]}, task="pick up the can")
    return LeRobotDataset(tmp_path / "set")


def detect(dataset: LeRobotDataset, path: Path, *, hw: tuple[int, int] = HW) -> Path:
    """A detector: the middle of the white pixels of every second frame."""
    lines: list[dict] = [{"camera": "base_0_rgb", "picture_hw": hw}]
    for row in range(0, len(dataset), 2):
        episode, frame = dataset.locate(row)
        white = np.argwhere(dataset.row(row, ["image"])["image"][..., 0] > 127)
        place = ((white.mean(axis=0) + 0.5) / HW).round(5).tolist()
        lines.append({"episode": episode.index, "frame": frame, "gripper_px": place})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_detections_become_a_calibration_and_traces(dotted: LeRobotDataset, capsys: pytest.CaptureFixture[str]):
    can = TargetFacts(phrase="the can", offset_m=np.array([0, 0, -0.1], np.float32), grasped=False)
    before = {0: [SceneFacts(targets=(can,))] * LENGTH}
    write_facts(dotted.root, before, robot="libero", frame_description="", producer="hindsight")
    places = detect(dotted, dotted.root.parent / "detections.jsonl")
    assert label(Calibrate(places=places), root=dotted.root) == 0
    assert "in an episode left out: median 0." in capsys.readouterr().out
    page = (dotted.root / "labels" / "calibration_base_0_rgb.html").read_text(encoding="utf-8")
    assert page.count("<img") >= 12
    producer = Traces(calibration=dotted.root / "labels" / "calibration_base_0_rgb.json", points=4)
    assert label(producer, root=dotted.root, overwrite=True) == 0
    table = FactsTable.load(dotted.root)
    points, _ = episodes(frames=LENGTH)
    true = small_camera().project(points)[:LENGTH]
    start = table.facts(0, 0)
    np.testing.assert_allclose(start.gripper_px, true[0], atol=0.02)
    np.testing.assert_allclose(start.trace_px[-1], true[CLOSED.start], atol=0.02)
    np.testing.assert_allclose(table.facts(0, CLOSED.start).trace_px[-1], true[CLOSED.stop], atol=0.02)
    below = small_camera().project(points[:1] + np.array([0, 0, -0.1]))[0]
    np.testing.assert_allclose(start.targets[0].point_px, below, atol=0.02)
    np.testing.assert_array_equal(start.targets[0].offset_m, can.offset_m)
    assert (start.camera, table.facts(0, LENGTH - 1).trace_px) == ("base_0_rgb", None)
    assert table.facts(3, 0).targets == ()  # without labels before


def test_a_page_to_click_holds_pictures_of_every_episode(dotted: LeRobotDataset):
    assert label(Calibrate(pictures=8), root=dotted.root) == 0
    page = (dotted.root / "labels" / "clicks_base_0_rgb.html").read_text(encoding="utf-8")
    stored = page.split('id="pictures" type="application/json">')[1].split("</script>")[0]
    pictures = json.loads(stored)
    assert [(p["episode"], p["frame"]) for p in pictures] == [(e, f) for e in range(4) for f in (7, 22)]
    assert '{"camera": "base_0_rgb", "picture_hw": [120, 160]}' in page


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"camera": "base_0_rgb", "picture_hw": [240, 320]}',
            r"line 1: places in pictures of \(240, 320\) px.*120, 160",
        ),
        ('{"camera": "left_wrist_0_rgb", "picture_hw": [120, 160]}', "line 1: places of camera 'left_wrist_0_rgb'"),
        ('{"episode": 9, "frame": 0, "gripper_px": [0.5, 0.5]}', r"episode 9: the dataset has 0\.\.3"),
        ('{"episode": 0, "frame": 30, "gripper_px": [0.5, 0.5]}', r"frames 0\.\.29; got 30"),
        ('{"episode": 0, "frame": 3, "gripper_px": [60, 80]}', r"fractions 0\.\.1.*\(60\.0, 80\.0\)"),
        ('{"episode": 0, "frame": 3', "line 1:"),
    ],
)
def test_places_that_do_not_fit_name_their_line(dotted: LeRobotDataset, line: str, message: str):
    path = dotted.root / "places.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"places\.jsonl, .*" + message):
        label(Calibrate(places=path), root=dotted.root)


def test_a_camera_that_the_robot_lacks_and_other_pictures_are_refused(dotted: LeRobotDataset):
    with pytest.raises(DatasetError, match=r"no camera 'right_wrist_0_rgb'; it has \['base_0_rgb', 'left_wrist"):
        label(Calibrate(camera="right_wrist_0_rgb"), root=dotted.root)
    path = dotted.root / "c.json"
    rotation = np.eye(3).tolist()
    stored = {"camera": "base_0_rgb", "picture_hw": [480, 640], "focal_px": 500, "rotation": rotation}
    path.write_text(json.dumps({**stored, "translation_m": [0, 0, 1], "mirrored": False}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"pictures of \(480, 640\) px.*'image' in .* have \(120, 160\)"):
        label(Traces(calibration=path), root=dotted.root)


def test_the_click_page_s_script_is_valid(dotted: LeRobotDataset):
    """Node, where it is installed, reads the script as a browser does."""
    try:
        subprocess.run(["node", "--version"], check=True, capture_output=True)
    except OSError:
        pytest.skip("node is not installed")
    label(Calibrate(pictures=1), root=dotted.root)
    page = (dotted.root / "labels" / "clicks_base_0_rgb.html").read_text(encoding="utf-8")
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    checked = subprocess.run(["node", "--check", "-"], input=script, encoding="utf-8", capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
