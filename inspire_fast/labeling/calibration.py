"""Calibration of a fixed camera from places of the gripper in its pictures: PnP with focal search and RANSAC.

The gripper's positions are recorded in metres along the robot's axes; its places in some pictures are clicked or
detected. A pinhole camera without distortion, with square pixels and its centre in the picture's, explains both:

    camera_m = rotation @ position_m + translation_m       x right, y down, z forward
    x = w / 2 + focal_px * camera_m[0] / camera_m[2]       y likewise; x runs the other way in a mirrored picture

RANSAC solves three points at a time (Grunert 1841, after Haralick et al. 1994) under a focal length drawn at random;
the best hypotheses are refined by least squares on the points that agree. LIBERO's pictures, as openpi's client turns
them, are mirrored; so that is searched, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from inspire_fast.core.console import command_line
from inspire_fast.core.files import read_text, write_json
from inspire_fast.data.errors import DatasetError

MIN_POINTS = 12
_FOCAL = (0.4, 3.0)  # of the width: fields of view from 102 to 19 degrees
_HYPOTHESES, _REFINED, _ROUNDS = 600, 5, 6
_SCORED = 60  # places that hypotheses are compared on
_SPREAD = 0.02  # least extent in the second direction, as a share of the first: else the points are on a line


@dataclass(frozen=True, kw_only=True)
class PinholeCamera:
    """A camera that does not move, in the pictures of a dataset.

    Attributes:
        rotation: `[3, 3]`, from the robot's axes to the camera's (x right, y down, z forward).
        translation_m: `[3]`.
        focal_px: focal length in pixels of `picture_hw`.
        picture_hw: height and width, pixels.
        mirrored: left and right are exchanged in the pictures.
    """

    rotation: np.ndarray
    translation_m: np.ndarray
    focal_px: float
    picture_hw: tuple[int, int]
    mirrored: bool = False

    def pixels(self, points_m: np.ndarray) -> np.ndarray:
        """Places `[n, 2]`, (x, y) px, of points `[n, 3]`, also outside of the picture; NaN behind the camera."""
        camera = points_m @ self.rotation.T + self.translation_m
        depth = np.where(camera[:, 2] > 0, camera[:, 2], np.nan)[:, None]
        flat = self.focal_px * camera[:, :2] / depth
        return flat * [-1 if self.mirrored else 1, 1] + self._centre

    def project(self, points_m: np.ndarray) -> np.ndarray:
        """Places `[n, 2]`, (y, x) as fractions 0..1, of points `[n, 3]`; NaN outside of the picture."""
        places = self.pixels(points_m)[:, ::-1] / np.array(self.picture_hw)
        inside = ((places >= 0) & (places <= 1)).all(axis=1, keepdims=True)
        return np.where(inside, places, np.nan)

    @property
    def _centre(self) -> np.ndarray:
        return np.array(self.picture_hw[::-1]) / 2


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A camera, and how well it explains the places that it was fitted to.

    Attributes:
        name: canonical camera.
        camera: the result.
        errors_px: distance of each place from its projection, `[n]`.
        inliers: places that it was fitted to, bool `[n]`; the others do not agree with them.
        left_out_px: median error in each episode of a camera that was fitted to the other episodes; empty if there is
            one episode only, and then nothing is known about the error elsewhere.
    """

    name: str
    camera: PinholeCamera
    errors_px: np.ndarray
    inliers: np.ndarray
    left_out_px: tuple[float, ...]

    def __str__(self) -> str:
        inside = self.errors_px[self.inliers]
        side = ", mirrored" if self.camera.mirrored else ""
        focal = f"focal length {self.camera.focal_px:.0f} px of {self.camera.picture_hw[1]} px width"
        lines = [
            f"{self.name}{side}: {focal}; {len(inside)} of {len(self.inliers)} places agree",
            f"error at those: median {np.median(inside):.1f} px, 95 % below {np.quantile(inside, 0.95):.1f} px",
        ]
        if self.left_out_px:
            worst = max(self.left_out_px)
            lines.append(f"in an episode left out: median {np.median(self.left_out_px):.1f} px, worst {worst:.1f} px")
        else:
            lines.append("one episode only: the error in others is not known; mark frames of at least four")
        return "\n".join(lines)


def calibrate(
    points_m: np.ndarray,
    places_px: np.ndarray,
    episodes: Sequence[int],
    picture_hw: tuple[int, int],
    *,
    name: str = "base_0_rgb",
    focal_px: float | None = None,
    agree_px: float | None = None,
    seed: int = 0,
) -> Calibration:
    """Finds the camera.

    Args:
        points_m: gripper positions `[n, 3]`, metres, robot's axes.
        places_px: their places `[n, 2]`, (x, y) px.
        episodes: episode of each.
        picture_hw: size of the pictures, px.
        name: canonical camera.
        focal_px: if it is known; None: searched.
        agree_px: error up to which a place agrees with a hypothesis; None: 2 % of the width. Afterwards it follows from
            the spread of the errors.
        seed: of the hypotheses.

    Raises:
        DatasetError: too few places, on a line, outside of the picture, or no camera explains half of them.
    """
    points, places = np.asarray(points_m, np.float64), np.asarray(places_px, np.float64)
    _check(points, places, picture_hw)
    tolerance = agree_px or 0.02 * picture_hw[1]
    fit = _Fit(points=points, places=places, picture_hw=picture_hw, focal_px=focal_px)
    found = sorted(fit.hypotheses(tolerance, seed), key=lambda pair: pair[0])[:_REFINED]
    refined = [fit.refined(camera, tolerance) for _, camera in found]
    if not refined:
        raise DatasetError("No camera explains any three of the places; check that they are (y, x) of the gripper.")
    camera, inliers = min(refined, key=lambda pair: fit.cost(pair[0], tolerance))
    if inliers.mean() < 0.5:
        raise DatasetError(
            f"The best camera explains {inliers.sum()} of {len(inliers)} places only. Are they all of the gripper, in "
            "pictures of a camera that stands still, and are the positions in the columns of this robot's gripper?"
        )
    numbers, left_out = np.asarray(episodes), []
    for number in np.unique(numbers) if len(np.unique(numbers)) > 1 else ():
        others = numbers != number
        if (inliers & others).sum() >= MIN_POINTS:
            without = fit.least_squares(camera, inliers & others)
            left_out.append(
                float(np.median(fit.errors(without)[~others & inliers] if (~others & inliers).any() else 0))
            )
    errors = fit.errors(camera)
    return Calibration(name=name, camera=camera, errors_px=errors, inliers=inliers, left_out_px=tuple(left_out))


def save(calibration: Calibration, path: Path) -> None:
    """Writes a JSON file that `load` reads."""
    camera = calibration.camera
    content = {
        "camera": calibration.name,
        "picture_hw": list(camera.picture_hw),
        "focal_px": camera.focal_px,
        "rotation": camera.rotation.tolist(),
        "translation_m": camera.translation_m.tolist(),
        "mirrored": camera.mirrored,
        "places": len(calibration.inliers),
        "agreeing": int(calibration.inliers.sum()),
        "median_error_px": float(np.median(calibration.errors_px[calibration.inliers])),
        "left_out_px": list(calibration.left_out_px),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content, indent=1)


def load(path: Path) -> tuple[str, PinholeCamera]:
    """Canonical camera and calibration of a file that `save` wrote.

    Raises:
        DatasetError: no such file, or no calibration; names it.
    """
    try:
        stored: dict[str, Any] = json.loads(read_text(path))
        height, width = stored["picture_hw"]
        rotation, translation = np.array(stored["rotation"], float), np.array(stored["translation_m"], float)
        focal = float(stored["focal_px"])
        if rotation.shape != (3, 3) or translation.shape != (3,) or not np.isfinite([*translation, focal]).all():
            raise ValueError(f"rotation {rotation.shape}, translation_m {translation.shape}, focal_px {focal}")
        if not (np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) and focal > 0):
            raise ValueError("'rotation' must be a rotation and 'focal_px' above 0")
        camera = PinholeCamera(
            rotation=rotation,
            translation_m=translation,
            focal_px=focal,
            picture_hw=(int(height), int(width)),
            mirrored=bool(stored["mirrored"]),
        )
        return str(stored["camera"]), camera
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{path} is no calibration of a camera ({error!r}). Make one: `{command_line('label_dataset')} calibrate`."
        ) from error


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Points `[n, 3]` and their places `[n, 2]`, (x, y) px, for the search of a camera."""

    points: np.ndarray
    places: np.ndarray
    picture_hw: tuple[int, int]
    focal_px: float | None

    def hypotheses(self, tolerance: float, seed: int) -> Iterator[tuple[float, PinholeCamera]]:
        """Cameras through three points each, with their costs on some of the places."""
        width, rng = self.picture_hw[1], np.random.default_rng(seed)
        some = rng.permutation(len(self.points))[:_SCORED]
        scored = replace(self, points=self.points[some], places=self.places[some])
        for _ in range(_HYPOTHESES):
            chosen = rng.choice(len(self.points), 3, replace=False)
            focal = self.focal_px or width * float(np.exp(rng.uniform(*np.log(_FOCAL))))
            mirrored = bool(rng.integers(2))
            for rotation, translation in three_points(self.points[chosen], self._rays(chosen, focal, mirrored)):
                camera = self._camera(rotation, translation, focal, mirrored=mirrored)
                yield scored.cost(camera, tolerance), camera

    def cost(self, camera: PinholeCamera, tolerance: float) -> float:
        """Mean of the squared errors, each cut off at the tolerance: places that do not agree count the same."""
        return float((np.minimum(self.errors(camera), tolerance) ** 2).mean())

    def errors(self, camera: PinholeCamera) -> np.ndarray:
        """Distance of each place from its projection, px `[n]`; infinite behind the camera."""
        return np.nan_to_num(np.linalg.norm(camera.pixels(self.points) - self.places, axis=1), nan=np.inf)

    def refined(self, camera: PinholeCamera, tolerance: float) -> tuple[PinholeCamera, np.ndarray]:
        """The camera that fits the places that agree with it, and which those are."""
        inliers = self.errors(camera) < 3 * tolerance  # the focal length was drawn
        for _ in range(_ROUNDS):
            if inliers.sum() < MIN_POINTS // 2:
                break
            camera = self.least_squares(camera, inliers)
            errors = self.errors(camera)
            spread = 1.48 * float(np.median(errors[inliers]))  # robust standard deviation
            kept = errors < np.clip(3 * spread, 0.002 * self.picture_hw[1], tolerance * 1.5)
            if (kept == inliers).all():
                break
            inliers = kept
        return camera, inliers

    def least_squares(self, camera: PinholeCamera, chosen: np.ndarray) -> PinholeCamera:
        """The best camera for the chosen places, from this one on."""
        start = [*Rotation.from_matrix(camera.rotation).as_rotvec(), *camera.translation_m]
        free = [] if self.focal_px else [np.log(camera.focal_px)]

        def of(values: np.ndarray) -> PinholeCamera:
            focal = float(np.exp(values[6])) if len(values) > 6 else camera.focal_px
            rotation = Rotation.from_rotvec(values[:3]).as_matrix()
            return self._camera(rotation, values[3:6], focal, mirrored=camera.mirrored)

        def residuals(values: np.ndarray) -> np.ndarray:
            apart = of(values).pixels(self.points[chosen]) - self.places[chosen]
            return np.nan_to_num(apart, nan=1e4).ravel()

        scale = 0.005 * self.picture_hw[1]
        return of(
            least_squares(residuals, [*start, *free], loss="soft_l1", f_scale=scale, x_scale="jac", max_nfev=60).x
        )

    def _camera(self, rotation: np.ndarray, translation: np.ndarray, focal: float, *, mirrored: bool) -> PinholeCamera:
        return PinholeCamera(
            rotation=rotation,
            translation_m=translation,
            focal_px=focal,
            picture_hw=self.picture_hw,
            mirrored=mirrored,
        )

    def _rays(self, chosen: np.ndarray, focal: float, mirrored: bool) -> np.ndarray:  # noqa: FBT001
        """Directions `[3, 3]` of length 1 from the camera to places, one per row."""
        flat = (self.places[chosen] - np.array(self.picture_hw[::-1]) / 2) * [-1 if mirrored else 1, 1]
        rays = np.concatenate([flat / focal, np.ones((len(chosen), 1))], axis=1)
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def three_points(points: np.ndarray, rays: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Up to four poses (rotation `[3, 3]`, translation `[3]`) that see three points `[3, 3]` along rays `[3, 3]`.

    Grunert's solution in the form of Haralick et al. (1994): with the distances s1, s2 = u s1 and s3 = v s1, the law of
    cosines in the three triangles gives a polynomial of the fourth degree in v.
    """
    a2, b2, c2 = (float(((points[i] - points[j]) ** 2).sum()) for i, j in ((1, 2), (0, 2), (0, 1)))
    if min(a2, b2, c2) < 1e-8:
        return
    cos_a, cos_b, cos_c = (float(rays[i] @ rays[j]) for i, j in ((1, 2), (0, 2), (0, 1)))
    q, total = (a2 - c2) / b2, (a2 + c2) / b2
    polynomial = [
        (q - 1) ** 2 - 4 * c2 / b2 * cos_a**2,
        4 * (q * (1 - q) * cos_b - (1 - total) * cos_a * cos_c + 2 * c2 / b2 * cos_a**2 * cos_b),
        2
        * (
            q**2 - 1 + 2 * q**2 * cos_b**2 + 2 * (b2 - c2) / b2 * cos_a**2
            - 4 * total * cos_a * cos_b * cos_c + 2 * (b2 - a2) / b2 * cos_c**2
        ),
        4 * (-q * (1 + q) * cos_b + 2 * a2 / b2 * cos_c**2 * cos_b - (1 - total) * cos_a * cos_c),
        (1 + q) ** 2 - 4 * a2 / b2 * cos_c**2,
    ]  # fmt: skip
    for v in np.roots(polynomial):
        below = 2 * (cos_c - v.real * cos_a)
        if abs(v.imag) > 1e-3 or v.real <= 0 or abs(below) < 1e-9:
            continue
        u = ((q - 1) * v.real**2 - 2 * q * cos_b * v.real + 1 + q) / below
        square = b2 / (1 + v.real**2 - 2 * v.real * cos_b)
        if u > 0 and square > 0:
            yield _pose(points, rays * (np.sqrt(square) * np.array([1.0, u, v.real]))[:, None])


def _pose(points: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation that move points `[n, 3]` nearest to `seen` `[n, 3]` (Kabsch 1976)."""
    middle, middle_seen = points.mean(axis=0), seen.mean(axis=0)
    left, _, right = np.linalg.svd((seen - middle_seen).T @ (points - middle))
    rotation = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
    return rotation, middle_seen - rotation @ middle


def _check(points: np.ndarray, places: np.ndarray, picture_hw: tuple[int, int]) -> None:
    if len(points) < MIN_POINTS or points.shape != (len(places), 3) or places.shape[1] != 2:
        raise DatasetError(
            f"A calibration needs at least {MIN_POINTS} places of the gripper; got {len(places)} for {len(points)} "
            "positions. Mark more frames, of at least four episodes."
        )
    if not (np.isfinite(points).all() and ((places >= 0) & (places <= picture_hw[::-1])).all()):
        raise DatasetError(
            f"Places must lie in the picture, {picture_hw[1]} x {picture_hw[0]} px, at finite positions."
        )
    extent = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if extent[1] < _SPREAD * extent[0] or extent[0] == 0:
        raise DatasetError(
            "All marked gripper positions are on a line, which many cameras explain. Mark frames in which the gripper "
            "is at different places, of several episodes."
        )
