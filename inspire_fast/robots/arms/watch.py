"""Watch of a connected arm: it is only read, at the stream's rate; nothing is sent, and no control is taken."""

from __future__ import annotations

from dataclasses import dataclass
import time

import numpy as np

from inspire_fast.robots.arms.base import Arm, ArmReading


@dataclass(frozen=True, kw_only=True)
class ArmWatch:
    """What a watch saw.

    Attributes:
        reading: the last one.
        state_hz: new measurements per second.
        age_ms_max: longest time without a new measurement.
        read_ms_p99: of one `Arm.read`.
        tick_ms_mean, tick_ms_p99, tick_ms_max: period in which commands would be sent.
        moved: `[n]`, largest distance of each joint from where it was first, rad.
    """

    reading: ArmReading
    state_hz: float
    age_ms_max: float
    read_ms_p99: float
    tick_ms_mean: float
    tick_ms_p99: float
    tick_ms_max: float
    moved: np.ndarray


def watch_arm(arm: Arm, seconds: float, rate_hz: float) -> ArmWatch:
    """Reads an arm for some seconds; raises as `Arm.read` does."""
    first = reading = arm.read()
    start = due = time.monotonic()
    ticks_s, reads_s, fresh_s = [start], [0.0], [start]
    moved = np.zeros_like(first.q)
    while (now := time.monotonic()) < start + seconds:
        due = max(due + 1.0 / rate_hz, now)
        time.sleep(max(0.0, due - now))
        before = time.monotonic()
        newer = arm.read()
        ticks_s.append(before)
        reads_s.append(time.monotonic() - before)
        if newer.time_s != reading.time_s:
            fresh_s.append(before)
        reading, moved = newer, np.maximum(moved, np.abs(newer.q - first.q))
    periods_ms = 1e3 * np.diff(ticks_s)
    return ArmWatch(
        reading=reading,
        state_hz=(len(fresh_s) - 1) / (ticks_s[-1] - start) if len(ticks_s) > 1 else 0.0,
        age_ms_max=float(1e3 * np.diff([*fresh_s, ticks_s[-1]]).max()),
        read_ms_p99=float(1e3 * np.percentile(reads_s, 99)),
        tick_ms_mean=float(periods_ms.mean()) if len(periods_ms) else 0.0,
        tick_ms_p99=float(np.percentile(periods_ms, 99)) if len(periods_ms) else 0.0,
        tick_ms_max=float(periods_ms.max(initial=0.0)),
        moved=moved,
    )
