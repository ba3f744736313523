"""Traces: the gripper's coming path in a picture, up to the next gripper event.

frame      0   1   2   3   4   5   6   7      events at 4 (the fingers close) and 7 (the episode's end)
path of 0  x---1---2---3---4                  the points 1..4, resampled to k points along their length
path of 4                  x---5---6---7      an event ends the path before it, and the next begins with it
path of 7                              x      none: nothing comes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.labeling.grasp_events import find_grasps
from inspire_fast.labeling.gripper_use import GripperUse
from inspire_fast.robots.gripper import GripperSignal

POINTS = 8  # of a trace


def gripper_events(
    openings: np.ndarray, fps: float, signal: GripperSignal, use: GripperUse | None = None
) -> tuple[int, ...]:
    """Frames at which the fingers come to rest on something (or on nothing), or have let go, ascending.

    Raises:
        DatasetError: the gripper never opens; see `find_grasps`.
    """
    grasps = find_grasps(openings, fps, signal, use).grasps
    ends = {grasp.start for grasp in grasps} | {grasp.stop for grasp in grasps if grasp.stop is not None}
    return tuple(sorted(ends - {0}))


def coming_paths(
    gripper_px: np.ndarray, events: Sequence[int], *, points: int = POINTS, aspect: float = 1.0
) -> list[np.ndarray | None]:
    """The trace of each frame, float32 `[k, 2]`; see `SceneFacts.trace_px`.

    Args:
        gripper_px: the gripper in the picture at each frame, `[n, 2]`, `(y, x)`, 0..1; NaN: outside of the picture.
        events: frames at which a path ends; the episode's last frame is always one.
        points: `k`.
        aspect: width / height of the picture, so that lengths are the same in both directions.

    Returns:
        None for the last frame, and where the path leaves the picture: a part of it would end where nothing happens.
    """
    last = len(gripper_px) - 1
    ends = sorted({*(event for event in events if 0 < event < last), last})
    stops = [next((end for end in ends if end > frame), None) for frame in range(last + 1)]
    return [
        None if stop is None else resampled(gripper_px[frame : stop + 1], points, aspect=aspect)
        for frame, stop in enumerate(stops)
    ]


def with_traces(
    scenes: Sequence[SceneFacts | None], events: Sequence[int], *, points: int = POINTS, aspect: float = 1.0
) -> list[SceneFacts | None]:
    """An episode's facts, one entry per frame, with the traces that follow from their `gripper_px`.

    A frame without facts, or whose gripper is not in the picture, is a gap: no path leads over it.
    """
    places = np.array([(scene and scene.gripper_px) or (np.nan, np.nan) for scene in scenes], np.float64)
    paths = coming_paths(places.reshape(-1, 2), events, points=points, aspect=aspect)
    return [scene and replace(scene, trace_px=path) for scene, path in zip(scenes, paths, strict=True)]


def resampled(path: np.ndarray, points: int, *, aspect: float = 1.0) -> np.ndarray | None:
    """Points evenly spaced along a path, without its first and with its last, float32 `[k, 2]`.

    Args:
        path: `[n, 2]`, `(y, x)`, n >= 1. NaN: outside of the picture.
        points: `k`, at least 1.
        aspect: width / height of the picture.

    Returns:
        None if a point of the path is outside. A path that stays where it is gives k equal points.

    Raises:
        ValueError: no points are asked for, or the path is empty.
    """
    if points < 1 or not len(path):
        raise ValueError(f"A trace needs at least 1 point of a path that has some; got {points} of {len(path)}.")
    if not np.isfinite(path).all():
        return None
    steps = np.hypot(np.diff(path[:, 0]), np.diff(path[:, 1]) * aspect)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if not along[-1] > 0:
        return np.tile(path[-1], (points, 1)).astype(np.float32)
    wanted = along[-1] * np.arange(1, points + 1) / points
    moving = np.concatenate([[True], steps > 0])  # np.interp needs places that ascend
    sampled = [np.interp(wanted, along[moving], path[moving, axis]) for axis in (0, 1)]
    return np.stack(sampled, axis=1).astype(np.float32)
