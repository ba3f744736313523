"""Ending a run when the machine is taken away: SIGTERM, as SLURM, Kubernetes and preemptible machines send it."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, Self

import jax
from jax.experimental import multihost_utils
import numpy as np

# To a process group, a launcher (uv run, say) passes on the signal that its child has got already.
_SAME_SIGNAL_S = 2.0
EXIT_STATUS = 128 + signal.SIGTERM


class PreemptedError(Exception):
    """The run was saved and ended before its last step; `--resume` goes on."""

    def __init__(self, step: int, name: str) -> None:
        super().__init__(f"SIGTERM: saved at step {step}. Go on with `--exp-name {name} --resume`.")
        self.step = step


class Preemption:
    """Watches for SIGTERM while it is entered; another one, two seconds later or more, ends the process at once."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._before: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
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
        """Whether to stop behind this step; the same on every process, however late a signal reaches one of them."""
        if jax.process_count() == 1:
            return self._asked_at is not None
        return (
            bool(np.any(multihost_utils.process_allgather(np.array([self._asked_at is not None]))))
            if step % 10 == 0
            else False
        )
