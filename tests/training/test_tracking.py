"""Trackers: what is in their files, what a resumed run shows, and that a broken one leaves training alone.

The event files are read by a reader of the tests' own, checksums included, which drops what TensorBoard drops.
"""

from collections.abc import Mapping
import io
import json
import logging
from pathlib import Path
import resource
import struct
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from PIL import Image
import pytest

from inspire_fast.training.trackers import open as tracking
from inspire_fast.training.trackers import rerun_tracker as tracking_rerun
from inspire_fast.training.trackers.base import Tracker
from inspire_fast.training.trackers.metric_names import METRICS, metric, tag
from inspire_fast.training.trackers.open import TRACKERS, Tracking, check_trackers, open_trackers
from inspire_fast.training.trackers.wandb_tracker import run_id

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)

NOISE = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)  # 30 kB as PNG


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(file: Path) -> list[bytes]:
    """Those of a TFRecord file: length, its checksum, data, its checksum. What is cut off at the end is none."""
    found, stream = [], io.BytesIO(file.read_bytes())
    while len(header := stream.read(12)) == 12:
        (length, checksum) = struct.unpack("<QI", header)
        assert checksum == masked(header[:8])
        data, after = stream.read(length), stream.read(4)
        if len(after) < 4:
            break
        assert struct.unpack("<I", after) == (masked(data),)
        found.append(data)
    return found


def events(folder: Path) -> list[tuple[int, str, Any]]:
    """(step, tag, value) of what TensorBoard shows: a restart drops whatever came before it from its step on."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

    shown = []
    for file in sorted((folder / "tensorboard").iterdir()):
        for data in records(file):
            event = Event.FromString(data)
            if event.session_log.status == SessionLog.START:
                shown = [e for e in shown if e[0] < event.step]
            for v in event.summary.value:
                value = {"simple_value": v.simple_value, "image": v.image.encoded_image_string}.get(
                    v.WhichOneof("value"), b"".join(v.tensor.string_val)
                )
                shown.append((event.step, v.tag, value))
    return shown


def start(folder: Path, *names: str, resume_at: int = 0) -> Tracking:
    config = {"batch_size": 8, "root": Path("data")}
    return open_trackers(names, folder, resume_at=resume_at, config=config, run_name="tiny/default")


def test_tensorboards_files_hold_what_was_given(tmp_path):
    with start(tmp_path) as tracker:
        tracker.scalars(1, {"loss": 2.5, "held_out_action_loss": np.float32(0.25)})
        tracker.scalars(50, {"loss": 1.5, "samples_per_s": 7})
        tracker.image(50, "cameras/base_0_rgb", IMAGE)
        tracker.text(50, "dialogue", "**left**")
        before_closing = events(tmp_path)
    shown = events(tmp_path)
    assert before_closing == shown  # a killed run loses nothing
    (step, name, config), *scalars, image, text = shown
    assert (step, name) == (0, "config/text_summary")
    assert json.loads(config.decode().strip("`json\n")) == {"batch_size": 8, "root": "data"}
    assert scalars == [
        (1, "losses/loss", 2.5),
        (1, "held_out/held_out_action_loss", 0.25),
        (50, "losses/loss", 1.5),
        (50, "speed/samples_per_s", 7.0),
    ]
    assert image[:2] == (50, "cameras/base_0_rgb")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image[2]))), IMAGE)
    assert text == (50, "dialogue/text_summary", b"**left**")


def test_a_resumed_run_shows_no_step_double(tmp_path):
    killed = start(tmp_path)
    for step in (1, 2, 3, 4):
        killed.scalars(step, {"loss": step})
    killed.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes() + b"\x20\x00\x00")  # a record that the kill cut off
    with start(tmp_path, resume_at=2) as resumed:
        for step in (3, 4, 5):
            resumed.scalars(step, {"loss": 10 * step})
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    shown = [(step, value) for step, name, value in events(tmp_path) if name == "losses/loss"]
    assert shown == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with start(tmp_path) as tracker:
        tracker.scalars(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_unknown_and_missing_trackers_are_told_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(
        KeyError, match=r"Unknown tracker 'wandb_'\. Did you mean 'wandb'\? Available: rerun, tensorboard"
    ):
        start(tmp_path, "wandb_")
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"needs the package tensorboardX.*`uv sync --extra train`\.$"):
        start(tmp_path)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = tracking.TrackerSpec(package="w_and_b", extra="wandb", open=lambda *_: pytest.fail("opened"))
    monkeypatch.setattr(tracking, "TRACKERS", {"tensorboard": TRACKERS["tensorboard"], "wandb": spec})
    (tmp_path / "w_and_b").mkdir()  # as W&B's own folder of runs would lie in the working directory
    with pytest.raises(FileNotFoundError, match=r"`uv sync --extra wandb`, or leave 'wandb' out\."):
        start(tmp_path / "run", "wandb")
    assert not (tmp_path / "run").exists()


def test_tensorboard_is_always_there_and_never_twice():
    assert check_trackers(()) == check_trackers(("tensorboard", "tensorboard")) == ("tensorboard",)


class Fake(Tracker):
    """Remembers what it is given; fails from a step on."""

    def __init__(self, fails_at: float = float("inf")) -> None:
        self.fails_at, self.given, self.closed = fails_at, [], []

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        if step >= self.fails_at:
            raise OSError(28, "No space left on device")
        self.given.append((step, dict(row)))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self.given.append((step, name))

    def text(self, step: int, name: str, markdown: str) -> None:
        self.given.append((step, markdown))

    def close(self, *, failed: bool = False) -> None:
        self.closed.append(failed)


def test_a_tracker_that_fails_is_set_aside_and_told_twice(caplog):
    whole, broken = Fake(), Fake(fails_at=2)
    with Tracking({"broken": broken, "whole": whole}) as tracker:
        for step in (1, 2, 3):
            tracker.scalars(step, {"loss": 0.5})
        tracker.image(3, "camera", IMAGE)
    assert [step for step, _ in whole.given] == [1, 2, 3, 3]
    assert broken.given == [(1, {"loss": 0.5})]
    assert (whole.closed, broken.closed) == ([False], [True])
    assert tracker.stopped == {"broken": "at step 2 (OSError: [Errno 28] No space left on device)"}
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert ["training continues" in line for line in told] == [True, False]
    assert ["metrics.jsonl has every metric" in line for line in told] == [False, True]


def test_a_run_that_fails_is_closed_as_one():
    fake = Fake()
    with pytest.raises(FloatingPointError), Tracking({"fake": fake}):
        raise FloatingPointError
    assert fake.closed == [True]


@pytest.mark.parametrize("image", [IMAGE.astype(np.float32), IMAGE[..., 0], IMAGE[..., :2]])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(ValueError, match=r"'camera' must be uint8 \[h, w, 3\]; got (uint8|float32) \[4, 6"):
        Tracking({"fake": Fake()}).image(1, "camera", image)


def test_a_disk_that_fills_up_is_noticed(tmp_path):
    """No file may grow beyond a limit for a while, which a library meets as it meets a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with start(tmp_path) as tracker:
        tracker.image(1, "camera", NOISE)
        assert tracker.stopped == {}
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            for step in (2, 3):
                tracker.image(step, "camera", NOISE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert tracker.stopped == {"tensorboard": "at step 2 (OSError: [Errno 27] File too large)"}
    assert [step for step, name, _ in events(tmp_path) if name == "camera"] == [1]


def test_rerun_never_meets_a_full_disk(tmp_path, monkeypatch):
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    with start(tmp_path, "rerun") as tracker:
        tracker.image(1, "camera", NOISE)
        size = (tmp_path / "training_0.rrd").stat().st_size
        monkeypatch.setattr(tracking_rerun.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        tracker.image(2, "camera", NOISE)
    assert "only 1,000 bytes are free, 67,108,864 are asked for" in tracker.stopped["rerun"]
    assert NOISE.size < size <= (tmp_path / "training_0.rrd").stat().st_size < size + NOISE.size


def test_a_tracker_that_cannot_begin_stops_the_run_and_closes_the_others(tmp_path, monkeypatch):
    fake = Fake()

    def refuse(*_: object) -> Tracker:
        raise ValueError("nobody is logged in")

    package = "json"
    specs = {
        "tensorboard": tracking.TrackerSpec(package=package, extra="train", open=lambda *_: fake),
        "wandb": tracking.TrackerSpec(package=package, extra="wandb", open=refuse),
    }
    monkeypatch.setattr(tracking, "TRACKERS", specs)
    with pytest.raises(ValueError, match="nobody is logged in"):
        start(tmp_path, "wandb")
    assert fake.closed == [True]


def test_wandb_goes_on_in_the_same_run_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with start(tmp_path, "wandb") as tracker:
        tracker.scalars(1, {"loss": 2.5})
        tracker.image(1, "camera", IMAGE)
        tracker.text(1, "dialogue", "left < right")
        assert tracker.stopped == {}
    assert tracker.stopped == {}
    first = run_id(tmp_path)
    start(tmp_path, "wandb", resume_at=1).close()
    starts = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert {folder.name.rpartition("-")[2] for folder in starts} == {run_id(tmp_path)} == {first}
    assert b"losses/loss" in next(starts[0].glob("*.wandb")).read_bytes()
    assert len(list(starts[0].glob("files/media/images/camera_1_*.png"))) == 1


def test_rerun_writes_a_recording_per_start(tmp_path):
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    for step in (0, 50):
        with start(tmp_path, "rerun", resume_at=step) as tracker:
            tracker.scalars(step + 1, {"loss": 2.5})
            tracker.image(step + 1, "camera", IMAGE)
            tracker.text(step + 1, "dialogue", "**left**")
        assert tracker.stopped == {}
    for step in (0, 50):
        content = (tmp_path / f"training_{step}.rrd").read_bytes()
        assert content.startswith(b"RRF2")
        assert b"losses/loss" in content
        assert b"dialogue" in content


@pytest.mark.parametrize(
    ("name", "group", "way", "of"),
    [
        ("answer_loss", "losses", "lower", "nats per token"),
        ("held_out_action_loss", "held_out", "lower", "nats per token"),
        ("decoded_action_error", "decoded", "lower", "native units"),
        ("decoded_answer_accuracy", "decoded", "higher", "share"),
        ("decoded_answer_majority_baseline", "decoded", None, "share"),
        ("action_token_accuracy", "accuracy", "higher", "share"),
        ("samples_per_s", "speed", "higher", "1/s"),
        ("mfu", "speed", "higher", "share"),
        ("data_wait_fraction", "speed", "lower", "share"),
        ("grad_norm", "optimiser", None, ""),
        ("learning_rate", "optimiser", None, ""),
        ("novelty", "other", None, ""),
    ],
)
def test_a_metric_is_looked_up_in_the_table(name, group, way, of):
    found = metric(name)
    assert (found.group, found.better, found.unit) == (group, way, of)
    assert tag(name) == f"{group}/{name}"


def test_names_with_folders_are_looked_up_by_pattern():
    assert metric("decoded_answer_accuracy/direction/left") == METRICS["decoded_answer_accuracy/*"]
    assert metric("questions/direction/accuracy").better == "higher"
    assert metric("action_error_by_dim[3]").better == "lower"
    assert tag("decoded_action_error/3") == "decoded_action_error/3"
