"""Where a run's figures and pictures are shown, beside `metrics.jsonl`: TensorBoard always, W&B and Rerun by option.

`metrics.jsonl` is the truth; trackers show it. So a tracker that cannot begin stops the run before its first step, but one
that fails later (a full disk, a lost network) is told once, set aside, and told again at the end, while training goes on.
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
    """A tracker by name.

    Attributes:
        package: that it needs, by the name it is imported under.
        extra: of this project, which brings the package.
        open: (folder of the run, step that it begins at, config, name of the run) -> the tracker.
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
    """The trackers that a run with the option `names` has; nothing on disk is touched.

    Raises:
        KeyError: an unknown name; suggests the closest.
        FileNotFoundError: a tracker's package is not installed; says how to get it.
    """
    chosen = tuple(dict.fromkeys((ALWAYS, *names)))
    for name in chosen:
        spec = TRACKERS[name]
        found = importlib.util.find_spec(spec.package)
        if found is None or found.origin is None:  # a folder of that name in the working directory is no package
            raise FileNotFoundError(
                f"The tracker {name!r} needs the package {spec.package}, which is not installed. Add it with "
                f"`uv sync --extra {spec.extra}`{'' if name == ALWAYS else f', or leave {name!r} out'}."
            )
    return chosen


def open_trackers(
    names: Sequence[str], folder: Path, *, resume_at: int, config: Mapping[str, Any], run_name: str
) -> Tracking:
    """Opens TensorBoard's and those of `names`; of several processes only the first writes.

    Args:
        names: of `TRACKERS`, beside `tensorboard`.
        folder: the run's, `<checkpoint_root>/<config>/<exp_name>`.
        resume_at: the step whose state the run begins with, 0 for a new run. What trackers hold of later steps is not shown twice.
        config: of the run, for the record; paths and the like are stored as their text.
        run_name: for people.

    Raises:
        KeyError, FileNotFoundError: see `check_trackers`.
        ValueError: W&B cannot begin.
        OSError: `folder` cannot be written.
    """
    chosen = check_trackers(names)
    opened: dict[str, Tracker] = {}
    if jax.process_index() == 0:
        with ExitStack() as begun:
            for name in chosen:
                opened[name] = TRACKERS[name].open(folder, resume_at, config, run_name)
                begun.callback(opened[name].close, failed=True)
            begun.pop_all()  # every one has begun: none is closed here
    return Tracking(opened)


@final
class Tracking(Tracker):
    """Several trackers as one, none of which can end or change the run; a context manager.

    A tracker that raises is not called again. What is wrong with the *call* (a picture that is none) is raised all the same.

    Attributes:
        stopped: name -> what happened, of the trackers that failed.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._working = dict(trackers)
        self.stopped: dict[str, str] = {}

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """See `Tracker`."""
        plain = {name: float(value) for name, value in row.items()}
        self._each(f"at step {step}", lambda tracker: tracker.scalars(step, plain))

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """See `Tracker`.

        Raises:
            ValueError: not uint8 `[h, w, 3]`.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"The picture {name!r} must be uint8 [h, w, 3]; got {image.dtype} {list(image.shape)}.")
        self._each(f"at step {step}", lambda tracker: tracker.picture(step, name, image))

    def text(self, step: int, name: str, markdown: str) -> None:
        """See `Tracker`."""
        self._each(f"at step {step}", lambda tracker: tracker.text(step, name, markdown))

    def close(self, *, failed: bool = False) -> None:
        """Closes all, and says once more which of them are not whole."""
        self._each("while closing", lambda tracker: tracker.close(failed=failed))
        self._working.clear()
        for name, reason in self.stopped.items():
            logger.warning("The tracker %r is not whole: it stopped %s. metrics.jsonl has every figure.", name, reason)

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
            except Exception as error:  # whatever a tracker's library raises: it must not end the run
                del self._working[name]
                self.stopped[name] = f"{when} ({type(error).__name__}: {error})"
                logger.warning("The tracker %r stopped %s; training goes on without it.", name, self.stopped[name])
                with suppress(Exception):  # it has failed already; this is only to let go of what it holds
                    tracker.close(failed=True)
