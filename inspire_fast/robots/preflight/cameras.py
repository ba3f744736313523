"""Check of cameras, all at once: are they there, which size and rate, how fresh, and do their pictures change?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import threading
import time
import zlib

import numpy as np

from inspire_fast.robots.cameras.base import Camera, CameraSpec
from inspire_fast.robots.preflight.finding import Finding, judged

_MODEL_PX = 224  # pictures are resized to this; a smaller one is enlarged
_FROZEN, _REPEATED = 0.9, 0.05  # share of pictures that equal the one before
_RATE_SLACK = 0.9
_FIRST_S, _END_S = 10.0, 2.0


@dataclass(frozen=True, kw_only=True)
class CameraWatch:
    """What a camera sent.

    Attributes:
        times_s: when each picture was taken, on `time.monotonic`.
        ages_s: how old each was when it arrived.
        sizes: height and width of each, px.
        checksums: of the pixels of each.
        last: the last picture, uint8 `[h, w, 3]`; None: none came.
        error: of the driver; empty: none.
    """

    times_s: tuple[float, ...] = ()
    ages_s: tuple[float, ...] = ()
    sizes: tuple[tuple[int, ...], ...] = ()
    checksums: tuple[int, ...] = ()
    last: np.ndarray | None = None
    error: str = ""

    @property
    def rate_hz(self) -> float:
        """Pictures per second."""
        span = self.times_s[-1] - self.times_s[0] if self.times_s else 0.0
        return (len(self.times_s) - 1) / span if span > 0 else 0.0

    @property
    def oldest_s(self) -> float:
        """Age of the newest picture just before the next one came: the oldest that a policy may get."""
        gaps = np.diff(self.times_s)
        return float(gaps.max(initial=0.0)) + max(self.ages_s, default=0.0)

    @property
    def repeated(self) -> float:
        """Share of pictures that equal the one before, byte for byte."""
        return float(np.equal(self.checksums[1:], self.checksums[:-1]).mean()) if len(self.checksums) > 1 else 0.0


class CamerasWatched:
    """Reads every camera in a thread of its own, as the control loop does, until `end`."""

    def __init__(self, cameras: Mapping[str, Camera]) -> None:
        self._readers = {key: _Reader(key, camera) for key, camera in cameras.items()}

    def wait_for_first(self) -> None:
        """Returns when every camera has sent a picture or failed, or after ten seconds."""
        end = time.monotonic() + _FIRST_S
        for reader in self._readers.values():
            reader.first.wait(max(0.0, end - time.monotonic()))

    def end(self) -> dict[str, CameraWatch]:
        """Closes the cameras; native key -> what it sent."""
        for reader in self._readers.values():
            reader.ended.set()
        for reader in self._readers.values():
            reader.thread.join(_END_S)
        return {key: reader.watch() for key, reader in self._readers.items()}


class _Reader:
    """One camera's thread."""

    def __init__(self, key: str, camera: Camera) -> None:
        self._camera = camera
        self.first, self.ended = threading.Event(), threading.Event()
        self._frames: list[tuple[float, float, tuple[int, ...], int]] = []
        self._last: np.ndarray | None = None
        self._error = ""
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"camera {key}")
        self.thread.start()

    def watch(self) -> CameraWatch:
        """What was read so far."""
        frames = list(self._frames)
        return CameraWatch(
            times_s=tuple(frame[0] for frame in frames),
            ages_s=tuple(frame[1] for frame in frames),
            sizes=tuple(frame[2] for frame in frames),
            checksums=tuple(frame[3] for frame in frames),
            last=self._last,
            error=self._error,
        )

    def _run(self) -> None:
        try:
            self._camera.open()
            while not self.ended.is_set():
                frame = self._camera.read()
                pixels = np.ascontiguousarray(frame.image)
                age_s = time.monotonic() - frame.time_s
                self._frames.append((frame.time_s, age_s, pixels.shape[:2], zlib.crc32(pixels.data)))
                self._last = pixels
                self.first.set()
        except (OSError, ImportError, ValueError, RuntimeError) as error:
            self._error = str(error)
        finally:
            self._camera.close()
            self.first.set()


def camera_findings(key: str, spec: CameraSpec, watch: CameraWatch, *, stale_s: float) -> list[Finding]:
    """Judges what one camera sent; a picture of age `stale_s` makes the robot hold."""
    count = len(watch.times_s)
    if watch.error or count < 2 or watch.last is None:
        says = watch.error or ("one picture came" if count else "no picture came")
        do = "Check cable, power and number, and that no other program uses it."
        return [judged(key, "present", says, fails=True, do=do)]
    return [
        judged(key, "present", f"{count} pictures"),
        _size(key, spec, watch),
        judged(
            key,
            "rate",
            f"{watch.rate_hz:.1f} Hz" + (f", expected {spec.rate_hz:g}" if spec.rate_hz else ""),
            fails=spec.rate_hz is not None and watch.rate_hz < _RATE_SLACK * spec.rate_hz,
            do="Set the camera's rate, give it more light (long exposures are slow) or a USB port of its own.",
        ),
        judged(
            key,
            "freshness",
            f"oldest {1e3 * watch.oldest_s:.0f} ms, stale from {1e3 * stale_s:.0f} ms on",
            fails=watch.oldest_s >= stale_s,
            do="The robot would hold in between. Raise the camera's rate, or take load off this machine.",
        ),
        _content(key, watch, watch.last),
    ]


def _size(key: str, spec: CameraSpec, watch: CameraWatch) -> Finding:
    sizes, wanted = sorted(set(watch.sizes)), spec.size
    says = " and ".join(f"{size[0]} x {size[1]} px" for size in sizes)
    if wanted is not None:
        says += f", expected {wanted[0]} x {wanted[1]}"
    small = max(sizes[0]) < _MODEL_PX
    return judged(
        key,
        "size",
        says,
        fails=len(sizes) > 1 or (wanted is not None and sizes[0] != tuple(wanted)),
        warns=small,
        do=f"Pictures smaller than {_MODEL_PX} px are enlarged; set the camera's resolution."
        if small and wanted is None
        else "Set the camera's resolution to that of the policy's data.",
    )


def _content(key: str, watch: CameraWatch, last: np.ndarray) -> Finding:
    if not np.ptp(last):
        says = f"the last picture has one colour, {last[0, 0].tolist()}"
        return judged(
            key, "pictures", says, fails=True, do="Take off the lens cap; check that this is the right device."
        )
    return judged(
        key,
        "pictures",
        f"{watch.repeated:.0%} repeat the one before",
        fails=watch.repeated >= _FROZEN,
        warns=watch.repeated > _REPEATED,
        do="Restart the camera's driver: it sends one picture again and again.",
    )
