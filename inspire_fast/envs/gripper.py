"""The Panda hand's shape, upright and open, as it comes down: areas of the ground and how low each part hangs.

Measured in the simulator (collision shapes at rest): pads of 16 x 8 x 16 mm whose inner faces stand 76 mm apart, and the
hand's body, 0.068 x 0.208 m, whose underside is 24 mm above the grip site; the wrist is taken for a square of 0.16 m. At yaw zero the fingers close along the
world's y axis.
"""

from __future__ import annotations

import numpy as np

from inspire_fast.envs.libero.experts.height_map import HeightMap, rectangle

PAD_BELOW_M = 0.005  # from the grip site to the pads' lower edge
PALM_ABOVE_M = 0.022  # from the grip site to the body's underside
OPENING_M = 0.076
_PAD = (0.010, 0.006)  # half sizes with 2 mm to spare, across and along the fingers' way
_PADS = np.concatenate([rectangle(_PAD, 0.004, (0, side * 0.043)) for side in (-1, 1)])
_WIDE = np.concatenate([rectangle((0.016, 0.010), 0.004, (0, side * 0.047)) for side in (-1, 1)])
_PALM = rectangle((0.036, 0.106), 0.015)
_WRIST = rectangle((0.08, 0.08), 0.02)
_WRIST_ABOVE_M = 0.13
BETWEEN = rectangle((0.008, 0.034), 0.004)


def lowest_m(ground: HeightMap, middles_m: np.ndarray, yaws_rad: np.ndarray) -> np.ndarray:
    """How low the grip site can come, `[n]`, at `[n, 2]` with the hand turned by `[n]` radians, before a part touches."""
    pads = ground.highest(middles_m, yaws_rad, _PADS) + PAD_BELOW_M
    body = ground.highest(middles_m, yaws_rad, _PALM) - PALM_ABOVE_M
    return np.maximum(np.maximum(pads, body), ground.highest(middles_m, yaws_rad, _WRIST) - _WRIST_ABOVE_M)


def crowded_m(ground: HeightMap, middles_m: np.ndarray, yaws_rad: np.ndarray) -> np.ndarray:
    """As `lowest_m`, for pads with a centimetre of room around them."""
    return ground.highest(middles_m, yaws_rad, _WIDE) + PAD_BELOW_M
