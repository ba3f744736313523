"""Forward kinematics of a joint chain from a URDF, its Jacobian, and inverse kinematics by damped least squares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
import xml.etree.ElementTree as ET

import numpy as np

# Damping of the inverse (metres and radians mixed): near a singularity the joints slow down instead of racing.
_DAMPING, _ITERATIONS, _LONGEST_STEP = 0.02, 20, 0.2


def rotation(vector: np.ndarray) -> np.ndarray:
    """Rotation vector `[3]` (axis times angle, rad) -> rotation matrix `[3, 3]` (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle if angle > 0 else np.zeros(3)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Rotation matrix `[3, 3]` -> rotation vector `[3]`, rad, of length 0 .. pi."""
    skew = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]) / 2
    sine, cosine = float(np.linalg.norm(skew)), (float(np.trace(matrix)) - 1) / 2
    angle = np.arctan2(sine, cosine)
    if sine > 1e-6:
        return skew * (angle / sine)
    if cosine > 0:
        return skew
    square = (matrix + np.eye(3)) / 2  # half a turn: axis times axis
    column = int(np.argmax(np.diag(square)))
    axis = square[:, column] / np.sqrt(square[column, column])
    return axis * angle


def pose_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Poses `[4, 4]` -> translation (m) and rotation vector (rad) from one to the other, `[6]`, base frame."""
    turn = rotation_vector(after[:3, :3] @ before[:3, :3].T)
    return np.concatenate([after[:3, 3] - before[:3, 3], turn])


def moved(pose: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """The inverse of `pose_difference`: a pose `[4, 4]` moved by translation and rotation vector `[6]`, base frame."""
    after = pose.copy()
    after[:3, 3] += difference[:3]
    after[:3, :3] = rotation(difference[3:]) @ pose[:3, :3]
    return after


@dataclass(frozen=True, kw_only=True)
class Kinematics:
    """A chain of `n` joints from the base to a tip.

    Attributes:
        names: of the moving joints, from the base on.
        origins: `[n, 4, 4]`: pose of each joint in the frame of the one before, at angle 0.
        axes: `[n, 3]`: unit vectors, in the joint's frame.
        slides: `[n]`: True for a joint that slides (m) instead of turning (rad).
        tip: `[4, 4]`: pose of the tip in the last joint's frame.
        low, high, velocity: `[n]`: limits of the URDF, rad and rad/s (or m); infinite where it has none.
    """

    names: tuple[str, ...]
    origins: np.ndarray
    axes: np.ndarray
    slides: np.ndarray
    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    tip: np.ndarray = field(default_factory=lambda: np.eye(4))

    def with_tool(self, tool: np.ndarray) -> Kinematics:
        """The chain with a tool: a pose `[4, 4]` in the tip's frame becomes the tip."""
        return replace(self, tip=self.tip @ tool)

    def joints(self, q: np.ndarray) -> np.ndarray:
        """Joint positions `[n]` -> poses of the joints' frames and of the tip, `[n + 1, 4, 4]`, base frame."""
        if np.shape(q) != (len(self.names),):
            raise ValueError(f"The chain has {len(self.names)} joints {self.names}; got {np.shape(q)} positions.")
        pose, poses = np.eye(4), np.empty((len(q) + 1, 4, 4))
        for index, value in enumerate(q):
            motion, axis = np.eye(4), self.axes[index]
            if self.slides[index]:
                motion[:3, 3] = axis * value
            else:
                motion[:3, :3] = rotation(axis * value)
            pose = pose @ self.origins[index] @ motion
            poses[index] = pose
        poses[-1] = pose @ self.tip
        return poses

    def pose(self, q: np.ndarray) -> np.ndarray:
        """Joint positions `[n]` -> pose of the tip `[4, 4]`, base frame, metres."""
        return self.joints(q)[-1]

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """Joint positions `[n]` -> `[6, n]`: velocity of the tip (m/s) and its turning (rad/s) per joint velocity."""
        poses = self.joints(q)
        axes = np.einsum("nij,nj->ni", poses[:-1, :3, :3], self.axes)
        arms = poses[-1, :3, 3] - poses[:-1, :3, 3]
        turning = np.where(self.slides[:, None], axes, np.cross(axes, arms))
        return np.concatenate([turning, np.where(self.slides[:, None], 0.0, axes)], axis=1).T

    def inverse(
        self, pose: np.ndarray, start: np.ndarray, *, low: np.ndarray, high: np.ndarray, rest: np.ndarray | None = None
    ) -> np.ndarray:
        """Joint positions `[n]` whose tip comes closest to a pose, searched from `start` within limits.

        Args:
            pose: `[4, 4]`, base frame. What cannot be reached is approached; compare with `self.pose(result)`.
            start: `[n]`: the result continues this posture.
            low: `[n]`: lower limits of the result.
            high: `[n]`: upper limits of the result.
            rest: `[n]`: posture to which a redundant arm tends where the tip leaves it free; by default `start`.
        """
        q, rest = np.array(start, np.float64), np.asarray(start if rest is None else rest, np.float64)
        for _ in range(_ITERATIONS):
            error = pose_difference(self.pose(q), pose)
            if np.abs(error).max() < 1e-5:
                break
            jacobian = self.jacobian(q)
            square = jacobian @ jacobian.T + _DAMPING**2 * np.eye(6)
            free = 0.05 * (rest - q)
            step = free + jacobian.T @ np.linalg.solve(square, error - jacobian @ free)
            step *= min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
            q = np.clip(q + step, low, high)
        return q


def read_urdf(text: str, *, tip: str) -> Kinematics:
    """The chain from a URDF's root link to the link `tip`.

    Raises:
        ValueError: no URDF, no such link, or a joint that is neither fixed, revolute, continuous nor prismatic.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("A URDF has no DOCTYPE and no entities; this text is refused.")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(f"This is no URDF: {error}.") from error
    parents = {
        child.get("link"): joint
        for joint in root.findall("joint")
        if (child := joint.find("child")) is not None and joint.find("parent") is not None
    }
    links = sorted(str(link.get("name")) for link in root.findall("link"))
    if tip not in links:
        raise ValueError(f"The URDF has no link {tip!r}; it has {', '.join(links) or 'none'}.")
    chain: list[ET.Element] = []
    link: str | None = tip
    while link in parents:
        chain.append(parents[link])
        link = _child(parents[link], "parent").get("link")
        if len(chain) > len(parents):
            raise ValueError(f"The URDF's joints above the link {tip!r} form a circle.")
    return _assemble(chain[::-1])


def _assemble(chain: list[ET.Element]) -> Kinematics:
    names: list[str] = []
    origins: list[np.ndarray] = []
    axes: list[np.ndarray] = []
    slides: list[bool] = []
    limits: list[tuple[float, float, float]] = []
    pose = np.eye(4)
    for joint in chain:
        name, kind = str(joint.get("name")), joint.get("type")
        pose = pose @ _origin(joint.find("origin"))
        if kind == "fixed":
            continue
        if kind not in ("revolute", "continuous", "prismatic"):
            raise ValueError(f"Joint {name!r} of the URDF is {kind}; expected fixed, revolute, continuous, prismatic.")
        axis = _numbers(joint.find("axis"), "xyz", (1.0, 0.0, 0.0))
        names.append(name)
        origins.append(pose)
        axes.append(axis / np.linalg.norm(axis))
        slides.append(kind == "prismatic")
        limits.append(_limits(joint, kind))
        pose = np.eye(4)
    if not names:
        raise ValueError("No joint of the URDF moves the tip.")
    low, high, velocity = np.array(limits).T
    return Kinematics(
        names=tuple(names),
        origins=np.array(origins),
        axes=np.array(axes),
        slides=np.array(slides),
        low=low,
        high=high,
        velocity=velocity,
        tip=pose,
    )


def _child(element: ET.Element, name: str) -> ET.Element:
    child = element.find(name)
    assert child is not None  # only joints that have it are in the chain
    return child


def _numbers(element: ET.Element | None, name: str, default: tuple[float, ...]) -> np.ndarray:
    text = None if element is None else element.get(name)
    values = np.array(default if text is None else [float(word) for word in text.split()])
    if values.shape != (3,) or not np.isfinite(values).all():
        raise ValueError(f"The URDF has {name}={text!r}; expected three numbers.")
    return values


def _origin(element: ET.Element | None) -> np.ndarray:
    roll, pitch, yaw = _numbers(element, "rpy", (0.0, 0.0, 0.0))
    pose = np.eye(4)
    pose[:3, :3] = (
        rotation(np.array([0, 0, yaw])) @ rotation(np.array([0, pitch, 0])) @ rotation(np.array([roll, 0, 0]))
    )
    pose[:3, 3] = _numbers(element, "xyz", (0.0, 0.0, 0.0))
    return pose


def _limits(joint: ET.Element, kind: str) -> tuple[float, float, float]:
    limit = joint.find("limit")
    velocity = float(np.inf if limit is None else limit.get("velocity", np.inf))
    if kind == "continuous" or limit is None:
        return -np.inf, np.inf, velocity
    return float(limit.get("lower", 0.0)), float(limit.get("upper", 0.0)), velocity
