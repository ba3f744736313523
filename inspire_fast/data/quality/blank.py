"""Blank pictures: cameras whose pictures are of one colour, from a few of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inspire_fast.data.lerobot.dataset import LeRobotDataset

_ONE_COLOUR = 1.5  # standard deviation of a channel, of 255: what a video's compression makes of one colour
_LOOKED_AT = 12


def describe_blank(dataset: LeRobotDataset, cameras: Sequence[str], *, looked_at: int = _LOOKED_AT) -> list[str]:
    """A sentence for each camera whose pictures are all of one colour, among some that are evenly spread.

    Args:
        dataset: whose sound episodes are looked at.
        cameras: columns of pictures.
        looked_at: pictures to decode of each camera, at most.
    """
    sound = [episode for episode in dataset.episodes if episode.index not in dataset.skipped]
    rows = np.concatenate([np.arange(e.start, e.stop) for e in sound] or [np.zeros(0, int)])
    some = rows[np.unique(np.linspace(0, len(rows) - 1, looked_at).astype(int))] if len(rows) else rows
    lines = []
    for camera in cameras:
        pictures = [dataset.row(int(row), [camera])[camera] for row in some]
        if pictures and all(_is_blank(picture) for picture in pictures):
            lines.append(
                f"Pictures: all {len(pictures)} that were looked at in {camera!r} are of one colour. Nothing is to be "
                "seen in them, so that nothing can be learnt from them."
            )
    return lines


def _is_blank(picture: np.ndarray) -> bool:
    return float(picture.reshape(-1, picture.shape[-1]).std(axis=0).max()) < _ONE_COLOUR
