"""Trackers of a run: TensorBoard always, W&B and Rerun by option.

`metrics.jsonl` is the source of truth; trackers only show it. A tracker that cannot start stops the run before its
first step. A tracker that fails later (a full disk, a lost network) is reported, closed, and reported again at the end,
while training continues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
import importlib.util
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, final

import jax
import numpy as np

from inspire_fast.core.registry import Registry
from inspire_fast.training.trackers.base import Tracker
from inspire_fast.training.trackers.rerun_tracker import RerunTracker
from inspire_fast.training.trackers.tensorboard_tracker import TensorBoardTracker
from inspire_fast.training.trackers.wandb_tracker import WandbTracker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrackerSpec:
    """Registry entry of a tracker.

    Attributes:
        package: import name of the package that it needs.
        extra: extra of this project that installs the package.
        open: (folder of the run, first step, config, name of the run) -> the tracker.
    """

    package: str
    extra: str
    open: Callable[[Path, int, Mapping[str, Any], str], Tracker]


TRACKERS: Registry[TrackerSpec] = Registry(
    "tracker",
    {
        "tensorboard": TrackerSpec(
            package="tensorboardX",
            extra="train",
            open=lambda folder, step, config, _: TensorBoardTracker(folder, resume_at=step, config=config),
        ),
        "wandb": TrackerSpec(
            package="wandb",
            extra="wandb",
            open=lambda folder, _, config, name: WandbTracker(folder, config=config, run_name=name),
        ),
        "rerun": TrackerSpec(
            package="rerun",
            extra="rerun",
            open=lambda folder, step, _, name: RerunTracker(folder, resume_at=step, run_name=name),
        ),
    },
)
ALWAYS = "tensorboard"


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """The trackers of a run with the option `names`; changes nothing on disk.

    Raises:
        KeyError: an unknown name; suggests the closest.
        FileNotFoundError: a tracker's package is not installed; says how to get it.
    """
    chosen = tuple(dict.fromkeys((ALWAYS, *names)))
    for name in chosen:
        spec = TRACKERS[name]
        found = importlib.util.find_spec(spec.package)
        if found is None or found.origin is None:  # a mere folder of that name in the working directory
            raise FileNotFoundError(
                f"The tracker {name!r} needs the package {spec.package}, which is not installed. Add it with "
                f"`uv sync --extra {spec.extra}`{'' if name == ALWAYS else f', or leave {name!r} out'}."
            )
    return chosen


def open_trackers(
    names: Sequence[str], folder: Path, *, resume_at: int, config: Mapping[str, Any], run_name: str
) -> Tracking:
    """Opens TensorBoard and the trackers `names`; of several processes only the first writes.

    Args:
        names: names of `TRACKERS`, in addition to `tensorboard`.
        folder: folder of the run, `<checkpoint.root>/<config>/<exp_name>`.
        resume_at: step of the state that the run starts with, 0 for a new run. Later steps that a tracker holds already
            are not shown twice.
        config: config of the run; paths and the like are stored as their text.
        run_name: name for people.

    Raises:
        KeyError, FileNotFoundError: as in `check_trackers`.
        ValueError: W&B cannot start.
        OSError: `folder` cannot be written.
    """
    chosen = check_trackers(names)
    opened: dict[str, Tracker] = {}
    if jax.process_index() == 0:
        with ExitStack() as started:
            for name in chosen:
                opened[name] = TRACKERS[name].open(folder, resume_at, config, run_name)
                started.callback(opened[name].close, failed=True)
            started.pop_all()  # all have started: close none of them here
    return Tracking(opened)


@final
class Tracking(Tracker):
    """Several trackers as one, which never end or change the run. A context manager.

    A tracker that raises is not called again. Errors of the caller (a wrong image) are raised.

    Attributes:
        stopped: name of a failed tracker -> what happened.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._working = dict(trackers)
        self.stopped: dict[str, str] = {}

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Shows metrics in every working tracker."""
        plain = {name: float(value) for name, value in row.items()}
        self._each(f"at step {step}", lambda tracker: tracker.scalars(step, plain))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Shows an image in every working tracker.

        Raises:
            ValueError: not uint8 `[h, w, 3]`.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"The image {name!r} must be uint8 [h, w, 3]; got {image.dtype} {list(image.shape)}.")
        self._each(f"at step {step}", lambda tracker: tracker.image(step, name, image))

    def text(self, step: int, name: str, markdown: str) -> None:
        """Shows a text in every working tracker."""
        self._each(f"at step {step}", lambda tracker: tracker.text(step, name, markdown))

    def close(self, *, failed: bool = False) -> None:
        """Closes all, and reports failed trackers again."""
        self._each("while closing", lambda tracker: tracker.close(failed=failed))
        self._working.clear()
        for name, reason in self.stopped.items():
            logger.warning("The tracker %r is incomplete: it stopped %s. metrics.jsonl has every metric.", name, reason)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None)

    def _each(self, when: str, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._working.items()):
            try:
                act(tracker)
            except Exception as error:  # whatever a tracker's library raises must not end the run
                del self._working[name]
                self.stopped[name] = f"{when} ({type(error).__name__}: {error})"
                logger.warning("The tracker %r stopped %s; training continues without it.", name, self.stopped[name])
                with suppress(Exception):  # it failed already; closing only frees its resources
                    tracker.close(failed=True)
