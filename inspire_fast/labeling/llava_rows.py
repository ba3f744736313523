r"""LLaVA JSON and JSON lines: pictures with conversations about places in them, as datasets of single pictures.

A row of the file::

    {"id": 7, "image": "kitchen/7.jpg", "h": 480, "w": 640, "conversations": [
        {"from": "human", "value": "<image>\nGive the bounding box for the apple."},
        {"from": "gpt", "value": "[[365, 278, 483, 381]]"}]}

`image` (or `images`, a list of one) is a path below the folder of pictures. `h` and `w`, where a row has them, must be
the picture's. Numbers in answers are x first, in a dialect that is stated for the whole file and never guessed:

    origin          pixels of the picture as it is stored
    llava           fractions 0..1 of its width and height
    smart_resize    pixels of a resized picture: the row's `new_h` and `new_w`, one size for all rows (`resized_hw`), or
                    Qwen's rule (`max_pixels`; InternVLA-M1: 50176)

What a person's turn asks is stated, too, as wordings `kind: pattern`. `{object}` is the target's phrase,
`{instruction}` the task, `*` any other text:

    box: Give the bounding box for {object}.             two corners: [[x0, y0, x1, y1]] or [[x0, y0], [x1, y1]]
    point: Point to {object}*                            [(x, y)]
    trace: Your task is {instruction}. *trajectory*      [[x, y], [x, y], ...], the coming path
    marked: What is the next step?*                      Place the lettuce<box>[[365, 278, 483, 381]]</box> on the plate

An answer of the kind `marked` is the instruction itself, with a box behind each phrase that has one. A row without an
instruction becomes one sample per target, with the instruction "find the apple".

Sources: InternVLA-M1 (arXiv 2510.13778), its `vlm_datasets.py`; RoboInter-VQA; RoboPoint. No file of theirs is at hand.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
import json
import math
from pathlib import Path
import re
from typing import Any, Literal

import numpy as np

from inspire_fast.core.ranges import Count, require_ranges
from inspire_fast.core.registry import require_choice
from inspire_fast.core.types import SceneFacts, TargetFacts, require_box
from inspire_fast.dialogue.grounding.targets import ground
from inspire_fast.labeling.columns import Dialect, fractions
from inspire_fast.labeling.traces import POINTS, resampled

Kind = Literal["box", "point", "trace", "marked"]
Wordings = Sequence[tuple[Kind, re.Pattern[str]]]
_NUMBERS = re.compile(r"[\[(][\[\]()\s\d.,eE+-]*[\])]")
_MARK = re.compile(r"<box>(.*?)</box>", re.DOTALL)
_QWEN_PATCH = 28  # px; Qwen's sizes are multiples of it


@dataclass(frozen=True, kw_only=True)
class LlavaOptions:
    """What a file's numbers and words mean; see the module.

    Attributes:
        pictures: folder of the pictures.
        dialect: of the numbers.
        wordings: `kind: pattern` each; the first one that fits a turn counts.
        resized_hw: height and width of the resized pictures of the dialect `smart_resize`, if rows do not state them.
        max_pixels: the most pixels of pictures resized by Qwen's rule, instead.
        several_points: `refuse` rows with several points for one target, or take the one nearest the `middle` of them.
        picture_hw: size of the dataset's pictures; others are resized with padding, and places move with them.
        points: of a trace.
    """

    pictures: Path
    dialect: Dialect
    wordings: tuple[str, ...]
    resized_hw: tuple[Count, Count] | None = None
    max_pixels: Count | None = None
    several_points: Literal["refuse", "middle"] = "refuse"
    picture_hw: tuple[Count, Count] = (224, 224)
    points: Count = POINTS

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice("dialect", self.dialect, Dialect)
        require_choice("several_points", self.several_points, Literal["refuse", "middle"])
        stated = [name for name in ("resized_hw", "max_pixels") if getattr(self, name) is not None]
        if len(stated) > 1 or (stated and self.dialect != "smart_resize"):
            raise ValueError(
                f"{' and '.join(stated)}: sizes of resized pictures belong to the dialect 'smart_resize', one of them "
                f"at most; the dialect is {self.dialect!r}."
            )
        if not self.wordings:
            raise ValueError("State what is asked: wordings such as 'box: Give the bounding box for {object}.'.")
        for text in self.wordings:
            parse_wording(text)


def parse_wording(text: str) -> tuple[Kind, re.Pattern[str]]:
    """A wording as (kind, pattern of whole turns).

    Raises:
        ValueError: an unknown kind, or placeholders that do not suit it.
    """
    kind, colon, said = text.partition(":")
    require_choice("kind of a wording", kind, Kind)
    said = " ".join(said.split())
    if not colon or not said:
        raise ValueError(f"A wording is 'kind: what the person says', e.g. 'box: Where is {{object}}?'; got {text!r}.")
    wanted = {"box": "{object}", "point": "{object}", "trace": "{instruction}"}.get(kind)
    if wanted is not None and wanted not in said:
        raise ValueError(f"The wording {text!r} must hold {wanted}: a {kind} is of something.")
    parts = re.split(r"(\{object\}|\{instruction\}|\*)", said)
    groups = {"{object}": r"(?P<object>.+?)", "{instruction}": r"(?P<instruction>.+?)", "*": ".*?"}
    try:
        pattern = re.compile("".join(groups.get(part, re.escape(part)) for part in parts), re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"The wording {text!r} holds a placeholder twice: {error}.") from error
    return _kind(kind), pattern


def _kind(text: str) -> Kind:
    return text  # pyright: ignore[reportReturnType]  (checked by `require_choice`)


@dataclass(kw_only=True)
class RowFacts:
    """What a row's turns say: phrase -> places, the path, and the instruction."""

    boxes: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    trace: np.ndarray | None = None
    instruction: str = ""

    def scenes(self) -> Iterator[tuple[str, SceneFacts]]:
        """(instruction, facts): one of all, or without an instruction one per target."""
        targets = [self._target(phrase) for phrase in dict.fromkeys([*self.boxes, *self.points])]
        if self.instruction:
            yield self.instruction, SceneFacts(targets=tuple(targets), trace_px=self.trace)
        else:
            for target in targets:
                yield f"find {target.phrase}", SceneFacts(targets=(target,))

    def _target(self, phrase: str) -> TargetFacts:
        box = self.boxes.get(phrase)
        middle = None if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        point = self.points.get(phrase, middle)
        return TargetFacts(phrase=phrase, offset_m=None, grasped=False, box_px=box, point_px=point)


def _numbers_hw(row: Mapping[str, Any], hw: tuple[int, int], options: LlavaOptions) -> tuple[int, int]:
    """Height and width of the picture whose pixels the dialect `smart_resize` counts; else the picture's own."""
    if options.dialect != "smart_resize":
        return hw
    own = (row["new_h"], row["new_w"]) if {"new_h", "new_w"} <= set(row) else None
    ruled = options.resized_hw if options.max_pixels is None else qwen_size(hw, options.max_pixels)
    if own is not None and (not all(type(v) is int and v > 0 for v in own) or ruled not in (None, own)):
        raise ValueError(f"`new_h` and `new_w` are {own}; expected {ruled or 'whole numbers above 0'}")
    if (size := own or ruled) is None:
        raise ValueError(
            "the dialect 'smart_resize' needs the size of the resized picture: `new_h` and `new_w` in the row, or the "
            "option `resized_hw` or `max_pixels`"
        )
    return size


def qwen_size(hw: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """Height and width after Qwen2-VL's resizing: multiples of 28, at most `max_pixels`, the form nearly kept."""
    size = [max(round(side / _QWEN_PATCH), 1) * _QWEN_PATCH for side in hw]
    if math.prod(size) > max_pixels:
        scale = math.sqrt(math.prod(hw) / max_pixels)
        size = [max(math.floor(side / scale / _QWEN_PATCH), 1) * _QWEN_PATCH for side in hw]
    return size[0], size[1]


def read_turns(
    row: Mapping[str, Any],
    hw: tuple[int, int],
    options: LlavaOptions,
    wordings: Wordings,
) -> RowFacts:
    """What a row's conversation says about its picture, of height and width `hw`.

    Raises:
        ValueError: turns that do not alternate or fit no wording, and answers that are no place in the picture.
        KeyError: a field is missing.
    """
    size, found = _numbers_hw(row, hw, options), RowFacts()
    turns = [(turn["from"], str(turn["value"])) for turn in row["conversations"] if turn["from"] != "system"]
    speakers = [speaker for speaker, _ in turns]
    if not turns or speakers != ["human", "gpt"] * (len(turns) // 2):
        raise ValueError(f"a conversation must be turns of 'human' and 'gpt' in turn; got {speakers}")
    to_fractions = partial(_places, dialect=options.dialect, hw=size)
    for (_, asked), (_, answer) in zip(turns[::2], turns[1::2], strict=True):
        kind, said = _understood(asked, wordings)
        _read_answer(kind, said, answer, found, to_fractions, options, aspect=hw[1] / hw[0])
    if not found.instruction and found.trace is not None:
        raise ValueError("a path needs an instruction, and no turn names one")
    return found


def _understood(asked: str, wordings: Wordings) -> tuple[Kind, dict[str, str]]:
    text = " ".join(asked.replace("<image>", " ").split())
    for kind, pattern in wordings:
        if (match := pattern.fullmatch(text)) is not None:
            return kind, match.groupdict()
    raise ValueError(f"{text!r:.200} fits none of the {len(wordings)} wordings; state its own, or leave such rows out")


def _read_answer(
    kind: Kind,
    said: Mapping[str, str],
    answer: str,
    found: RowFacts,
    to_fractions: Callable[[str], np.ndarray],
    options: LlavaOptions,
    *,
    aspect: float,
) -> None:
    """Adds an answer to what the row says."""
    instruction = said.get("instruction", "")
    if kind == "marked":
        instruction, marks = _marked(answer)
        for phrase, text in marks:
            _add(found.boxes, phrase, _box(to_fractions(text), text))
    elif kind == "trace":
        if found.trace is not None:
            raise ValueError("a row must ask about one path only")
        found.trace = resampled(to_fractions(answer), options.points, aspect=aspect)
    elif kind == "box":
        _add(found.boxes, said["object"], _box(to_fractions(answer), answer))
    else:
        _add(found.points, said["object"], _point(to_fractions(answer), options.several_points))
    if instruction:
        if found.instruction not in ("", instruction):
            raise ValueError(f"a row must be about one task; got {found.instruction!r} and {instruction!r}")
        found.instruction = instruction


def _add(places: dict[str, Any], phrase: str, place: Any) -> None:
    if places.setdefault(phrase, place) != place:
        raise ValueError(f"two places of {phrase!r} in one row; a phrase names one thing")


def _places(answer: str, *, dialect: Dialect, hw: tuple[int, int]) -> np.ndarray:
    """All numbers of an answer in brackets as points, fractions `[n, 2]`, (y, x), n >= 1."""
    found: list[float] = []
    for text in _NUMBERS.findall(answer):
        try:
            found += _flat(ast.literal_eval(text))
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{text!r:.80} in the answer {answer!r:.120} is no list of numbers") from error
    if not found or len(found) % 2:
        raise ValueError(f"expected numbers x, y in brackets; the answer {answer!r:.120} has {len(found)} of them")
    return fractions(np.array(found, np.float64).reshape(-1, 2), dialect, hw, f"the answer {answer!r:.120}")


def _flat(value: Any) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for one in value for number in _flat(one)]
    return [float(value)]


def _box(corners: np.ndarray, answer: str) -> tuple[float, float, float, float]:
    if len(corners) != 2:
        raise ValueError(f"a box is two corners of one thing; the answer {answer!r:.120} has {len(corners)} points")
    y0, x0, y1, x1 = corners.ravel().tolist()
    require_box((y0, x0, y1, x1), f"the answer {answer!r:.120} (as fractions, y first)")
    return y0, x0, y1, x1


def _point(points: np.ndarray, several: str) -> tuple[float, float]:
    if len(points) > 1 and several == "refuse":
        raise ValueError(f"{len(points)} points for one target; choose `several_points` 'middle', or leave the row out")
    nearest = points[int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    return float(nearest[0]), float(nearest[1])


def _marked(answer: str) -> tuple[str, list[tuple[str, str]]]:
    """The instruction of an answer with boxes in it, and (phrase, text of its box) of each."""
    text = answer
    if answer.lstrip().startswith("{"):
        inside = [value for value in json.loads(answer).values() if isinstance(value, str)]
        if len(inside) != 1:
            raise ValueError(f"an object with boxes in a text must hold one text; got {answer!r:.120}")
        text = inside[0]
    instruction, places = "", []
    for number, part in enumerate(_MARK.split(text)):
        if number % 2:
            places.append((len(instruction.rstrip()), part))
        else:
            instruction += part
    if "box>" in instruction:
        raise ValueError(f"<box> and </box> must be pairs; got {answer!r:.120}")
    phrases, marks = ground(instruction.strip()), []
    for end, box in places:
        before = instruction[:end].lower()
        named = [phrase for phrase in phrases if before.endswith(phrase.lower())]
        if not named:
            raise ValueError(f"the box {box!r} stands behind none of the phrases {list(phrases)} of {instruction!r}")
        marks.append((max(named, key=len), box))
    return " ".join(instruction.split()), marks
