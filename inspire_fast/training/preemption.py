"""Preemption: a run saves and ends on SIGTERM, the signal of SLURM, Kubernetes and preemptible machines."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, Self

import jax
from jax.experimental import multihost_utils
import numpy as np

from inspire_fast.core.cli import CommandError

# A launcher such as `uv run` forwards a signal that its child has received already as a member of the process group.
_SAME_SIGNAL_S = 2.0
EXIT_STATUS = 128 + signal.SIGTERM


class PreemptedError(CommandError):
    """The run was saved and ended before its last step; `--resume` continues it."""

    exit_status = EXIT_STATUS

    def __init__(self, step: int, name: str) -> None:
        super().__init__(f"SIGTERM: saved at step {step}. Continue with `--exp-name {name} --resume`.")
        self.step = step


class Preemption:
    """Context manager that watches for SIGTERM; a second one, at least two seconds later, ends the process at once."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._before: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # other threads may not set handlers
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at > _SAME_SIGNAL_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def asked(self, step: int) -> bool:
        """Whether to stop after this step; the same in every process, whenever the signal reaches it."""
        if jax.process_count() == 1:
            return self._asked_at is not None
        if step % 10:
            return False  # asking the other processes takes time
        return bool(np.any(multihost_utils.process_allgather(np.array([self._asked_at is not None]))))
