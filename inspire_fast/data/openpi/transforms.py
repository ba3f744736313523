"""Transforms: callables dictionary -> dictionary on openpi's keys, grouped with their inverses, composed in openpi's order.

repack (datasets only) -> data (the robot, delta actions) -> normalise -> model (default prompt, resize, tokenise),
and the way back in the reverse order. Names, arguments and their order are openpi's where the meaning is openpi's, so
that a config reads the same and each of these can stand among upstream's own. What differs: nothing is changed in place,
and what does not fit is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
import difflib
import re
from typing import Any, Protocol, runtime_checkable

import numpy as np

from inspire_fast.core.nested import flatten_dict, unflatten_dict
from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.normalization.delta import absolute_actions, delta_actions, pad_to_dim
from inspire_fast.data.normalization.stats import (
    NormStats,
    normalize_quantile,
    normalize_zscore,
    unnormalize_quantile,
    unnormalize_zscore,
)

DataDict = dict[str, Any]
HELD = "held"


@runtime_checkable
class DataTransformFn(Protocol):
    """One step. Inputs are not changed; keys that a step does not know pass, unless it says otherwise."""

    def __call__(self, data: DataDict) -> DataDict:
        """One dictionary in, one out."""
        ...


@dataclass(frozen=True)
class Group:
    """Transforms of the way in (`inputs`) and their inverses for the way out (`outputs`)."""

    inputs: Sequence[DataTransformFn] = ()
    outputs: Sequence[DataTransformFn] = ()

    def push(self, *, inputs: Sequence[DataTransformFn] = (), outputs: Sequence[DataTransformFn] = ()) -> Group:
        """A further layer, nearer to the model: its inputs come last, its outputs first."""
        return Group(inputs=(*self.inputs, *inputs), outputs=(*outputs, *self.outputs))


@dataclass(frozen=True)
class CompositeTransform:
    """Steps one after the other."""

    transforms: Sequence[DataTransformFn]

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        for transform in self.transforms:
            data = transform(data)
        return data


def compose(transforms: Sequence[DataTransformFn]) -> DataTransformFn:
    """One transform that applies `transforms` in order."""
    return CompositeTransform(tuple(transforms))


@dataclass(frozen=True)
class RepackTransform:
    """Builds a new dictionary from `/`-paths of the old one: `{"image": {"base": "obs/cam"}}`. What is not named is dropped."""

    structure: Any

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        return _repack(self.structure, flatten_dict(data))


def _repack(structure: Any, flat: Mapping[str, Any]) -> Any:
    if isinstance(structure, Mapping):
        return {key: _repack(inner, flat) for key, inner in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(_repack(inner, flat) for inner in structure)
    if structure not in flat:
        close = difflib.get_close_matches(str(structure), flat, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise KeyError(f"Nothing to repack at {structure!r}.{hint} The data has {sorted(flat)}.")
    return flat[structure]


def transform_dict(patterns: Mapping[str, str | None], tree: Mapping[str, Any]) -> dict[str, Any]:
    r"""Renames and drops leaves by their `/`-paths.

    Args:
        patterns: regular expression that matches a whole path -> replacement (with `\1` and the like), or None to drop.
            The first one that matches counts; other leaves stay.
        tree: nested dictionary.

    Raises:
        ValueError: two leaves get one name, or one becomes a folder of another.
    """
    renamed: dict[str, Any] = {}
    for path, value in flatten_dict(tree).items():
        pattern = next((p for p in patterns if re.fullmatch(p, path)), None)
        replacement = path if pattern is None else patterns[pattern]
        if replacement is None:
            continue
        new = path if pattern is None else re.sub(pattern, replacement, path, count=1)
        if new in renamed:
            raise ValueError(f"{path!r} would become {new!r}, which is taken.")
        renamed[new] = value
    return unflatten_dict(renamed)


@dataclass(frozen=True)
class InjectDefaultPrompt:
    """Adds `prompt` where there is none; without a default, nothing."""

    prompt: str | None

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        if self.prompt is None or "prompt" in data:
            return data
        return {**data, "prompt": np.asarray(self.prompt)}


@dataclass(frozen=True)
class PromptFromLeRobotTask:
    """`prompt` from a LeRobot dataset's `task_index`."""

    tasks: Mapping[int, str]

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        if "task_index" not in data:
            raise ValueError(f"No 'task_index' to take the prompt from; the data has {sorted(data)}.")
        index = int(np.asarray(data["task_index"]).item())
        if index not in self.tasks:
            raise ValueError(
                f"task_index {index} is none of the dataset's {len(self.tasks)} tasks: {dict(self.tasks)}."
            )
        return {**data, "prompt": self.tasks[index]}


@dataclass(frozen=True)
class ResizeImages:
    """Every uint8 picture of `image` to `[height, width, 3]`; see `resize_with_pad`."""

    height: int
    width: int

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        images = {}
        for camera, image in data["image"].items():
            try:
                images[camera] = resize_with_pad(np.asarray(image), self.height, self.width)
            except ValueError as error:
                raise ValueError(f"Camera {camera!r}: {error}") from error
        return {**data, "image": images}


@dataclass(frozen=True)
class Normalize:
    """Normalises the leaves that have statistics, by z-score or by quantiles (pi0-FAST).

    Attributes:
        norm_stats: nested like the data; None passes everything.
        use_quantiles: see `inspire_fast.data.normalization.stats`.
        strict: everything that has statistics must be there.
    """

    norm_stats: Mapping[str, Any] | None
    use_quantiles: bool = field(default=False, kw_only=True)
    strict: bool = field(default=False, kw_only=True)

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        function = normalize_quantile if self.use_quantiles else normalize_zscore
        return apply_tree(data, self.norm_stats or {}, function, strict=self.strict)


@dataclass(frozen=True)
class Unnormalize:
    """The inverse of `Normalize`. Everything that has statistics must be there, but for the actions of a held answer."""

    norm_stats: Mapping[str, Any] | None
    use_quantiles: bool = field(default=False, kw_only=True)

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        function = unnormalize_quantile if self.use_quantiles else unnormalize_zscore
        return apply_tree(data, self.norm_stats or {}, function, strict=data.get("status") != HELD)


def apply_tree(
    tree: DataDict,
    selector: Mapping[str, Any],
    function: Callable[[np.ndarray, NormStats], np.ndarray],
    *,
    strict: bool = False,
) -> DataDict:
    """Applies `function(leaf, selected)` to the leaves that `selector` has, too.

    Raises:
        ValueError: with `strict`, `selector` has a leaf that the tree lacks; or the function's own, with the leaf's name.
    """
    flat, selected = flatten_dict(tree), flatten_dict(selector)
    if strict and (missing := sorted(selected.keys() - flat.keys())):
        raise ValueError(f"There are statistics of {missing}, but the data has only {sorted(flat)}.")
    changed = {}
    for key in flat.keys() & selected.keys():
        try:
            changed[key] = function(np.asarray(flat[key]), selected[key])
        except ValueError as error:
            raise ValueError(f"{key!r}: {error} Are the statistics another robot's?") from error
    return unflatten_dict({**flat, **changed})


@dataclass(frozen=True)
class DeltaActions:
    """`actions` relative to `state` where the mask is True; see `delta_actions`. Nothing without actions or mask."""

    mask: Sequence[bool] | None

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        return _relative(data, self.mask, delta_actions)


@dataclass(frozen=True)
class AbsoluteActions:
    """The inverse of `DeltaActions`."""

    mask: Sequence[bool] | None

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        return _relative(data, self.mask, absolute_actions)


def _relative(
    data: DataDict,
    mask: Sequence[bool] | None,
    function: Callable[[np.ndarray, np.ndarray, Sequence[bool]], np.ndarray],
) -> DataDict:
    if mask is None or "actions" not in data:
        return data
    return {**data, "actions": function(np.asarray(data["actions"]), np.asarray(data["state"]), mask)}


@dataclass(frozen=True)
class PadStatesAndActions:
    """Fills `state` and `actions` with zeros up to the model's dimensions."""

    model_action_dim: int

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        keys = [key for key in ("state", "actions") if key in data]
        return {**data, **{key: pad_to_dim(np.asarray(data[key]), self.model_action_dim) for key in keys}}


@dataclass(frozen=True)
class SubsampleActions:
    """Every `stride`-th action of a chunk."""

    stride: int

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1; got {self.stride}.")

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        return {**data, "actions": np.asarray(data["actions"])[:: self.stride]}


@dataclass(frozen=True)
class Carry:
    """A transform that builds a new dictionary, as upstream's robot inputs do, with some keys carried past it."""

    transform: DataTransformFn
    keys: Sequence[str]

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        carried = {key: data[key] for key in self.keys if key in data}
        return {**self.transform(dict(data)), **carried}
