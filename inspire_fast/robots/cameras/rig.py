"""Camera rig: one thread per camera keeps its newest picture; the control loop never waits for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
import threading
import time

import numpy as np

from inspire_fast.robots.cameras.base import Camera, CameraError, CameraSpec, Frame
from inspire_fast.robots.cameras.resize import resize_with_pad

_REMEMBERED = 100  # frames, for the rate
_RETRY_S = 1.0
_RATE_S, _RATE_SLACK = 1.5, 0.9


class CameraRig:
    """The cameras of a robot by their native keys.

    Args:
        cameras: native key -> driver, or a driver with the size and rate that it must have.
        size: height and width that the policy gets, resized with padding; None: as the camera sends them.
        stale_s: a newest picture of this age is stale.
        start_s: longest wait for the first pictures.

    Raises:
        CameraError: a camera cannot be opened, sends nothing, or pictures of another size or at a lower rate than it
            must; all of them are named, and closed again.
    """

    def __init__(
        self,
        cameras: Mapping[str, Camera | CameraSpec],
        *,
        size: tuple[int, int] | None = (224, 224),
        stale_s: float = 0.3,
        start_s: float = 10.0,
    ) -> None:
        if not stale_s > 0:
            raise ValueError(f"stale_s must be > 0; got {stale_s}.")
        self._size, self._stale_s = size, stale_s
        specs = {key: one if isinstance(one, CameraSpec) else CameraSpec(camera=one) for key, one in cameras.items()}
        self._feeds = {key: _Feed(key, spec.camera) for key, spec in specs.items()}
        end = time.monotonic() + start_s
        for feed in self._feeds.values():
            feed.first.wait(max(0.0, end - time.monotonic()))
        missing = [
            f"{key}: {feed.error or f'no picture within {start_s:g} s'}"
            for key, feed in self._feeds.items()
            if feed.frame is None
        ]
        if missing:
            self.close()
            raise CameraError("Not every camera sends pictures; nothing was moved.\n  " + "\n  ".join(missing))
        if any(spec.rate_hz for spec in specs.values()):
            time.sleep(_RATE_S)
        if differing := [said for key, spec in specs.items() for said in self._feeds[key].differing(key, spec)]:
            self.close()
            raise CameraError("Cameras are not as they must be; nothing was moved.\n  " + "\n  ".join(differing))

    def pictures(self) -> dict[str, np.ndarray]:
        """Native key -> newest picture, uint8 `[h, w, 3]`, resized; returns at once."""
        return {key: feed.picture(self._size) for key, feed in self._feeds.items()}

    def stale(self) -> str:
        """Which cameras' newest pictures are too old, and why; empty: none."""
        now = time.monotonic()
        told = [
            f"{key}: the newest picture is {now - feed.frame.time_s:.2f} s old{feed.why}"
            for key, feed in self._feeds.items()
            if feed.frame is not None and now - feed.frame.time_s > self._stale_s
        ]
        return "; ".join(told)

    def report(self) -> dict[str, dict[str, float]]:
        """Native key -> `rate_hz`, `gap_ms_max` of the last pictures, `age_ms` of the newest, `height`, `width`."""
        return {key: feed.report() for key, feed in self._feeds.items()}

    def close(self) -> None:
        """Ends the threads and closes the cameras."""
        for feed in self._feeds.values():
            feed.ended.set()
        for feed in self._feeds.values():
            feed.thread.join(2.0)


class _Feed:
    """One camera's thread and its newest frame. A camera that fails is opened again once a second."""

    def __init__(self, key: str, camera: Camera) -> None:
        self._camera = camera
        self.frame: Frame | None = None
        self._resized: tuple[Frame, np.ndarray] | None = None
        self.error = ""
        self.first, self.ended = threading.Event(), threading.Event()
        self._times_s: deque[float] = deque(maxlen=_REMEMBERED)
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"camera {key}")
        self.thread.start()

    def picture(self, size: tuple[int, int] | None) -> np.ndarray:
        """The newest picture, resized once however often it is asked for; control loops are faster than cameras."""
        frame = self.frame
        assert frame is not None  # the rig waits for the first
        if size is None:
            return frame.image
        if self._resized is None or self._resized[0] is not frame:
            self._resized = (frame, resize_with_pad(frame.image, *size))
        return self._resized[1]

    def differing(self, key: str, spec: CameraSpec) -> list[str]:
        """What is not as expected of the camera."""
        found, seen, told = self.report(), self.frame, list[str]()
        assert seen is not None  # the rig waits for the first
        if spec.size is not None and seen.image.shape[:2] != tuple(spec.size):
            (h, w), (height, width) = seen.image.shape[:2], spec.size
            told.append(f"{key}: {h} x {w} px, expected {height} x {width}; set the camera's resolution")
        if spec.rate_hz is not None and found["rate_hz"] < _RATE_SLACK * spec.rate_hz:
            told.append(
                f"{key}: {found['rate_hz']:.1f} pictures per second, expected {spec.rate_hz:g}; set the camera's rate, "
                "or give it more light"
            )
        return told

    @property
    def why(self) -> str:
        """The last error, as the end of a sentence."""
        return f" ({self.error})" if self.error else ""

    def report(self) -> dict[str, float]:
        """See `CameraRig.report`."""
        times, frame = list(self._times_s), self.frame
        gaps = np.diff(times)
        return {
            "rate_hz": float(1 / gaps.mean()) if len(gaps) and gaps.mean() > 0 else 0.0,
            "gap_ms_max": float(1e3 * gaps.max(initial=0.0)),
            "age_ms": 1e3 * (time.monotonic() - frame.time_s) if frame else float("inf"),
            "height": float(frame.image.shape[0]) if frame else 0.0,
            "width": float(frame.image.shape[1]) if frame else 0.0,
        }

    def _run(self) -> None:
        while not self.ended.is_set():
            try:
                self._camera.open()
                while not self.ended.is_set():
                    self._take(self._camera.read())
            except (OSError, ImportError, ValueError, RuntimeError) as error:
                self.error = str(error)
                if self.frame is None:  # it never worked: whoever starts the rig is told
                    self.first.set()
                    break
                self.ended.wait(_RETRY_S)
            finally:
                self._camera.close()

    def _take(self, frame: Frame) -> None:
        if frame.image.dtype != np.uint8 or frame.image.ndim != 3 or frame.image.shape[-1] != 3:
            raise CameraError(f"pictures must be uint8 [h, w, 3]; got {frame.image.dtype} {frame.image.shape}")
        self.frame, self.error = frame, ""
        self._times_s.append(frame.time_s)
        self.first.set()
