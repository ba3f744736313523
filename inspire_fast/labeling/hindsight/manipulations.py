"""Manipulations of an instruction: the things to grip, and the place where each is let go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
import json
from pathlib import Path
import re
from typing import Any

from inspire_fast.core.files import read_text
from inspire_fast.data.errors import DatasetError
from inspire_fast.dialogue.grounding.grammar import Step
from inspire_fast.dialogue.grounding.patterns import PULLED, TOUCHED, Role
from inspire_fast.dialogue.grounding.targets import ground, steps
from inspire_fast.dialogue.grounding.wording import normalized


@dataclass(frozen=True, kw_only=True)
class Manipulation:
    """One grip of the gripper, from closing to opening.

    Attributes:
        thing: phrase of the thing that is gripped.
        place: phrase of the place where it is let go, or None.
        source: phrase of the place where it is gripped, or None.
        riding: phrases of things on top of it that come along.
        handled: possible without gripping (a drawer pushed shut, a plate pushed aside).
        touched: handled, and usually without a grip (closed, switched on or off), so a single grip belongs to another.
        pulled: handled, and impossible with a fist (opened): a grip is of the thing, however thin its handle.
        listed: one of several things that one clause names, which gives no order ("both the can and the cup").
        references: phrases that describe the place ("next to the plate") without being it.
    """

    thing: str
    place: str | None = None
    source: str | None = None
    riding: tuple[str, ...] = ()
    handled: bool = False
    touched: bool = False
    pulled: bool = False
    listed: bool = False
    references: tuple[str, ...] = ()

    @property
    def phrases(self) -> tuple[str, ...]:
        """All phrases of the manipulation."""
        return (self.thing, *self.riding, *(p for p in (self.source, self.place) if p is not None), *self.references)

    @property
    def several(self) -> bool:
        """Whether the phrase may name several things ("the markers", "two blocks"): a grip may be of any of them."""
        head = re.split(r" (?:of|on|in|at|from|with|that|which|next|near|between) ", self.thing)[0].split()
        return bool(_COUNTED & set(head)) or (_PLURAL.search(head[-1]) is not None and head[-1] not in _SINGULAR)


# The endings of nouns that are no plurals: the glass, the bus, the iris.
_PLURAL = re.compile(r"(?<![sui])s$")
_SINGULAR = frozenset(["lens", "gas", "canvas"])
_COUNTED = frozenset(["two", "three", "four", "five", "six", "all", "both", "several", "some"])


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """What an instruction asks for.

    Attributes:
        text: as recorded.
        manipulations: in its order.
        phrases: that questions are asked about.
        doubts: phrase -> the reason why it does not tell which thing is meant.
    """

    text: str
    manipulations: tuple[Manipulation, ...]
    phrases: tuple[str, ...]
    doubts: Mapping[str, str] = field(default_factory=dict)


def parse_instruction(text: str, overrides: Mapping[str, Sequence[Manipulation]] | None = None) -> Instruction:
    """Parses an instruction, or looks it up in `overrides` (see `load_overrides`).

    Raises:
        ValueError: no pattern matches; lists the patterns tried.
    """
    given = (overrides or {}).get(normalized(text))
    if given is not None:
        phrases = tuple(dict.fromkeys(phrase for manipulation in given for phrase in manipulation.phrases))
        return Instruction(text=text, manipulations=tuple(given), phrases=phrases)
    found: list[Manipulation] = []
    read = steps(text)
    for step in read:
        _add_step(step, found)
    return Instruction(text=text, manipulations=tuple(found), phrases=ground(text), doubts=_repeated(text, read))


def _repeated(text: str, read: Sequence[Step]) -> dict[str, str]:
    """Phrases that one clause uses twice ("stack the bowl on the bowl") -> the reason why that is not understood."""
    rest = normalized(text)
    mentions = Counter(phrase for step in read for phrase in {m.phrase for m in step.mentions})
    doubts = {}
    for phrase in sorted(mentions, key=len, reverse=True):  # "the mug rack" before "the mug"
        rest, count = re.subn(rf"\b{re.escape(phrase)}\b", "_", rest)
        if count > mentions[phrase]:
            doubts[phrase] = f"the instruction gives {count} things one name, so which of them is meant is not known"
    return doubts


def load_overrides(path: Path) -> dict[str, tuple[Manipulation, ...]]:
    """Reads meanings of instructions from a JSON file, for those that the grammar cannot read or reads wrongly.

    ::

        {"tidy up": [{"thing": "the can", "place": "the bin"}, {"thing": "the drawer", "handled": true}]}

    Raises:
        DatasetError: no such file, no JSON, or another shape; names the file and the instruction.
    """
    try:
        content: dict[str, Any] = json.loads(read_text(path))
        return {normalized(key): _manipulations(key, value) for key, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} must be JSON: instruction -> list of {{'thing', 'place', 'source', 'riding', 'handled'}}; only "
            f"'thing' is required: {error}"
        ) from error


def _manipulations(instruction: str, entries: Any) -> tuple[Manipulation, ...]:
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{instruction!r} needs a list of objects, at least one; got {entries!r}")
    return tuple(_manipulation(entry) for entry in entries)


def _manipulation(entry: Mapping[str, Any]) -> Manipulation:
    fields = dict(entry)
    for name in {"riding", "references"} & set(fields):
        if not isinstance(fields[name], list):
            raise ValueError(f"{name!r} must be a list of phrases; got {fields[name]!r}")
        fields[name] = tuple(fields[name])
    for name in {"handled", "touched", "pulled", "listed"} & set(fields):
        if not isinstance(fields[name], bool):
            raise ValueError(f"{name!r} must be true or false; got {fields[name]!r}")
    made = Manipulation(**fields)
    if not all(isinstance(phrase, str) and phrase.strip() for phrase in made.phrases):
        raise ValueError(f"phrases must be text that is not empty; got {entry}")
    return made


def _add_step(step: Step, found: list[Manipulation]) -> None:
    """Appends a clause's manipulations; "pick up A" and "place it on B" become one."""
    place = next(iter(step.phrases(Role.PLACE)), None)
    source = next(iter(step.phrases(Role.SOURCE)), None)
    references = step.phrases(Role.REFERENCE)
    carried = step.phrases(Role.CARRIED)
    under = {m.thing: m.place for m in found if m.place in carried and m.thing in carried}
    gripped = [thing for thing in carried if thing not in under]
    listed = len(gripped) > 1
    for thing in gripped:  # after "stack A on B", "them" are gripped by B
        riding = tuple(top for top, bottom in under.items() if bottom == thing)
        if found and found[-1].thing == thing and not (found[-1].place or found[-1].references or found[-1].handled):
            picked = found.pop()
            source = source or picked.source
        made = Manipulation(thing=thing, place=place, source=source, riding=riding, references=references)
        found.append(replace(made, listed=listed))
    handled = step.phrases(Role.HANDLED)
    for thing in handled:
        made = Manipulation(thing=thing, place=place, handled=True, references=references, listed=len(handled) > 1)
        found.append(replace(made, touched=step.pattern in TOUCHED, pulled=step.pattern in PULLED))
