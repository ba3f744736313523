from functools import partial
import multiprocessing
import os
from pathlib import Path
import re
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np
from PIL import Image
import pytest

from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.cameras.base import CameraError, CameraSpec, Frame
from inspire_fast.robots.cameras.opencv import OpenCvCamera
from inspire_fast.robots.cameras.process import CameraProcess
from inspire_fast.robots.cameras.realsense import RealSenseCamera
from inspire_fast.robots.cameras.recorded import RecordedPictures
from inspire_fast.robots.cameras.registry import camera_of, camera_spec_of
from inspire_fast.robots.cameras.resize import fitted_size
from inspire_fast.robots.cameras.rig import CameraRig
from inspire_fast.robots.cameras.ros import image_of
from inspire_fast.robots.control.freshness import hold_while_stale


@pytest.fixture
def pictures(tmp_path):
    for index in range(4):
        Image.fromarray(np.full((12, 20, 3), 40 * index, np.uint8)).save(tmp_path / f"{index}.png")
    return tmp_path


class Scripted:
    """A camera that sends what it is given, then fails with what it is given."""

    def __init__(self, frames, error=None):
        self.frames, self.error, self.opened = list(frames), error, 0

    def open(self):
        self.opened += 1

    def read(self):
        time.sleep(0.005)
        if self.frames:
            return Frame(image=self.frames.pop(0), time_s=time.monotonic())
        if self.error:
            raise self.error
        time.sleep(0.05)
        raise CameraError("no picture came")

    def close(self):
        pass


def grey(value, shape=(12, 20, 3)):
    return np.full(shape, value, np.uint8)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_recorded_pictures_come_in_order_at_their_rate(pictures, monkeypatch):
    monkeypatch.setattr("inspire_fast.robots.cameras.recorded.time", Clock())
    camera = camera_of(f"pictures:{pictures}")
    camera.open()
    frames = [camera.read() for _ in range(6)]
    assert [frame.image[0, 0, 0] for frame in frames] == [0, 40, 80, 120, 0, 40]
    assert (frames[5].time_s - frames[0].time_s) * 30 == pytest.approx(5)
    camera.close()


def test_a_gif_is_a_recording_too_and_may_end(pictures):
    parts = [Image.open(pictures / f"{index}.png") for index in range(3)]
    parts[0].save(pictures / "all.gif", save_all=True, append_images=parts[1:])
    camera = RecordedPictures(pictures / "all.gif", rate_hz=1000, loop=False)
    camera.open()
    assert [camera.read().image.shape for _ in range(3)] == [(12, 20, 3)] * 3
    with pytest.raises(CameraError, match="has ended"):
        camera.read()


def test_a_rig_keeps_the_newest_pictures_in_the_policys_size(pictures):
    rig = CameraRig({"a": camera_of(f"pictures:{pictures}"), "b": Scripted([grey(9)])}, size=(24, 24), start_s=5)
    seen = rig.pictures()
    assert {key: image.shape for key, image in seen.items()} == {"a": (24, 24, 3), "b": (24, 24, 3)}
    assert seen["b"][0, 0, 0] == 0  # the padding
    assert seen["b"][12, 12, 0] == 9
    assert rig.pictures()["b"] is seen["b"]  # not resized twice
    time.sleep(0.4)
    assert rig.pictures()["a"] is not seen["a"]
    assert rig.stale().startswith("b: the newest picture is 0.")
    assert "no picture came" in rig.stale()
    assert rig.report()["a"]["rate_hz"] == pytest.approx(30, rel=0.4)
    rig.close()


def test_a_slow_cameras_rate_is_no_whole_number(pictures):
    rig = CameraRig({"a": RecordedPictures(pictures, rate_hz=1.6)}, size=None, start_s=5)
    time.sleep(2.2)
    assert rig.report()["a"]["rate_hz"] == pytest.approx(1.6, rel=0.2)
    rig.close()


def test_a_picture_that_leaves_nothing_is_refused():
    for size, words in (
        ((300, 1), "300 x 1 px in 24 x 24 px .* would have 24 x 0 px"),
        ((0, 0), "would have 0 x 0 px"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted_size(*size, 24, 24)


def test_a_camera_that_fails_is_opened_again():
    camera = Scripted([grey(1)])
    rig = CameraRig({"a": camera}, size=None, stale_s=0.2)
    camera.frames += [grey(2), grey(3)]
    end = time.monotonic() + 5
    while rig.pictures()["a"][0, 0, 0] != 3:
        assert time.monotonic() < end
        camera.frames = camera.frames or [grey(3)]
        time.sleep(0.05)
    rig.close()


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (RecordedPictures(Path("/nowhere")), "a: /nowhere does not exist"),
        (Scripted([], ImportError("pip install pyrealsense2")), "a: pip install pyrealsense2"),
        (Scripted([grey(1, (4, 4))]), r"a: pictures must be uint8 \[h, w, 3\]; got uint8 \(4, 4\)"),
        (Scripted([grey(1).astype(float)]), "a: pictures .* got float64"),
    ],
)
def test_a_camera_that_sends_nothing_is_told_before_anything_moves(camera, words):
    with pytest.raises(CameraError, match=f"Not every camera sends pictures; nothing was moved.\n  {words}"):
        CameraRig({"a": camera}, start_s=3)


def test_a_camera_in_a_process_sends_the_same_pictures_and_its_own_times(pictures):
    Image.fromarray(grey(200, (30, 40, 3))).save(pictures / "9.png")  # another size on the way
    camera = CameraProcess(partial(RecordedPictures, pictures, rate_hz=50))
    camera.open()
    seen, end = set(), time.monotonic() + 20
    while len(seen) < 5:
        frame = camera.read()
        assert 0 <= time.monotonic() - frame.time_s < 5
        assert np.ptp(frame.image) == 0
        seen.add((int(frame.image[0, 0, 0]), frame.image.shape))
        assert time.monotonic() < end
    assert seen == {*((value, (12, 20, 3)) for value in (0, 40, 80, 120)), (200, (30, 40, 3))}
    camera.close()
    camera.close()


@pytest.mark.parametrize(
    ("factory", "kind", "words"),
    [
        (partial(RecordedPictures, Path("/nowhere")), CameraError, "/nowhere does not exist"),
        (partial(RecordedPictures, Path("/nowhere"), rate_hz=0), ValueError, "rate_hz must be > 0"),
        (partial(RealSenseCamera, "1"), ImportError, "pip install pyrealsense2"),
    ],
)
def test_what_a_driver_says_in_its_process_is_told_here(factory, kind, words):
    camera = CameraProcess(factory)
    with pytest.raises(kind, match=words):
        camera.open()
    camera.close()


def test_a_camera_whose_process_is_killed_is_started_again(pictures):
    rig = CameraRig({"a": CameraProcess(partial(RecordedPictures, pictures))}, size=None, stale_s=0.3, start_s=20)
    (child,) = (one for one in multiprocessing.active_children() if one.name == "camera driver")
    os.kill(child.pid, signal.SIGKILL)
    seen, end = "", time.monotonic() + 20
    while "has ended" not in seen:
        assert time.monotonic() < end
        seen = seen if "has ended" in seen else rig.stale()
        time.sleep(0.02)
    while rig.stale():
        assert time.monotonic() < end
        time.sleep(0.02)
    rig.close()
    assert not [one for one in multiprocessing.active_children() if one.name == "camera driver"]


def test_a_camera_of_another_size_or_rate_is_refused_before_anything_moves(pictures):
    CameraRig({"a": camera_spec_of(f"pictures:{pictures}@12x20@25hz")}, size=None, start_s=5).close()
    cameras = {
        "a": camera_spec_of(f"pictures:{pictures}@480x640"),
        "b": CameraSpec(camera=RecordedPictures(pictures, rate_hz=5), rate_hz=15),
        "c": camera_spec_of(f"pictures:{pictures}@12x20"),
    }
    with pytest.raises(CameraError) as refused:
        CameraRig(cameras, start_s=5)
    said = str(refused.value).splitlines()
    assert said[0] == "Cameras are not as they must be; nothing was moved."
    assert said[1].startswith("  a: 12 x 20 px, expected 480 x 640")
    assert re.match(r"  b: [45]\.\d pictures per second, expected 15", said[2])
    assert len(said) == 3


@pytest.mark.parametrize(
    ("text", "size", "rate_hz"),
    [
        ("opencv:0", None, None),
        ("opencv:0@480x640", (480, 640), None),
        ("realsense:123@480x640@30hz", (480, 640), 30),
        ("pictures:a@b/c@2.5hz", None, 2.5),
        ("pictures:a@480x640/c", None, None),
    ],
)
def test_a_text_says_what_is_expected_of_a_camera(text, size, rate_hz):
    spec = camera_spec_of(text)
    assert (spec.size, spec.rate_hz) == (size, rate_hz)


def test_a_video_file_is_a_camera(tmp_path):
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 50.0, (32, 24))
    for value in (0, 200):
        writer.write(np.full((24, 32, 3), (value, 0, 0), np.uint8))  # blue, green, red
    writer.release()
    camera = camera_of(f"video:{tmp_path / 'v.avi'}")
    camera.open()
    frames = [camera.read() for _ in range(4)]
    assert [frame.image.shape for frame in frames] == [(24, 32, 3)] * 4
    assert frames[1].image[..., 2].mean() > 150  # the third channel is blue
    assert frames[3].image[..., 2].mean() > 150  # it plays over and over
    camera.close()


def test_a_device_that_is_not_there_is_told(capfd):
    pytest.importorskip("cv2")
    camera = camera_of("opencv:97")
    with pytest.raises(CameraError, match="/dev/video97 cannot be opened"):
        camera.open()
    camera.close()


@pytest.mark.parametrize(
    ("text", "package"), [("realsense:1", "pyrealsense2"), ("zed:1", "ZED SDK"), ("ros:/camera", "python3-rospy")]
)
def test_a_driver_without_its_package_names_it(text, package):
    with pytest.raises(ImportError, match=package):
        camera_of(text).open()


class Device:
    """Stands in for OpenCV: a device that offers at most 480 x 640 px at 30 Hz. No camera is at hand."""

    CAP_PROP_FRAME_HEIGHT, CAP_PROP_FRAME_WIDTH, CAP_PROP_FPS, CAP_PROP_BUFFERSIZE = range(4)

    def __init__(self, source, opened=None):
        self.source, self.most = source, {0: 480.0, 1: 640.0, 2: 30.0, 3: 4.0}
        self.set_to = {} if opened is None else opened
        self.isOpened, self.release = (lambda: True), (lambda: None)

    def set(self, name, value):
        self.set_to[name] = min(value, self.most[name])

    def get(self, name):
        return self.set_to.get(name, self.most[name])

    def read(self):
        return True, np.full((2, 3, 3), (1, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (480, 640), "rate_hz": 30.0}, ""),
        ({"size": (240, 320)}, ""),
        ({"rate_hz": 15.0}, ""),
        ({"size": (480, 1280)}, "/dev/video3 offers 480 x 640 px, not 480 x 1280"),
        ({"size": (720, 640)}, "/dev/video3 offers 480 x 640 px, not 720 x 640"),
        ({"rate_hz": 60.0}, "/dev/video3 offers 30 pictures per second, not 60"),
    ],
)
def test_a_device_offers_what_was_asked_for_or_is_refused(monkeypatch, options, words):
    asked = dict[int, float]()
    cv2 = SimpleNamespace(**{n: v for n, v in vars(Device).items() if n.startswith("CAP_")})
    cv2.VideoCapture = lambda source: Device(source, asked)
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    camera = OpenCvCamera(3, **options)
    if words:
        with pytest.raises(CameraError, match=words):
            camera.open()
        return
    camera.open()
    assert asked[Device.CAP_PROP_BUFFERSIZE] == 1
    size = (asked.get(Device.CAP_PROP_FRAME_HEIGHT), asked.get(Device.CAP_PROP_FRAME_WIDTH))
    assert size == options.get("size", (None, None))
    assert asked.get(Device.CAP_PROP_FPS) == options.get("rate_hz")
    assert camera.read().image[0, 0].tolist() == [3, 2, 1]  # OpenCV's order is blue, green, red


def test_a_video_file_that_names_no_rate_plays_at_30_hz(monkeypatch, tmp_path):
    cv2 = SimpleNamespace(VideoCapture=lambda source: Device(source, {2: 0.0}), CAP_PROP_FPS=2)
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    camera = OpenCvCamera(tmp_path / "v.avi")
    camera.open()
    slept = list[float]()
    monkeypatch.setattr(
        "inspire_fast.robots.cameras.opencv.time", SimpleNamespace(monotonic=lambda: 5.0, sleep=slept.append)
    )
    camera._due_s = 5.0
    camera.read()
    assert slept == [pytest.approx(1 / 30)]


def test_a_realsense_is_asked_for_its_width_before_its_height(monkeypatch):
    """Its pipeline's order; no such camera is at hand."""
    asked = list[tuple]()
    config = SimpleNamespace(enable_device=lambda *a: asked.append(a), enable_stream=lambda *a: asked.append(a))
    frames = SimpleNamespace(get_color_frame=lambda: SimpleNamespace(get_data=lambda: grey(7)))
    pipeline = SimpleNamespace(start=asked.append, stop=lambda: None, wait_for_frames=lambda wait_ms: frames)
    rs = SimpleNamespace(
        config=lambda: config,
        pipeline=lambda: pipeline,
        stream=SimpleNamespace(color="color"),
        format=SimpleNamespace(rgb8="rgb8"),
    )
    monkeypatch.setitem(sys.modules, "pyrealsense2", rs)
    camera = RealSenseCamera("0042", size=(480, 848), rate_hz=60)
    camera.open()
    assert asked == [("0042",), ("color", 848, 480, "rgb8", 60), config]
    assert camera.read().image.shape == (12, 20, 3)
    camera.close()


def message(**changes):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    rows = np.concatenate([pixels.reshape(2, 9), np.zeros((2, 3), np.uint8)], axis=1)
    given = {"encoding": "bgr8", "height": 2, "width": 3, "step": 12, "data": rows.tobytes()}
    return SimpleNamespace(**{**given, **changes}), pixels


def test_a_ros_image_is_read_by_rows():
    bgr, pixels = message()
    np.testing.assert_array_equal(image_of(bgr), pixels[..., ::-1])
    np.testing.assert_array_equal(image_of(message(encoding="rgb8")[0]), pixels)
    for change, words in (({"encoding": "mono8"}, "mono8"), ({"height": 3}, "24 bytes for 3 rows")):
        with pytest.raises(ValueError, match=words):
            image_of(message(**change)[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("opencv:front", "needs the number"),
        ("opencv", "driver:which"),
        ("pictures:", "driver:which"),
        ("picture:x", "pictures"),
    ],
)
def test_cameras_are_named_by_text(text, words):
    with pytest.raises((ValueError, UnknownNameError), match=words):
        camera_of(text)


def test_a_policy_is_not_asked_with_stale_pictures():
    stale, asked = [], []

    def infer(observation):
        asked.append(observation)
        return ActionChunk(actions=np.zeros((1, 8), np.float32))

    ask = hold_while_stale(infer, lambda: "; ".join(stale))
    assert ask({"a": 1}).actions is not None
    stale.append("wrist: the newest picture is 2.00 s old")
    assert (ask({}).actions, ask({}).reason) == (None, stale[0])
    assert asked == [{"a": 1}]
