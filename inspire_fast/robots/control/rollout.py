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
import itertools
from pathlib import Path
import time
from typing import Any, cast

import numpy as np

from inspire_fast.core.nested import flatten_dict
from inspire_fast.robots.control.rollout_writer import RolloutWriter
from inspire_fast.robots.control.runtime import EpisodeResult, Step
from inspire_fast.robots.images import parse_image
from inspire_fast.robots.spec import Robot

msgpack: Any = importlib.import_module("msgpack")  # it has no types
SUFFIX = ".rollout"
VERSION = 1


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
        observe: the native observation of this moment; returns at once. A robot's `step` returns at once, too; around a
            simulator, whose step takes a control period, give the observation from before the step.
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
        self._writer = RolloutWriter()
        self._episodes, self._recording = 0, False

    def begin(self, prompt: str) -> Path:
        """Makes the file of a new episode; one that was not ended stays as it is.

        Raises:
            OSError: the file cannot be made, or nothing can be recorded any more.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._episodes += 1
        header = {"rollout": VERSION, "robot": self._robot.name, "prompt": prompt, "control_hz": self._control_hz}
        path = self._new_file(header)
        self._writer.put("begin", {"path": str(path)})
        self._recording = True
        return path

    def _new_file(self, header: Mapping[str, Any]) -> Path:
        """Begins a file that nobody had: another program may record here, or an episode begin within a second."""
        for number in itertools.count(self._episodes):
            path = self._folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{number:04d}{SUFFIX}"
            with contextlib.suppress(FileExistsError), path.open("xb") as file:
                file.write(cast("bytes", msgpack.packb(header)))
                return path
        raise AssertionError  # the numbers do not end

    def add(self, step: Step) -> None:
        """Records a step; takes a copy of the observation and returns.

        Raises:
            OSError: no episode has begun, writing failed, or the disk is slower than the robot. Nothing is left out
                in silence.
        """
        if not self._recording:
            raise OSError("No episode has begun: call `begin` first.")
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
        self._writer.put("row", row, images)

    def end(self, result: EpisodeResult) -> None:
        """Writes the episode's outcome, and waits until all of it is in its file.

        Raises:
            OSError: writing failed.
        """
        self._recording = False
        self._writer.put("row", {"stopped": result.stopped, "success": result.success, "reason": result.reason})
        self._writer.flush()

    def close(self) -> None:
        """Ends the process that writes; an episode without an outcome stays readable."""
        self._writer.close()


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
