"""Crash-safe recording of a server's requests and answers as LeRobot datasets."""

from inspire_fast.serving.recording.recorder import Recorder as Recorder
from inspire_fast.serving.recording.segments import RecordingLimits as RecordingLimits
from inspire_fast.serving.recording.segments import list_segments as list_segments
