"""Recording of rollouts on a robot workstation, step by step, without a dataset library: nothing is lost in a crash.

    <folder>/<time>-<number>.rollout    msgpack objects, one after the other
        header   {"rollout": 1, "robot", "prompt", "control_hz"}
        step     {"step", "time_s", "held", "corrected", "sent": [a], "values": {name: [...]}, "images": {key: PNG}}
        end      {"stopped", "success", "reason"}       missing if the program was killed

`convert_dataset.py rollouts` makes a LeRobot dataset of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
import importlib
import io
import itertools
from pathlib import Path
import time
from typing import Any, cast

import numpy as np
from PIL import Image

from inspire_fast.core.nested import flatten_dict
from inspire_fast.core.worker import Worker
from inspire_fast.robots.control.runtime import EpisodeResult, Step
from inspire_fast.robots.images import parse_image
from inspire_fast.robots.spec import Robot

msgpack: Any = importlib.import_module("msgpack")  # it has no types
SUFFIX = ".rollout"
VERSION = 1
_WAITING = 300  # steps that may wait for the disk


class RolloutRecorder:
    """Records episodes: every step that was executed, and the observation at that moment.

    Example::

        recorder = RolloutRecorder(Path("rollouts"), robot, observe=environment.observe, control_hz=15)
        recorder.begin("pick up the cup")
        result = run_episode(..., on_step=recorder.add)
        recorder.end(result)

    Args:
        folder: of the files.
        robot: whose cameras and state are kept.
        observe: the native observation of this moment; returns at once.
        control_hz: rate of the steps.
        extra: further vectors of this moment, by name, for labels (DROID's `cartesian_position`).
        corrected: whether a person decides at this moment.
    """

    def __init__(
        self,
        folder: Path,
        robot: Robot,
        *,
        observe: Callable[[], Mapping[str, Any]],
        control_hz: float,
        extra: Callable[[], Mapping[str, np.ndarray]] | None = None,
        corrected: Callable[[], bool] | None = None,
    ) -> None:
        self._folder, self._robot, self._control_hz = folder, robot, control_hz
        self._observe, self._extra, self._corrected = observe, extra, corrected
        self._file: io.BufferedWriter | None = None
        self._worker, self._waiting = Worker("rollout"), 0
        self._error: BaseException | None = None
        self._episodes = 0

    def begin(self, prompt: str) -> Path:
        """Opens the file of a new episode; one that was not ended is closed as it is."""
        self._close()
        self._folder.mkdir(parents=True, exist_ok=True)
        path, self._file = self._new_file()
        self._error = None
        self._episodes += 1
        header = {"rollout": VERSION, "robot": self._robot.name, "prompt": prompt, "control_hz": self._control_hz}
        self._put(header)
        return path

    def _new_file(self) -> tuple[Path, io.BufferedWriter]:
        """A file that nobody had: another program may record into the same folder, or one begin within a second."""
        for number in itertools.count(self._episodes):
            path = self._folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{number:04d}{SUFFIX}"
            with contextlib.suppress(FileExistsError):
                return path, path.open("xb")
        raise AssertionError  # the numbers do not end

    def add(self, step: Step) -> None:
        """Records a step; takes a copy of the observation and returns.

        Raises:
            OSError: writing failed, or the disk is slower than the robot. Nothing is left out in silence.
        """
        if self._error is not None:
            raise OSError(f"The rollout cannot be recorded any more: {self._error}") from self._error
        if self._waiting > _WAITING:
            raise OSError(f"The disk is slower than the robot: {self._waiting} steps wait to be written.")
        flat = flatten_dict(self._observe())
        layout = self._robot.image_layout
        images = {key: np.array(parse_image(flat[key], layout)) for key in self._robot.cameras if key in flat}
        values = {key: np.asarray(flat[key], np.float32).reshape(-1) for key in self._robot.state_keys}
        values |= self._extra() if self._extra is not None else {}
        row = {
            "step": step.step,
            "time_s": time.time(),
            "held": step.held,
            "corrected": self._corrected is not None and self._corrected(),
            "sent": step.sent.tolist(),
            "values": {name: np.asarray(value).tolist() for name, value in values.items()},
        }
        self._waiting += 1
        self._worker.submit(lambda: self._write(row, images))

    def end(self, result: EpisodeResult) -> None:
        """Closes the episode's file with its outcome."""
        self._wait()
        self._put({"stopped": result.stopped, "success": result.success, "reason": result.reason})
        self._close()

    def close(self) -> None:
        """Closes what is open; an episode without an outcome stays readable."""
        self._close()
        self._worker.stop()

    def _write(self, row: dict[str, Any], images: Mapping[str, np.ndarray]) -> None:
        try:
            self._put({**row, "images": {key: _png(image) for key, image in images.items()}})
        except (OSError, ValueError) as error:
            self._error = error
        finally:
            self._waiting -= 1

    def _put(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            raise OSError("No episode has begun.")
        self._file.write(cast("bytes", msgpack.packb(row)))
        self._file.flush()

    def _wait(self) -> None:
        self._worker.submit(lambda: None).result()

    def _close(self) -> None:
        if self._file is not None:
            self._wait()
            self._file.close()
            self._file = None


def read_rollout(path: Path) -> Iterator[dict[str, Any]]:
    """The header, the steps and, if there is one, the end of a recorded rollout. A torn last object is left out.

    Raises:
        ValueError: no rollout, or of a later version.
    """
    with path.open("rb") as file:
        unpacker = cast("Iterator[Any]", msgpack.Unpacker(file, max_buffer_size=2**28))
        try:
            header: Any = next(unpacker, None)
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise ValueError(f"{path} is no recorded rollout: {error}") from error
        if not isinstance(header, dict) or "rollout" not in header:
            raise ValueError(f"{path} is no recorded rollout.")
        row = cast("dict[str, Any]", header)
        if row["rollout"] != VERSION:
            raise ValueError(f"{path} is a rollout of version {row['rollout']}; this program reads {VERSION}.")
        yield row
        yield from unpacker


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
