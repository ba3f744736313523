"""The datasets of a run by name: `data.parts` of a config, and the same on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
import json
import math
from pathlib import Path
from typing import Annotated, Any

import tyro

from inspire_fast.core.registry import unknown_name


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """One dataset of several.

    Attributes:
        root: folder of a LeRobot dataset of any version that is read, labels beside it.
        weight: how often its samples are drawn, relative to the other parts: weights 3 and 1 make three of four samples
            come from the first, whatever the sizes. None (for all parts or for none): as often as it has samples.
        name: stands in messages and in the position that a run resumes from; the folder's name where it is empty.
        exclude_episodes: its episodes that are left out, by number.
        facts: folder that holds its `facts.parquet`, where that is not `labels` in `root`.
        columns, action_column: as in `DataConfig`, where this dataset names them otherwise; empty: the config's.
    """

    root: Path
    weight: float | None = None
    name: str = ""
    exclude_episodes: tuple[int, ...] = ()
    facts: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    action_column: str = ""

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < math.inf:
            raise ValueError(
                f"data.parts: the weight of {self.root} must be positive and finite; got {self.weight}. Leave a dataset out "
                "that is not to be drawn from."
            )

    def __str__(self) -> str:
        """As `parse` reads it."""
        weight = "" if self.weight is None else f":{self.weight:g}"
        short = f"{self.root}{weight}"
        if not short.startswith("{") and parse(short) == self:
            return short
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) or f.name == "root"}
        return json.dumps(given, default=str)


def parse(text: str) -> DataPart:
    """A part as the command line has it: `data/mine`, `data/mine:0.3`, or a JSON object of the fields of `DataPart`.

    Raises:
        ValueError: no such field, or a value that is none of the field's; says which there are.
    """
    if text.startswith("{"):
        return _from_json(text)
    path, colon, weight = text.rpartition(":")
    try:
        return DataPart(root=Path(path), weight=float(weight)) if colon and path else DataPart(root=Path(text))
    except ValueError:
        if colon and _is_number(weight):
            raise
        return DataPart(root=Path(text))  # a colon of the path's own


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_json(text: str) -> DataPart:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"data.parts: {text} is not valid JSON: {error}.") from error
    known = {
        "root": str,
        "weight": int | float | None,
        "name": str,
        "exclude_episodes": list,
        "facts": str | None,
        "columns": dict,
        "action_column": str,
    }
    for name, value in given.items():
        if name not in known:
            raise ValueError("data.parts: " + unknown_name("field of a part", name, list(known)))
        if isinstance(value, bool) or not isinstance(value, known[name]):
            raise ValueError(f"data.parts: `{name}` cannot be {value!r:.60} in {text}.")
    if "root" not in given:
        raise ValueError(f"data.parts: {text} names no `root`, the dataset's folder.")
    if any(type(n) is not int for n in given.get("exclude_episodes", ())):
        raise ValueError(f"data.parts: `exclude_episodes` must be numbers; got {given['exclude_episodes']!r:.60}.")
    if not all(isinstance(v, str) for v in given.get("columns", {}).values()):
        raise ValueError(
            f"data.parts: `columns` must be names of columns -> keys of the robot; got {given['columns']!r:.60}."
        )
    paths = {name: Path(given[name]) for name in ("root", "facts") if given.get(name) is not None}
    return DataPart(**{**given, **paths, "exclude_episodes": tuple(given.get("exclude_episodes", ()))})


DataPartArgument = Annotated[
    DataPart,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH[:WEIGHT]|JSON",
        instance_from_str=lambda words: parse(words[0]),
        is_instance=lambda value: isinstance(value, DataPart),
        str_from_instance=lambda part: [str(part)],
    ),
]


def part_names(parts: Sequence[DataPart]) -> tuple[str, ...]:
    """A name for each part: its own, or the end of its path that no other part shares."""
    ends = [part.root.resolve().parts for part in parts]
    for depth in range(1, max(map(len, ends), default=1) + 1):
        names = [part.name or "/".join(end[-depth:]) for part, end in zip(parts, ends, strict=True)]
        if len(set(names)) == len(names):
            return tuple(names)
    raise ValueError(f"data.parts: names must differ; got {[part.name or str(part.root) for part in parts]}.")


def check_parts(parts: Sequence[DataPart]) -> None:
    """Refuses parts that cannot stand beside each other.

    Raises:
        ValueError: a dataset or a name twice, or weights for some parts only.
    """
    roots = [part.root.resolve() for part in parts]
    if twice := [str(part.root) for part, root in zip(parts, roots, strict=True) if roots.count(root) > 1]:
        raise ValueError(f"data.parts names a dataset twice: {twice}. Give it once, with the weights added.")
    if len({part.weight is None for part in parts}) > 1:
        raise ValueError(f"data.parts: give weights to all parts or to none; got {[str(part) for part in parts]}.")
    part_names(parts)


def stored_parts(parts: Sequence[DataPart]) -> list[dict[str, Any]]:
    """The parts for a checkpoint's record, without machine paths."""
    names = part_names(parts)
    return [
        {**{k: v for k, v in asdict(part).items() if k not in ("root", "facts")}, "name": name}
        for part, name in zip(parts, names, strict=True)
    ]
