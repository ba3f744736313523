"""LLaVA JSON and JSON lines as LeRobot datasets of single pictures with facts; `llava_rows` has the format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from PIL import Image

from inspire_fast.core.files import numbered_lines, read_text
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.converters.base import Conversion, Description, Episode, Pending, Storage, convert
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import NO_ROBOT, write_facts
from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.picture_facts import moved, padded
from inspire_fast.data.robot_columns import PICTURE
from inspire_fast.labeling.llava_rows import LlavaOptions, parse_wording, read_turns


def convert_llava(source: Path, root: Path, *, options: LlavaOptions, storage: Storage | None = None) -> Conversion:
    """Writes a file's rows as a LeRobot dataset of single pictures with facts: a part of a mixture for `ground`.

    Raises:
        DatasetError: a row that is no such row, that asks in no stated wording, whose picture is missing or of another
            size than stated, or whose answer is no place in its picture; names file and row. With
            `storage.skip_bad_episodes` such rows are left out and listed in `conversion.json`.
    """
    scenes: dict[str, SceneFacts] = {}

    def write_labels(written: Path, names: Sequence[str]) -> None:
        facts = {number: [scenes[name]] for number, name in enumerate(names)}
        write_facts(written, facts, robot=NO_ROBOT, frame_description="none: single pictures", producer="llava")

    pending = _pending(source, options, scenes)
    return convert(pending, root, Description(fps=1, robot_type=None), storage=storage, done=write_labels)


def _pending(source: Path, options: LlavaOptions, scenes: dict[str, SceneFacts]) -> Iterator[Pending]:
    """Single frames; their facts go to `scenes`, by name."""
    wordings = [parse_wording(text) for text in options.wordings]
    for name, row in _rows(source):
        try:
            path = _picture_path(row, options.pictures)
            hw = _picture_hw(row, path)
            found = list(read_turns(row, hw, options, wordings).scenes())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            yield Pending(name=name, read=partial(_refuse, error))
            continue
        for number, (instruction, scene) in enumerate(found):
            own = name if len(found) == 1 else f"{name}, target {number}"
            scenes[own] = moved(scene, padded(hw, options.picture_hw))
            yield Pending(name=own, read=partial(_episode, path, options.picture_hw, instruction))


def _refuse(error: Exception) -> NoReturn:
    said = f"there is no {error} in the row" if isinstance(error, KeyError) else str(error)
    raise ValueError(said) from error


def _episode(path: Path, hw: tuple[int, int], instruction: str) -> Episode:
    return Episode(columns={PICTURE: resize_with_pad(_pixels(path), *hw)[None]}, task=instruction, notes={})


def _pixels(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise ValueError(f"the picture {path} cannot be read: {error}") from error


def _rows(source: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, row) of every row; lines of a `.jsonl` file, or elements of a JSON list, counted from 1."""
    if not source.is_file():
        raise DatasetError(f"{source} does not exist; it must hold LLaVA's rows as a JSON list, or as JSON lines.")
    try:
        text = read_text(source)
        lined = source.suffix == ".jsonl"
        rows = numbered_lines(text) if lined else enumerate(json.loads(text), 1)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{source} cannot be read as LLaVA's rows: {error}") from error
    for number, given in rows:
        name = f"{source.name}, {'line' if lined else 'row'} {number}"
        try:
            row = json.loads(given) if lined else given
        except ValueError as error:
            raise DatasetError(f"{name}: {error}") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{name}: expected an object with `image` and `conversations`; got {row!r:.80}")
        yield name, row


def _picture_path(row: Mapping[str, Any], folder: Path) -> Path:
    given = row.get("image", row.get("images"))
    names = given if isinstance(given, list) else [given]
    if len(names) != 1 or not isinstance(names[0], str):
        raise ValueError(f"a row needs one picture, `image` or `images` with one path; got {given!r:.120}")
    path = folder / names[0]
    if not path.is_file():
        raise ValueError(f"the picture {path} does not exist")
    return path


def _picture_hw(row: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Height and width of the picture, which must be those that the row states."""
    try:
        with Image.open(path) as image:
            w, h = image.size
    except OSError as error:
        raise ValueError(f"the picture {path} cannot be read: {error}") from error
    stated = tuple(row.get(name, value) for name, value in (("h", h), ("w", w)))
    if stated != (h, w):
        raise ValueError(f"the row is about a picture of {stated} px (h, w); {path} has {(h, w)}")
    return h, w
