"""Ends of an episode: whatever ends it, the robot is told to hold."""

from __future__ import annotations

from collections.abc import Callable, Generator
import contextlib
import logging
import signal
import threading

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def hold_at_the_end(hold: Callable[[], None]) -> Generator[None]:
    """Calls `hold` whatever ends the block; an error of that hold is raised, or noted on the error that there was."""
    try:
        yield
    except BaseException as error:
        try:
            hold()
        except Exception as failed:
            told = f"The robot could not be told to hold, its last command is in force: {failed!r}"
            error.add_note(told)
            logger.error("%s", told)
        raise
    hold()


@contextlib.contextmanager
def termination_raises() -> Generator[None]:
    """Turns SIGTERM and SIGHUP into `SystemExit` where they would end the process without a word to the robot."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if here and signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, leave)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
