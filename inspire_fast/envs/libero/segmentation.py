"""Instance segmentation of the front camera's picture: visible pixels, box and point of each target.

Occlusion counts: a mask holds the pixels that show the thing, and a box encloses them. Of a thing behind another one,
or half outside of the picture, that is the part that can be seen. With fewer than `MIN_VISIBLE_PX` pixels it counts as
hidden, and has neither box nor point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.envs.libero.targets import Target, shape_body

MIN_VISIBLE_PX = 8


def visible_mask(model: Any, geoms: np.ndarray, target: Target) -> np.ndarray | None:
    """Pixels that show a target, bool `[h, w]`; None for a place without a shape (a compartment).

    Args:
        model: mujoco.MjModel.
        geoms: number of the shape at each pixel, int `[h, w]`; -1: none (see `Cameras.segment`).
        target: the thing.
    """
    name = shape_body(target)
    if name is None:
        return None
    inside = np.zeros(model.nbody, bool)
    inside[model.body(name).id] = True
    for body, parent in enumerate(model.body_parentid):  # parents come before their children
        inside[body] |= inside[parent] and body != parent
    belongs = np.append(inside[model.geom_bodyid], False)  # the last entry is that of no shape, -1
    return belongs[geoms]


def box_of(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Box `(y0, x0, y1, x1)` around the pixels of a mask `[h, w]`, 0..1 of height and width; None if it is hidden.

    . . . . .
    . # # . .     (1/3, 1/5, 3/3, 3/5)
    . . # . .
    """
    if np.count_nonzero(mask) < MIN_VISIBLE_PX:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    h, w = mask.shape
    return float(rows[0] / h), float(columns[0] / w), float((rows[-1] + 1) / h), float((columns[-1] + 1) / w)


def point_in(mask: np.ndarray, wanted: tuple[float, float] | None) -> tuple[float, float] | None:
    """A point `(y, x)` of a mask `[h, w]`, 0..1: the wanted one if it is inside, else the innermost pixel's middle.

    None if the mask is hidden. The innermost pixel is the one that is furthest from all others outside of the mask (of
    several the nearest to the mask's mean), so that it lies on the thing even if that is a ring or has two parts.
    """
    if np.count_nonzero(mask) < MIN_VISIBLE_PX:
        return None
    (h, w), wanted_pixel = mask.shape, (-1, -1)
    if wanted is not None:
        wanted_pixel = min(int(wanted[0] * h), h - 1), min(int(wanted[1] * w), w - 1)
        if mask[wanted_pixel]:
            return wanted
    depth, inner = np.zeros(mask.shape, int), mask
    while inner.any():  # peel one layer of pixels after another
        depth += inner
        walled = np.pad(inner, 1)
        inner = inner & walled[:-2, 1:-1] & walled[2:, 1:-1] & walled[1:-1, :-2] & walled[1:-1, 2:]
    deepest, mean = np.argwhere(depth == depth.max()), np.argwhere(mask).mean(axis=0)
    y, x = deepest[np.argmin(((deepest - mean) ** 2).sum(axis=1))]
    return (float(y) + 0.5) / h, (float(x) + 0.5) / w


def with_boxes(facts: SceneFacts, targets: Sequence[Target], model: Any, geoms: np.ndarray) -> SceneFacts:
    """Facts with the box of each target's visible pixels, and with points moved onto them.

    A place without a shape keeps its projected point and has no box.
    """

    def located(fact: TargetFacts, target: Target) -> TargetFacts:
        mask = visible_mask(model, geoms, target)
        if mask is None:
            return fact
        return replace(fact, box_px=box_of(mask), point_px=point_in(mask, fact.point_px))

    return replace(facts, targets=tuple(map(located, facts.targets, targets)))
