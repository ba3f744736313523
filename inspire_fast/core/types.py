"""Value types shared by all rooms: observations, facts, token sequences, answers, action chunks.

Dimension letters (see CONTRIBUTING.md): `l` sequence, `t` horizon, `a` action, `s` state, `h w c` image.
All are frozen; their arrays are read-only by agreement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import enum
import math
from typing import Any, cast

import numpy as np

from inspire_fast.core.errors import UnknownFactError


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Input of a policy in canonical form: one naming for every robot.

    Attributes:
        images: canonical camera name (openpi's, e.g. `base_0_rgb`) -> uint8 `[h, w, 3]`, RGB,
            in the orientation that the contract names.
        state: proprioception, float32 `[s]`; units are the robot's.
        prompt: the instruction in the person's words.
    """

    images: Mapping[str, np.ndarray]
    state: np.ndarray
    prompt: str

    def __post_init__(self) -> None:
        if self.state.ndim != 1 or not np.issubdtype(self.state.dtype, np.floating):
            raise ValueError(
                f"Observation.state must be a float vector [s]; got dtype {self.state.dtype}, shape {self.state.shape}."
            )
        if not np.isfinite(self.state).all():
            bad = np.flatnonzero(~np.isfinite(self.state)).tolist()
            raise ValueError(f"Observation.state holds NaN or infinity at {bad}; check the robot's sensors.")
        for name, image in self.images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
                raise ValueError(
                    f"Camera {name!r} must be uint8 [h, w, 3]; got dtype {image.dtype}, shape {image.shape}."
                )


def require_point(point: tuple[float, float], where: str) -> None:
    """Checks a point `(y, x)` in a picture.

    Raises:
        ValueError: not two fractions in 0..1; says where.
    """
    if len(point) != 2 or not (0 <= point[0] <= 1 and 0 <= point[1] <= 1):
        raise ValueError(
            f"{where} must be (y, x), fractions 0..1 of the picture's height and width; got {tuple(point)}. A point "
            "outside of the picture has no place in it: give None."
        )


def require_box(box: tuple[float, float, float, float], where: str) -> None:
    """Checks a box `(y0, x0, y1, x1)` in a picture.

    Raises:
        ValueError: not four fractions in 0..1, or swapped corners; says where.
    """
    if len(box) != 4 or not all(0 <= value <= 1 for value in box):
        raise ValueError(
            f"{where} must be (y0, x0, y1, x1), fractions 0..1 of the picture's height and width; got {tuple(box)}."
        )
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(
            f"{where} must have its top left corner first, (y0, x0, y1, x1) with y0 < y1 and x0 < x1; got {tuple(box)}."
        )


def require_trace(trace: np.ndarray, where: str) -> None:
    """Checks points `[k, 2]`, `(y, x)`, in a picture.

    Raises:
        ValueError: another shape or type, no point, or a point outside of 0..1; says where.
    """
    if trace.ndim != 2 or trace.shape[1] != 2 or not len(trace) or trace.dtype != np.float32:
        raise ValueError(f"{where} must be float32 [k, 2], k >= 1; got {trace.dtype} {list(trace.shape)}.")
    inside = ((trace >= 0) & (trace <= 1)).all(axis=1)
    if not inside.all():
        place = int(np.argmin(inside))
        raise ValueError(
            f"{where} must be (y, x), fractions 0..1 of the picture's height and width; point {place} is "
            f"{tuple(trace[place].tolist())}."
        )


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """Geometry of one object that the instruction names, at one instant.

    Attributes:
        phrase: the instruction's words for it, with the article ("the black bowl").
        offset_m: point to aim at minus gripper position, metres, float32 `[3]`, along the robot's own world axes
            (LIBERO: +x front, +y right, +z up; which word names which axis is data of the robot); None where the source
            knows only the picture.
        grasped: the gripper holds it.
        point_px: `(y, x)` in the picture that the model sees, 0..1 of its height and width, `(0, 0)` top left, where
            the camera is known (see `SceneFacts.camera`). Stored labels are of the recorded picture, in the model's
            orientation; where the model pads it to its own size, `data.picture_facts.padded` moves them.
        rotations: frame name ("gripper", "camera") -> rotation `[3, 3]` from the world axes to the axes of that frame,
            where it is known.
        box_px: `(y0, x0, y1, x1)` in the same picture: top left and bottom right corner of what is visible of it. The
            edges enclose whole pixels: one pixel at row r and column c of `[h, w]` is `(r/h, c/w, (r+1)/h, (c+1)/w)`.
    """

    phrase: str
    offset_m: np.ndarray | None
    grasped: bool
    point_px: tuple[float, float] | None = None
    rotations: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    box_px: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if not self.phrase:
            raise ValueError("TargetFacts.phrase is empty; give the words of the instruction that name the target.")
        # Of three numbers, Python's test takes a third of numpy's time, and a dataset has millions of targets.
        if self.offset_m is not None and (
            self.offset_m.shape != (3,) or not all(map(math.isfinite, self.offset_m.tolist()))
        ):
            raise ValueError(f"TargetFacts.offset_m of {self.phrase!r} must be 3 finite metres; got {self.offset_m!r}.")
        if self.point_px is not None:
            require_point(self.point_px, f"TargetFacts.point_px of {self.phrase!r}")
        if self.box_px is not None:
            require_box(self.box_px, f"TargetFacts.box_px of {self.phrase!r}")

    def offset_in(self, frame: str) -> np.ndarray:
        """The offset along the axes of a frame, metres `[3]`; "base" are the robot's world axes.

        Raises:
            UnknownFactError: the labels have no offset, or no rotation of that frame.
        """
        if self.offset_m is None:
            raise UnknownFactError(
                f"The labels of {self.phrase!r} have no offset in metres: their source knows only the picture. Ask "
                "about its place in the picture (point, box), or label the dataset with another producer."
            )
        if frame == "base":
            return self.offset_m
        if frame not in self.rotations:
            raise UnknownFactError(
                f"The labels of {self.phrase!r} have no rotation of the frame {frame!r}; they have "
                f"{['base', *sorted(self.rotations)]}. Label the dataset with that frame, or ask relative to the base."
            )
        return self.rotations[frame] @ self.offset_m


@dataclass(frozen=True, kw_only=True)
class SceneFacts:
    """Facts about every target, in the order of the instruction.

    Attributes:
        targets: facts about each; a phrase names one of them.
        gripper_px: position of the gripper, like `TargetFacts.point_px`, where the camera is known.
        trace_px: the gripper's coming path, float32 `[k, 2]`: points `(y, x)` like `gripper_px`, evenly spaced along
            the path up to the next gripper event, the last one at its end. The present position is not among them. None
            where it is not known or leaves the picture.
        camera: canonical camera (e.g. `base_0_rgb`) of all facts in pictures; None: the robot's first, as in older
            labels.
        motion_m: the gripper's coming motion over a chunk, metres, float32 `[3]`, along the axes of
            `TargetFacts.offset_m`. Not a label: readers of datasets compute it where the robot declares its position.
        quality: the source's own word for the quality of these labels (RoboInter: "Primary", "Secondary"), where it
            states one.
    """

    targets: tuple[TargetFacts, ...]
    gripper_px: tuple[float, float] | None = None
    trace_px: np.ndarray | None = None
    camera: str | None = None
    quality: str | None = None
    motion_m: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.gripper_px is not None:
            require_point(self.gripper_px, "SceneFacts.gripper_px")
        if self.trace_px is not None:
            require_trace(self.trace_px, "SceneFacts.trace_px")
        if self.camera == "" or self.quality == "":
            raise ValueError("SceneFacts.camera and .quality are a name or None; got an empty text.")
        phrases = [target.phrase for target in self.targets]
        if len(set(phrases)) != len(phrases):
            raise ValueError(
                f"SceneFacts.targets must have different phrases, because questions ask by phrase; got {phrases}. Give "
                'things of one name phrases that tell them apart ("the left mug"), and the instruction the same words.'
            )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One training or evaluation example, before normalisation and rendering.

    Attributes:
        observation: images, state and prompt.
        actions: float32 `[t, a]` in canonical units, or None at inference.
        facts: source of the questions' answers; None without labels.
        robot: registry name of the embodiment.
    """

    observation: Observation
    actions: np.ndarray | None = None
    facts: SceneFacts | None = None
    robot: str | None = None


@dataclass(frozen=True, kw_only=True)
class TokenSequence:
    """A rendered dialogue. All arrays have length `l`.

    Attributes:
        ids: int32 text-vocabulary ids.
        block: int32, non-decreasing. A token attends to every token of its own and of earlier blocks: a bidirectional
            segment is one block, each causal token is a block of its own. Images belong to block 0.
        segment: int32 index of the segment that a token came from.
        weight: float32 loss weight of *predicting* this token; 0 means not supervised.
    """

    ids: np.ndarray
    block: np.ndarray
    segment: np.ndarray
    weight: np.ndarray

    def __post_init__(self) -> None:
        lengths = {name: getattr(self, name).shape for name in ("ids", "block", "segment", "weight")}
        if len(set(lengths.values())) != 1 or self.ids.ndim != 1:
            raise ValueError(f"TokenSequence arrays must be 1-D and equally long; got {lengths}.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def supervised(self) -> np.ndarray:
        """bool `[l]`: the token is a training target."""
        return self.weight > 0

    @property
    def causal(self) -> np.ndarray:
        """bool `[l]`: the token opens a new block (openpi's `token_ar_mask`; block 0 is shared with the images)."""
        return np.diff(self.block, prepend=0) > 0


def single_text(value: Any) -> Any:
    """The text of a NumPy text array with one element, as openpi's pipelines carry prompts; other values unchanged."""
    if not isinstance(value, np.ndarray):
        return value
    array = cast(np.ndarray, value)
    return str(array.item()) if array.dtype.kind == "U" and array.size == 1 else array


class Status(enum.StrEnum):
    """Status of a chunk: it may be executed (`ok`), or the robot holds its position (`held`)."""

    OK = "ok"
    HELD = "held"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer to one question about one target, with the model's probability (0..1)."""

    question: str
    target: str
    answer: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class ActionChunk:
    """Reply of a policy: actions, answers and a status.

    Example:
        >>> import numpy as np
        >>> import inspire_fast as ifa
        >>> chunk = ifa.ActionChunk(actions=np.zeros((10, 7), np.float32))
        >>> chunk.status.value, chunk.answers
        ('ok', ())

    Attributes:
        actions: float32 `[t, a]` in the robot's canonical units; None unless `status` is `ok`. A failed decode
            never becomes zeros, as in openpi and lerobot: after unnormalisation zeros are a real motion.
        answers: the filled question slots, in the order asked.
        status: `ok` or `held`.
        reason: cause of a held chunk; empty when `ok`.
        timing_ms: phase -> milliseconds.
    """

    actions: np.ndarray | None
    answers: tuple[Answer, ...] = ()
    status: Status = Status.OK
    reason: str = ""
    timing_ms: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        if self.status is Status.OK:
            if self.actions is None or self.actions.ndim != 2:
                got = None if self.actions is None else self.actions.shape
                raise ValueError(f"An 'ok' chunk needs actions [t, a]; got {got}.")
            if not np.isfinite(self.actions).all():
                raise ValueError("An 'ok' chunk holds NaN or infinity; return a 'held' chunk with the reason instead.")
        elif self.actions is not None or not self.reason:
            raise ValueError("A 'held' chunk has no actions and needs a `reason`.")
