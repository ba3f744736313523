"""Grounding of InSpire's released code, needed to give its checkpoints the text they were trained on.

The released code walks through a fixed list, takes every phrase that occurs in the instruction and cuts it out of the
text before it looks for the next one. The order is that of the list, not of the instruction; "the wine_bottle" never
occurs, and "the cream cheese" is cut out of "the cream cheese box". For everything else use `targets.ground`.
"""

from __future__ import annotations

from dataclasses import dataclass
import functools
import importlib.resources
import json
from typing import Any, cast

from inspire_fast.dialogue.grounding.targets import ground
from inspire_fast.dialogue.grounding.wording import normalized

LIST_FILE = "released_phrases.json"
# Replacements in the found phrase, applied one after the other in this order. The last but one is the release's own
# misspelling.
REWRITES: tuple[tuple[str, str], ...] = (
    ("turn on the stove", "the stove button"),
    ("turn off the stove", "the stove button"),
    ("on top of the shelf", "top of the shelf"),
    ("on the cabinet shelf", "top of the cabinet shelf"),
    ("under the cabinet shelf", "bottom of the cabinet self"),
    ("on it", "the stove"),
)
# The only instruction that the released code does not look up in its list.
_BOTH_POTS = ("put both moka pots on the stove", ("the left moka pot", "the right moka pot", "the stove"))


@dataclass(frozen=True, kw_only=True)
class ReleasedPhrase:
    """A phrase of the list and its candidate bodies in LIBERO's scenes; the first one that a scene has is meant."""

    phrase: str
    bodies: tuple[str, ...]


@functools.cache
def released_phrases() -> tuple[ReleasedPhrase, ...]:
    """The list in its order."""
    text = importlib.resources.files("inspire_fast.dialogue.grounding").joinpath(LIST_FILE).read_text(encoding="utf-8")
    entries = cast("list[dict[str, Any]]", json.loads(text)["phrases"])
    return tuple(ReleasedPhrase(phrase=entry["phrase"], bodies=tuple(entry["bodies"])) for entry in entries)


def ground_released(instruction: str) -> tuple[str, ...]:
    """Phrases that the released code asks about, in its words.

    `"turn on the stove and put the moka pot on it"` -> `("the moka pot", "the stove button", "the stove")`.

    Raises:
        ValueError: no phrase of the list occurs; tells what to do. (The release then silently asks nothing.)
    """
    found = [_rewritten(entry.phrase) for entry in matches(instruction)]
    if not found:
        raise ValueError(
            f"InSpire's released list has no phrase that occurs in {instruction!r}; it knows LIBERO's objects only. "
            "Name the targets yourself (`targets`)."
        )
    return tuple(found)


def known_as(instruction: str) -> dict[str, str]:
    """Phrase that the released code asks about -> our phrase, by which its facts are stored.

    `"put the wine bottle on top of the cabinet"` -> `{"top of the cabinet": "the cabinet"}`.

    Raises:
        ValueError: no phrase of the list occurs, or a found one is none of the instruction's targets.
    """
    ours, known = ground(instruction), dict(zip(ground_released(instruction), matches(instruction), strict=True))
    return {asked: _ours(entry.phrase, asked, ours) for asked, entry in known.items()}


def _ours(phrase: str, asked: str, ours: tuple[str, ...]) -> str:
    for exact in (asked, phrase, "the stove" if asked == "the stove button" else ""):
        if exact in ours:
            return exact
    related = [target for target in ours if target in phrase or phrase in target]
    if len(related) != 1:
        raise ValueError(f"{asked!r} of InSpire's released list means {len(related)} of the targets {list(ours)}.")
    return related[0]


def matches(instruction: str) -> tuple[ReleasedPhrase, ...]:
    """Entries of the list that occur, in its order, before rewriting."""
    text, entries = normalized(instruction), released_phrases()
    if text == _BOTH_POTS[0]:
        return tuple(next(entry for entry in entries if entry.phrase == phrase) for phrase in _BOTH_POTS[1])
    found: list[ReleasedPhrase] = []
    for entry in entries:
        if entry.phrase in text:
            found.append(entry)
            text = text.replace(entry.phrase, "")
    return tuple(found)


def _rewritten(phrase: str) -> str:
    for old, new in REWRITES:
        phrase = phrase.replace(old, new)
    return phrase
