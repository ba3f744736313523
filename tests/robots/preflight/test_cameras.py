"""Cameras of recorded pictures, as drivers send them: what the check sees and refuses."""

import re
import time

import numpy as np
from PIL import Image
import pytest

from inspire_fast.robots.cameras.base import CameraError, CameraSpec, Frame
from inspire_fast.robots.cameras.recorded import RecordedPictures
from inspire_fast.robots.preflight.cameras import CamerasWatched, camera_findings

SIZE = (240, 320)


def write(folder, *, count=6, same=False, flat=False, size=SIZE):
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (count, *size, 3), dtype=np.uint8)
    for index in range(count):
        picture = np.zeros_like(noise[0]) if flat else noise[0 if same else index]
        Image.fromarray(picture).save(folder / f"{index}.png", compress_level=1)
    return folder


def levels(spec, *, seconds=0.3, stale_s=0.3):
    """Check -> level, and all that is said."""
    watched = CamerasWatched({"wrist": spec.camera})
    watched.wait_for_first()
    time.sleep(seconds)
    found = camera_findings("wrist", spec, watched.end()["wrist"], stale_s=stale_s)
    return {one.check: one.level for one in found}, "\n".join(f"{one.says} {one.do}" for one in found)


def test_a_good_camera_passes(tmp_path):
    camera = RecordedPictures(write(tmp_path / "p"), rate_hz=20)
    found, says = levels(CameraSpec(camera=camera, size=SIZE, rate_hz=20), seconds=0.6, stale_s=5.0)
    assert {*found.values()} == {"ok"}, says
    assert "240 x 320 px, expected 240 x 320" in says


@pytest.mark.parametrize(
    ("pictures", "expected", "check", "words"),
    [
        ({"same": True}, {}, "pictures", "100% repeat the one before"),
        ({"flat": True}, {}, "pictures", r"one colour, \[0, 0, 0\]"),
        ({}, {"size": (480, 640)}, "size", "240 x 320 px, expected 480 x 640"),
        ({}, {"rate_hz": 60}, "rate", "Hz, expected 60"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, pictures, expected, check, words):
    camera = RecordedPictures(write(tmp_path / "p", **pictures), rate_hz=20)
    found, says = levels(CameraSpec(camera=camera, **expected))
    assert found[check] == "FAIL"
    assert [name for name, level in found.items() if level == "FAIL"] == [check]
    assert re.search(words, says)


def test_a_slow_camera_is_stale_between_its_pictures(tmp_path):
    found, says = levels(CameraSpec(camera=RecordedPictures(write(tmp_path / "p"), rate_hz=4)), stale_s=0.1)
    assert found["freshness"] == "FAIL"
    assert "stale from 100 ms on" in says


def test_small_pictures_are_warned_of(tmp_path):
    found, _ = levels(CameraSpec(camera=RecordedPictures(write(tmp_path / "p", size=(90, 160)), rate_hz=20)))
    assert found["size"] == "warn"


def test_a_missing_camera_and_one_that_stops_are_named(tmp_path):
    found, says = levels(CameraSpec(camera=RecordedPictures(tmp_path / "nowhere")), seconds=0)
    assert found == {"present": "FAIL"}
    assert "nowhere does not exist" in says
    found, says = levels(CameraSpec(camera=RecordedPictures(write(tmp_path / "p"), rate_hz=50, loop=False)))
    assert found == {"present": "FAIL"}
    assert "has ended" in says


class Delayed:
    """Pictures with the times at which they were taken, half a second ago."""

    def open(self):
        pass

    def read(self):
        time.sleep(0.02)
        return Frame(
            image=np.random.default_rng().integers(0, 255, (*SIZE, 3), np.uint8), time_s=time.monotonic() - 0.5
        )

    def close(self):
        pass


def test_old_pictures_are_stale_however_fast_they_come():
    found, says = levels(CameraSpec(camera=Delayed()))
    assert found["freshness"] == "FAIL", says


class Silent(Delayed):
    def read(self):
        time.sleep(0.05)
        raise CameraError("no picture came; is the cable in?")


def test_a_silent_camera_is_told_with_its_own_words():
    found, says = levels(CameraSpec(camera=Silent()), seconds=0)
    assert found == {"present": "FAIL"}
    assert "is the cable in?" in says
