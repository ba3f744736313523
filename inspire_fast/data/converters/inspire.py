"""Conversion of InSpire's real-robot recordings (`episode_3/img/17.png`, `episode_3/anno/17.json`) to LeRobot datasets.

The public release says about a frame's JSON: `task` is the instruction; `state` holds seven numbers, the end effector's
position and Euler angles and, last, the gripper's opening; `action` holds the absolute target pose in the same layout.
After annotation the same files are in `anno_w_pos`, with an `object_info` (read by `scripts/label_dataset.py
object-info`). Frames are numbered from 0 in file names without leading zeros.

We assume, where it says nothing: images bear the number of their frame and are PNG or JPEG; if no `action` is recorded,
the next frame's state may replace it (`actions_from_states`), as for any robot commanded by absolute poses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
from PIL import Image

from inspire_fast.core.files import read_text
from inspire_fast.data.converters.base import Episode, Pending
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError

ANNOTATIONS = ("anno", "anno_w_pos")  # either holds the numbers
_SUFFIXES = (".png", ".jpg", ".jpeg")


def inspire_episodes(folder: Path, *, actions_from_states: bool = False) -> Iterator[Pending]:
    """The episodes in a folder, by number, with the columns of the robot `inspire_arm`: `image`, `state`, `actions`.

    Raises:
        DatasetNotFoundError: no episodes there.
        DatasetError: two folders bear the same number.
    """
    episodes: dict[int, Path] = {}
    for path in sorted(folder.glob("*")):
        match = re.search(r"(\d+)$", path.name)
        if match is None or not _is_episode(path):
            continue
        if (other := episodes.setdefault(int(match[1]), path)) != path:
            raise DatasetError(f"{other} and {path} bear the same number; rename or move one of them.")
    if not episodes:
        raise DatasetNotFoundError(
            f"No episodes in {folder}: looked for folders that end in a number and hold `img` and `anno`, as in "
            "episode_0/img/0.png and episode_0/anno/0.json."
        )
    for _, path in sorted(episodes.items()):
        yield Pending(name=path.name, read=partial(read_episode, path, actions_from_states=actions_from_states))


def _is_episode(path: Path) -> bool:
    """Whether the path is an episode; incomplete ones count, so that reading them reports what they lack."""
    return path.is_dir() and (
        path.name.startswith("episode") or any((path / name).is_dir() for name in ("img", *ANNOTATIONS))
    )


def read_episode(folder: Path, *, actions_from_states: bool = False) -> Episode:
    """One episode.

    Raises:
        DatasetError: a frame is missing or damaged, the instruction changes, or numbers are not as expected; names the
            file.
    """
    annotations = next((folder / name for name in ANNOTATIONS if (folder / name).is_dir()), folder / ANNOTATIONS[0])
    frames = _numbered(annotations, (".json",))
    images = _numbered(folder / "img", _SUFFIXES)
    expected = list(range(len(frames)))
    for what, found in ((annotations, frames), (folder / "img", images)):
        if list(found) != expected:
            missing = sorted(set(expected) ^ set(found))[:5]
            raise DatasetError(
                f"{what} must hold frames 0..{len(expected) - 1}, as {annotations} does; not in both: {missing}."
            )
    contents = [_read(path) for path in frames.values()]
    task = _task(contents, list(frames.values()))
    state = _vectors(contents, "state", list(frames.values()))
    if actions_from_states:
        actions = np.concatenate([state[1:], state[-1:]])
    else:
        actions = _vectors(contents, "action", list(frames.values()))
    columns = {"image": _read_images(list(images.values())), "state": state, "actions": actions}
    return Episode(columns=columns, task=task, notes={"annotations": annotations.name})


def _numbered(folder: Path, suffixes: Sequence[str]) -> dict[int, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist.")
    found: dict[int, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.stem.isdigit()):
        if (other := found.setdefault(int(path.stem), path)) != path:
            raise DatasetError(f"{other} and {path.name} are the same frame; remove one of them.")
    if not found:
        raise DatasetError(f"{folder} holds no frames (0{suffixes[0]}, 1{suffixes[0]}, ...).")
    return dict(sorted(found.items()))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} must hold a JSON object with `task`, `state` and `action`; got {content!r:.80}.")
    return content


def _task(contents: Sequence[dict[str, Any]], paths: Sequence[Path]) -> str:
    for content, path in zip(contents, paths, strict=True):
        text = content.get("task")
        if not isinstance(text, str) or not text.strip():
            raise DatasetError(f"{path} has no instruction (`task` is {text!r}).")
        if text != contents[0]["task"]:
            raise DatasetError(
                f"{path}: the instruction changes within the episode, from {contents[0]['task']!r} to {text!r}."
            )
    return contents[0]["task"]


def _vectors(contents: Sequence[dict[str, Any]], key: str, paths: Sequence[Path]) -> np.ndarray:
    rows = []
    for content, path in zip(contents, paths, strict=True):
        try:
            row = np.asarray(content[key], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            hint = " (--actions-from-states takes the next frame's state instead)" if key == "action" else ""
            raise DatasetError(f"{path} has no usable {key!r}{hint}; it has {sorted(content)}.") from error
        if row.shape != (7,) or not np.isfinite(row).all():
            raise DatasetError(f"{path}: {key!r} must be 7 finite numbers; got {row.tolist()}.")
        rows.append(row)
    return np.stack(rows)


def _read_images(paths: Sequence[Path]) -> np.ndarray:
    images = []
    for path in paths:
        try:
            with Image.open(path) as opened:
                image = np.array(opened.convert("RGB"))
        except (OSError, SyntaxError) as error:
            raise DatasetError(f"{path} cannot be decoded: {error}") from error
        if images and image.shape != images[0].shape:
            raise DatasetError(f"{path} is {image.shape}; the episode's first image is {images[0].shape}.")
        images.append(image)
    return np.stack(images)
