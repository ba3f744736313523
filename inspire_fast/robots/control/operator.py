"""Operator: what a person tells a running episode by key, and the keys themselves."""

from __future__ import annotations

from collections.abc import Callable, Generator
import contextlib
import os
import select
import sys
import termios
import threading
import tty
from typing import Literal, TextIO

Verdict = Literal["success", "failure", "stopped"]
KEYS = "space pauses and goes on, s success, f failure, q stops the session"
_LOOK_S = 0.1


class Operator:
    """A person's wishes, from any thread; the control loop asks for them once per step.

    Attributes:
        paused: the robot holds until it is resumed. What was planned before a pause is never executed after it.
        verdict: how the person ended the episode; None: not yet.
        left: the person has ended the session, not only the episode.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.paused, self.left = False, False
        self.verdict: Verdict | None = None
        self._replan = False

    def begin(self) -> None:
        """A new episode: no verdict, not paused."""
        with self._lock:
            self.verdict, self.paused, self._replan = None, False, False

    def press(self, key: str) -> bool:
        """Takes a key; whether it means something here."""
        with self._lock:
            if key == " ":
                self.paused = not self.paused
            elif key == "s":
                self.verdict = "success"
            elif key == "f":
                self.verdict = "failure"
            elif key in ("q", "\x1b"):
                self.verdict, self.left = "stopped", True
            else:
                return False
            return True

    def replan(self) -> None:
        """What is planned shall not be executed any further: the policy is asked anew in the next step."""
        self._replan = True

    def wants_replan(self) -> bool:
        """Whether `replan` was called since the last time this was asked."""
        with self._lock:
            wanted, self._replan = self._replan, False
            return wanted


@contextlib.contextmanager
def keys_pressed(on_key: Callable[[str], object], source: TextIO | None = None) -> Generator[bool]:
    """Calls `on_key` in a thread for every key pressed in the terminal, until the block ends.

    Ctrl-C works as always. The terminal is put back as it was, whatever ends the block.

    Yields:
        Whether there is a terminal; without one no key is read.
    """
    given: TextIO | None = sys.stdin if source is None else source  # a service has no standard input at all
    if given is None or not given.isatty():
        yield False
        return
    number, ended = given.fileno(), threading.Event()
    before = termios.tcgetattr(number)

    def read() -> None:
        while not ended.is_set():
            if select.select([number], [], [], _LOOK_S)[0]:
                for key in os.read(number, 32).decode("utf-8", "ignore"):
                    on_key(key)

    thread = threading.Thread(target=read, daemon=True, name="keys")
    try:
        tty.setcbreak(number)
        thread.start()
        yield True
    finally:
        ended.set()
        thread.join(2 * _LOOK_S)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
