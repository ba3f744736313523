"""Reader of mp4 frames by time, and encoder of frames to mp4 (PyAV; AV1 and H.264)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
import os
from pathlib import Path
import threading
from typing import Literal

import av
from av.container import InputContainer, OutputContainer
import av.error
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
import numpy as np

from inspire_fast.data.errors import DatasetError

Codec = Literal["av1", "h264"]

# Short groups of pictures keep random access cheap (LeRobot's choice: a key frame every 2 frames, constant quality 30).
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "av1": ("libsvtav1", {"g": "2", "crf": "30", "preset": "8"}),
    "h264": ("libx264", {"g": "2", "crf": "18"}),
}
# Decoding this many frames onwards is cheaper than seeking back to a key frame.
_MAX_STEPS_ONWARDS = 16


class VideoReader:
    """One open mp4. Times are seconds from its first frame. Threads may share it: calls are serialised."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DatasetError(f"Video {path} does not exist.")
        try:
            self._container: InputContainer = av.open(str(path))
        except av.error.FFmpegError as error:
            raise DatasetError(f"{path} cannot be opened as a video: {error}") from error
        # The file may also hold sound and a cover picture.
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if len(streams) != 1:
            sizes = [f"{s.width} x {s.height}" for s in streams]
            raise DatasetError(
                f"{path} cannot be opened as a video: it has {len(streams)} video streams {sizes}, and the camera's is "
                "not marked. Keep one, e.g. `ffmpeg -i in.mp4 -map 0:v:0 -c copy out.mp4`."
            )
        self._stream = streams[0]
        if self._stream.time_base is None:
            raise DatasetError(f"{path}: the video stream has no time base; re-encode it.")
        # One thread: several would first fill a pipeline of frames that random access discards. Speed comes from
        # several videos at once.
        self._stream.thread_type = "NONE"
        self._stream.codec_context.thread_count = 1
        self._reformatter = VideoReformatter()  # reused: a new one per frame costs more than the conversion
        self._tick_s = float(self._stream.time_base)
        self._start_ticks = self._stream.start_time or 0
        self._frames: Iterator[av.VideoFrame] | None = None  # the running decoder, None when a seek is due
        self._last_s = 0.0  # time of the last decoded frame
        self._lock = threading.Lock()

    @property
    def duration_s(self) -> float:
        """Length stated by the container."""
        if self._stream.duration is not None:
            return self._stream.duration * self._tick_s
        return (self._container.duration or 0) / av.time_base

    @property
    def rate_hz(self) -> float:
        """Average frame rate stated by the container; 0 if it states none."""
        return float(self._stream.average_rate or 0)

    @property
    def stored_hw(self) -> tuple[int, int]:
        """Height and width of the stored pictures, before any rotation for display."""
        return self._stream.codec_context.height, self._stream.codec_context.width

    def frame_times_s(self) -> np.ndarray:
        """Times of all frames, float64 `[n]`, from 0 on, ascending: from the container's index, without decoding.

        A container without an index gives the times that follow from its length and rate.
        """
        ticks = np.sort([entry.timestamp for entry in self._stream.index_entries if not entry.is_discard])
        if len(ticks):  # times of decoding, as many and as far apart as those of display
            return (ticks - ticks[0]) * self._tick_s
        return np.arange(round(self.duration_s * self.rate_hz)) / (self.rate_hz or 1.0)

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the stored pixels, e.g. `yuv420p`, `gray12le`."""
        return self._stream.codec_context.pix_fmt or ""

    def frame(self, time_s: float, tolerance_s: float, pixels: str = "rgb24") -> np.ndarray:
        """The frame shown at `time_s`: uint8 `[h, w, 3]` RGB, or PyAV's array of other `pixels`.

        It is turned as the file says (a phone's video may lie on its side), as LeRobot's decoder turns it.

        Raises:
            DatasetError: no frame within `tolerance_s` (the video is shorter than its index), or a decoding error.
        """
        with self._lock:
            try:
                frame = self._find(time_s, tolerance_s)
                image = self._reformatter.reformat(frame, format=pixels).to_ndarray()
                quarters = round(frame.rotation / 90) % 4  # counter-clockwise
                return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
            except av.error.FFmpegError as error:
                self._frames = None  # the decoder's state is unknown: the next call seeks
                raise DatasetError(f"{self.path}: decoding the frame at {time_s:.3f} s failed: {error}") from error

    def close(self) -> None:
        """Closes the file."""
        self._frames = None
        self._container.close()

    def _find(self, time_s: float, tolerance_s: float) -> av.VideoFrame:
        onwards_s = time_s - self._last_s
        frame = None
        if self._frames is not None and tolerance_s < onwards_s <= 2 * tolerance_s * _MAX_STEPS_ONWARDS:
            frame = self._scan(time_s - tolerance_s)
        else:
            # The container's index is in decoding order: a seek may land after the frame. Then start earlier.
            for back_s in (0.0, 1.0, time_s):
                self._seek(time_s - back_s)
                frame = self._scan(time_s - tolerance_s)
                if frame is not None and self._last_s <= time_s + tolerance_s:
                    break
        if frame is None:
            raise DatasetError(
                f"{self.path} is shorter than its index says: it lasts {self.duration_s:.3f} s, "
                f"a frame at {time_s:.3f} s is needed."
            )
        if self._last_s > time_s + tolerance_s:
            raise DatasetError(
                f"{self.path}: no frame at {time_s:.3f} s, the next one is at {self._last_s:.3f} s; the video's frame "
                f"rate ({self.rate_hz:g} Hz) is not the dataset's ({0.5 / tolerance_s:g} Hz)."
            )
        return frame

    def _seek(self, time_s: float) -> None:
        ticks = self._start_ticks + round(max(time_s, 0.0) / self._tick_s)
        self._container.seek(ticks, stream=self._stream, backward=True)
        self._frames = self._container.decode(self._stream)

    def _scan(self, from_s: float) -> av.VideoFrame | None:
        """The first frame at or after `from_s`, from the decoder's position on; None if the video ends before."""
        assert self._frames is not None
        for frame in self._frames:
            if frame.pts is not None:
                self._last_s = (frame.pts - self._start_ticks) * self._tick_s
                if self._last_s >= from_s:
                    return frame
        self._frames = None
        return None


class VideoEncoder:
    """Encoder of one mp4, frame by frame."""

    def __init__(self, path: Path, *, fps: float, height: int, width: int, codec: Codec) -> None:
        if height % 2 or width % 2:
            raise ValueError(
                f"{path.name}: {codec} with yuv420p needs even sizes; got {height} x {width}. Store images."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.frames = 0
        self.nbytes = 0  # written so far; the encoder still holds a few frames
        self._shape = (height, width, 3)
        # SVT-AV1 prints its configuration to stderr unless told to report errors only.
        os.environ.setdefault("SVT_LOG", "1")
        encoder, options = _ENCODERS[codec]
        rate = Fraction(fps).limit_denominator(1_000_000)  # 29.97 is 2997 / 100
        self._container: OutputContainer = av.open(str(path), "w", format="mp4")
        self._stream: VideoStream = self._container.add_stream(encoder, rate=rate, options=dict(options))  # type: ignore[assignment]
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"

    def add(self, image: np.ndarray) -> None:
        """Appends one frame, uint8 `[h, w, 3]`."""
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(
                f"{self.path.name}: frame {self.frames} is {image.dtype} {image.shape}; expected uint8 {self._shape}."
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = self.frames
        self._mux(frame)
        self.frames += 1

    def close(self) -> None:
        """Writes the encoder's remaining frames and the index."""
        self._mux(None)
        self._container.close()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self.nbytes += packet.size
            self._container.mux(packet)
