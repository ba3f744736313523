"""Grippers of a Franka: the Franka Hand and Robotiq's 2F-85, opened and closed by a thread of their own.

A gripper's command takes up to a second and cannot be interrupted; the arm's stream must not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
import logging
import threading
import time
from typing import Any, Protocol

logger = logging.getLogger(__name__)
_LOOK_S = 0.05


class Hand(Protocol):
    """A gripper; every method may take its time."""

    def closed(self) -> float:
        """0 open .. 1 closed."""
        ...

    def move(self, closed: float) -> None:
        """Opens (0) or closes (1) until it is open, closed, or holds something."""
        ...


class GripperThread:
    """A gripper that is commanded without waiting. What fails is logged, and the newest command is tried again.

    Args:
        connect: makes the gripper; takes the backend's connection to the arm.
    """

    def __init__(self, connect: Callable[[Any], Hand]) -> None:
        self._connect, self._hand = connect, None
        self.closed = 0.0
        self._wanted: float | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def connect(self, arm: Any) -> None:
        """Connects, reads the opening once and starts the thread."""
        self._hand = self._connect(arm)
        self.closed = self._hand.closed()
        self._thread = threading.Thread(target=self._run, daemon=True, name="gripper")
        self._thread.start()

    def move(self, closed: float) -> None:
        """The newest command counts."""
        self._wanted = closed

    def close(self) -> None:
        """Ends the thread; the gripper keeps its last command."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        assert self._hand is not None
        done: float | None = None
        while not self._ended.wait(_LOOK_S):
            try:
                wanted = self._wanted
                if wanted is not None and wanted != done:
                    self._hand.move(wanted)
                    done = wanted
                self.closed = min(1.0, max(0.0, self._hand.closed()))
            except Exception as error:  # a driver's own kinds; the arm goes on without the gripper
                logger.warning("The gripper failed, trying again: %s", error)
                time.sleep(0.5)


class FrankaHand:
    """The Franka Hand, by an object with `width`, `max_width`, `move` and `grasp` (franky and franka-rs have them).

    Args:
        hand: the backend's gripper.
        width_m: backend's gripper -> its opening and its widest one, metres.
        force_n: of a grasp.
        speed_m_s: of the fingers.
    """

    def __init__(
        self, hand: Any, width_m: Callable[[Any], tuple[float, float]], *, force_n: float = 40.0, speed_m_s: float = 0.1
    ) -> None:
        self._hand, self._width_m, self._force_n, self._speed = hand, width_m, force_n, speed_m_s
        _, self._widest_m = width_m(hand)
        if not self._widest_m > 0.01:
            raise OSError("The Franka Hand does not know its widest opening. Home it in Desk first.")

    def closed(self) -> float:
        """See `Hand`."""
        return 1.0 - self._width_m(self._hand)[0] / self._widest_m

    def move(self, closed: float) -> None:
        """See `Hand`. Closing on nothing is no failure."""
        if closed >= 0.5:
            self._hand.grasp(0.0, self._speed, self._force_n, epsilon_inner=1.0, epsilon_outer=1.0)
        else:
            self._hand.move(self._widest_m, self._speed)
