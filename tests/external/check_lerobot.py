"""LeRobot opens our datasets and we read LeRobot's: columns, instructions, frames. See README.md in this folder.

    PYTHONPATH=. python tests/external/check_lerobot.py

The format's version is the installed library's: v3.0 from lerobot 0.4 on, v2.1 before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
import sys
import tempfile
from typing import Any

import numpy as np

from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter

OURS_FEATURES: dict[str, dict[str, Any]] = {
    "front": {"dtype": "image", "shape": (64, 96, 3)},
    "wrist": {"dtype": "image", "shape": (64, 96, 3)},
    "state": {"dtype": "float32", "shape": (8,), "names": ["state"]},
    "precise": {"dtype": "float64", "shape": (3,), "names": ["x", "y", "z"]},
    "gripper": {"dtype": "float32", "shape": (1,), "names": ["gripper"]},
    "count": {"dtype": "int64", "shape": (1,), "names": ["count"]},
    "flag": {"dtype": "bool", "shape": (1,), "names": ["flag"]},
}
MATRIX = {"pose": {"dtype": "float32", "shape": (4, 4), "names": ["row", "column"]}}
TEXT = {"note": {"dtype": "string", "shape": (1,), "names": None}}
FPS, LENGTHS = 10, (14, 9, 21)


def picture(episode: int, frame: int, camera: int) -> np.ndarray:
    """Smooth, and different on every frame."""
    y, x = np.mgrid[:64, :96] / 64
    planes = [127 + 100 * np.sin(2 * x + 3 * y + episode + 0.3 * frame + camera + c) for c in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def columns(episode: int, length: int) -> dict[str, np.ndarray]:
    """One episode's values."""
    rng = np.random.default_rng(episode)
    return {
        "front": np.stack([picture(episode, i, 0) for i in range(length)]),
        "wrist": np.stack([picture(episode, i, 5) for i in range(length)]),
        "state": rng.standard_normal((length, 8)).astype(np.float32),
        "precise": rng.standard_normal((length, 3)),
        "gripper": rng.standard_normal((length, 1)).astype(np.float32),
        "count": rng.integers(0, 100, (length, 1)),
        "flag": rng.integers(0, 2, (length, 1)).astype(bool),
        "pose": rng.standard_normal((length, 4, 4)).astype(np.float32),
        "note": np.array([f"note {episode} {i}" for i in range(length)], dtype=object),
    }


def task(episode: int) -> str:
    """Two instructions in turn."""
    return f"put thing {episode % 2} on the plate"


def write_ours(root: Path, version: Any, storage: Any, codec: Any) -> None:
    """A dataset by this package."""
    with DatasetWriter(
        root,
        fps=FPS,
        robot_type="panda",
        features={**OURS_FEATURES, **TEXT},
        image_storage=storage,
        video_codec=codec,
        version=version,
    ) as writer:
        for episode, length in enumerate(LENGTHS):
            values = columns(episode, length)
            writer.add_episode({name: values[name] for name in (*OURS_FEATURES, *TEXT)}, task=task(episode))


def write_theirs(library: Any, root: Path, storage: str) -> None:
    """The same by LeRobot, with an array column in addition."""
    features = {**OURS_FEATURES, **TEXT, **MATRIX}
    for camera in ("front", "wrist"):
        features[camera] = {"dtype": storage, "shape": (64, 96, 3), "names": ["height", "width", "channel"]}
    new = library.create(
        repo_id="check/theirs", fps=FPS, root=root, robot_type="panda", features=features, use_videos=storage == "video"
    )
    takes_task = (
        "task" in library.add_frame.__code__.co_varnames
    )  # an argument before lerobot 0.4, then part of the frame
    for episode, length in enumerate(LENGTHS):
        values = columns(episode, length)
        for frame in range(length):
            row = {name: values[name][frame] for name in features}
            if takes_task:
                new.add_frame(row, task=task(episode))
            else:
                new.add_frame({**row, "task": task(episode)})
        new.save_episode()
    if hasattr(new, "finalize"):
        new.finalize()


def compare(library: Any, root: Path, storage: str, names: list[str]) -> float:
    """Both libraries read every row; returns the largest mean difference between their frames, in levels of 255."""
    theirs, ours = library("check/any", root=root, video_backend="pyav"), LeRobotDataset(root)
    assert len(theirs) == len(ours) == sum(LENGTHS), (len(theirs), len(ours))
    assert theirs.fps == ours.fps == FPS
    largest, row = 0.0, 0
    for episode, length in enumerate(LENGTHS):
        written = columns(episode, length)
        for frame in range(length):
            left, right = theirs[row], ours.row(row)
            assert left["task"] == right["task"] == task(episode)
            assert int(left["episode_index"]) == int(right["episode_index"]) == episode
            assert int(left["frame_index"]) == int(right["frame_index"]) == frame
            assert abs(float(left["timestamp"]) - frame / FPS) < 1e-6
            for name in names:
                mine = right[name]
                if name in ("front", "wrist"):
                    shown = left[name].numpy().transpose(1, 2, 0) * 255
                    largest = max(largest, float(np.abs(shown - mine).mean()))
                    off = np.abs(mine.astype(float) - written[name][frame]).mean()
                    assert off == 0 if storage == "image" else off < 4, (name, row, off)
                elif name == "note":
                    assert left[name] == mine == written[name][frame]
                else:
                    value = np.asarray(left[name])
                    # LeRobot hands float64 out as float32; what is stored keeps its precision, see the next line.
                    same = np.asarray(mine).reshape(-1).astype(value.dtype)
                    np.testing.assert_array_equal(value.reshape(-1), same, err_msg=name)
                    np.testing.assert_array_equal(written[name][frame].reshape(-1), np.asarray(mine).reshape(-1))
            row += 1
    ahead = library("check/any", root=root, video_backend="pyav", delta_timestamps={"state": [0.0, 0.1, 0.2]})
    assert tuple(ahead[0]["state"].shape) == (3, 8)
    return largest


def main() -> None:
    """Runs all combinations."""
    try:
        module = importlib.import_module("lerobot.datasets.lerobot_dataset")
    except ImportError as error:
        raise SystemExit(f"lerobot cannot be imported ({error}); see tests/external/README.md.") from error
    library = module.LeRobotDataset
    version = module.CODEBASE_VERSION if hasattr(module, "CODEBASE_VERSION") else "v3.0"
    say = sys.stdout.write
    say(f"lerobot {importlib.metadata.version('lerobot')}, format {version}\n")
    with tempfile.TemporaryDirectory() as folder:
        for storage, codec in (("image", "av1"), ("video", "av1"), ("video", "h264")):
            root = Path(folder) / f"ours_{storage}_{codec}"
            write_ours(root, version, storage, codec)
            off = compare(library, root, storage, [*OURS_FEATURES, *TEXT])
            say(f"ours, {storage} {codec}: LeRobot reads it; frames differ from our reading by {off:.4f} of 255\n")
        for storage in ("image", "video"):
            root = Path(folder) / f"theirs_{storage}"
            write_theirs(library, root, storage)
            off = compare(library, root, storage, [*OURS_FEATURES, *TEXT, *MATRIX])
            say(f"LeRobot's, {storage}: we read it; frames differ from LeRobot's reading by {off:.4f} of 255\n")
    say("all equal\n")


if __name__ == "__main__":
    main()
