"""Which phrases InSpire's released code asks about: needed to meet its checkpoints with the text they were trained on.

The released code walks through a fixed list, takes every phrase that occurs in the instruction and cuts it out of the
text before it looks for the next. Its order is the list's, not the instruction's; "the wine_bottle" never occurs, and "the
cream cheese" is cut out of "the cream cheese box". For everything else use `grounding.ground`.
"""

from __future__ import annotations

from dataclasses import dataclass
import functools
import importlib.resources
import json
from typing import Any, cast

from inspire_fast.dialogue.grounding.grammar import normalized
from inspire_fast.dialogue.grounding.targets import ground

LIST_FILE = "released_phrases.json"
# What is asked about instead of the phrase found. One replacement after the other is made, in this order; the last but
# one is the release's own misspelling.
REWRITES: tuple[tuple[str, str], ...] = (
    ("turn on the stove", "the stove button"),
    ("turn off the stove", "the stove button"),
    ("on top of the shelf", "top of the shelf"),
    ("on the cabinet shelf", "top of the cabinet shelf"),
    ("under the cabinet shelf", "bottom of the cabinet self"),
    ("on it", "the stove"),
)
# The one instruction that the released code does not look up in its list.
_BOTH_POTS = ("put both moka pots on the stove", ("the left moka pot", "the right moka pot", "the stove"))


@dataclass(frozen=True, kw_only=True)
class ReleasedPhrase:
    """A phrase of the list, and the bodies of LIBERO's scenes that may be meant: the first one that a scene has."""

    phrase: str
    bodies: tuple[str, ...]


@functools.cache
def released_phrases() -> tuple[ReleasedPhrase, ...]:
    """The list, in its order."""
    text = importlib.resources.files("inspire_fast.dialogue.grounding").joinpath(LIST_FILE).read_text(encoding="utf-8")
    entries = cast("list[dict[str, Any]]", json.loads(text)["phrases"])
    return tuple(ReleasedPhrase(phrase=entry["phrase"], bodies=tuple(entry["bodies"])) for entry in entries)


def ground_released(instruction: str) -> tuple[str, ...]:
    """What the released code asks about, as it words it.

    `"turn on the stove and put the moka pot on it"` -> `("the moka pot", "the stove button", "the stove")`.

    Raises:
        ValueError: no phrase of the list occurs; says what to do. (The release then asks nothing, and says nothing.)
    """
    found = [_rewritten(entry.phrase) for entry in matches(instruction)]
    if not found:
        raise ValueError(
            f"InSpire's released list has no phrase that occurs in {instruction!r}; it knows LIBERO's objects only. Name "
            "the targets yourself (`targets`)."
        )
    return tuple(found)


def known_as(instruction: str) -> dict[str, str]:
    """Phrase that the released code asks about -> the phrase of ours under which its facts are stored.

    `"put the wine bottle on top of the cabinet"` -> `{"top of the cabinet": "the cabinet"}`.

    Raises:
        ValueError: no phrase of the list occurs, or one of them is none of the instruction's targets.
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
    """The list's entries found, in its order, before they are rewritten."""
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
