"""Rotations as quaternions, matrices, Euler angles and rotation vectors (axis times angle).

Euler angles are roll, pitch and yaw about fixed axes: first about x, then y, then z, `R = Rz(yaw) Ry(pitch) Rx(roll)`
(`sxyz` of transforms3d, `xyz` of SciPy). Quaternions are `w x y z`.
"""

from __future__ import annotations

import numpy as np


def matrix_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """Quaternion `[4]`, w x y z, of any length but zero -> rotation matrix `[3, 3]`.

    Raises:
        ValueError: another shape, NaN, infinity, or length zero.
    """
    q = np.asarray(quaternion, np.float64)
    length = np.linalg.norm(q) if q.shape == (4,) else 0.0
    if not (np.isfinite(length) and length > 0):
        raise ValueError(f"A rotation needs a quaternion w x y z, [4], of a length that is not zero; got {quaternion}.")
    w, (x, y, z) = q[0] / length, q[1:] / length
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def relative_quaternion(base: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Quaternion `[4]`, w x y z, of `other` in the frame of `base`, `base^-1 other`, both of length 1."""
    (bw, bv), (ow, ov) = (base[0], -np.asarray(base[1:])), (other[0], np.asarray(other[1:]))
    return np.array([bw * ow - bv @ ov, *(bw * ov + ow * bv + np.cross(bv, ov))])


def matrix_from_euler(euler: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw `[3]`, rad -> rotation matrix `[3, 3]`."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(euler), np.sin(euler)
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def euler_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Rotation matrix `[3, 3]` -> roll, pitch, yaw `[3]`, rad; pitch in -pi/2 .. pi/2.

    Where the pitch is a right angle, roll and yaw turn about the same axis; then the yaw is 0.
    """
    m = np.asarray(matrix, np.float64)
    level = np.hypot(m[0, 0], m[1, 0])
    pitch = np.arctan2(-m[2, 0], level)
    if level < 1e-6:
        return np.array([np.arctan2(-m[1, 2], m[1, 1]), pitch, 0.0])
    return np.array([np.arctan2(m[2, 1], m[2, 2]), pitch, np.arctan2(m[1, 0], m[0, 0])])


def vector_from_euler(euler: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw `[3]`, rad -> rotation vector `[3]`, rad, of length 0 .. pi."""
    roll, pitch, yaw = np.asarray(euler, np.float64) / 2
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    w = cr * cp * cy + sr * sp * sy
    xyz = np.array([sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy])
    sine = np.linalg.norm(xyz)
    if w < 0:  # the same rotation, the short way round
        w, xyz = -w, -xyz
    return 2 * xyz if sine < 1e-12 else xyz / sine * 2 * np.arctan2(sine, w)
