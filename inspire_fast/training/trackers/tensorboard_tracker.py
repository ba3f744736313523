"""TensorBoard tracker: event files written by `tensorboardX`, which needs neither TensorFlow nor PyTorch.

`SummaryWriter` is not used: it passes events to a thread that dies silently on a full disk, and the tenth event after
that blocks the training loop forever. This module calls the lower-level writer directly, so errors are raised where
they happen, and every row is on disk when `scalars` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import time
from typing import Any, final

import numpy as np

from inspire_fast.core.html import png
from inspire_fast.training.trackers.base import Tracker
from inspire_fast.training.trackers.metric_names import tag

FOLDER = "tensorboard"


@final
class TensorBoardTracker(Tracker):
    """Event files in `<run>/tensorboard`.

    A resumed run adds a file that starts with a restart mark: TensorBoard then drops steps after `resume_at` of earlier
    files, so that nothing is shown twice.
    """

    def __init__(self, folder: Path, *, resume_at: int, config: Mapping[str, Any]) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

        target = folder / FOLDER
        target.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names, which hold seconds; nanoseconds order two files of one second.
        self._writer = EventsWriter(str(target / "events"), filename_suffix=f".{time.time_ns() % 10**9:09d}")
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=resume_at + 1, session_log=start))
        self.text(resume_at, "config", f"```json\n{json.dumps(config, indent=2, default=str)}\n```")

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """One event for the whole row."""
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        values = [Summary.Value(tag=tag(name), simple_value=value) for name, value in row.items()]
        self._write(step, Summary(value=values))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """As PNG."""
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        height, width, channels = image.shape
        stored = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png(image))
        self._write(step, Summary(value=[Summary.Value(tag=name, image=stored)]))

    def text(self, step: int, name: str, markdown: str) -> None:
        """In the tab "Text"."""
        from tensorboardX.summary import text

        self._write(step, text(name, markdown))

    def close(self, *, failed: bool = False) -> None:
        """Ends the file."""
        del failed
        self._writer.close()

    def _write(self, step: int, summary: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()
