"""From an instruction to the phrases that name its targets, in the instruction's order.

A small grammar: the instruction is cut into clauses at " and <verb>", each clause must match one pattern, and pronouns are
dropped. A phrase is kept as the instruction words it, article included, since that is how the questions speak of it.
"""

from __future__ import annotations

import re

_PLACE = r"(?:place|put|set|drop|stack|stow)"
_PREPOSITION = (
    r"(?:on top of|in front of|to the (?:left|right|front|back) of|next to|inside|into|onto|in|on|under|near|to)"
)
_WHERE = r"(?: (?:at|in|on) the (?:front|back|middle|center|left|right))?"  # "the bowl at the front" is one phrase
_VERBS = r"(?:pick|place|put|set|drop|stack|stow|take|grasp|grab|lift|move|push|pull|open|close|shut|turn|switch)"
_PRONOUNS = ("it", "them")

# The first pattern that matches a whole clause decides; its groups are the targets, in order.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("put/place/stack A in/on/... B", rf"{_PLACE} (.+?{_WHERE}) {_PREPOSITION} (.+)"),
    ("put A inside/on top/down", rf"{_PLACE} (.+?) (?:inside|in|on top|on|down|away)"),
    ("move/push/pull A to/near/into/... B", rf"(?:move|push|pull out|pull) (.+?) (?:out of|from|{_PREPOSITION}) (.+)"),
    ("push/pull A", r"(?:push|pull out|pull) (.+)"),
    ("pick up A", r"(?:pick up|pick|grasp|grab|take|lift) (.+)"),
    ("open/close A", r"(?:open|close|shut) (.+)"),
    ("turn on/off A", r"(?:turn|switch) (?:on|off) (.+)"),
)
_COMPILED = tuple(re.compile(pattern) for _, pattern in PATTERNS)


def ground(instruction: str) -> tuple[str, ...]:
    """Phrases of the instruction's targets, each once.

    `"pick up the bowl and place it on the plate"` -> `("the bowl", "the plate")`;
    `"put both the soup and the butter in the basket"` -> `("the soup", "the butter", "the basket")`.

    Raises:
        ValueError: a clause matches no pattern; lists what was tried.
    """
    text = " ".join(instruction.lower().replace("_", " ").split()).rstrip(".!")
    phrases: list[str] = []
    for clause in re.split(rf" and (?={_VERBS}\b)", text):
        match = next((m for m in (p.fullmatch(clause) for p in _COMPILED) if m), None)
        if match is None:
            raise ValueError(_refusal(instruction, clause))
        for phrase in match.groups():
            phrases.extend(p for p in _each(phrase) if p not in _PRONOUNS and p not in phrases)
    if not phrases:
        raise ValueError(_refusal(instruction, text))
    return tuple(phrases)


def _each(phrase: str) -> list[str]:
    """The members of "both A and B"; anything else is one phrase ("the bowl between the plate and the ramekin")."""
    return phrase.removeprefix("both ").split(" and ") if phrase.startswith("both ") else [phrase]


def _refusal(instruction: str, clause: str) -> str:
    tried = "; ".join(name for name, _ in PATTERNS)
    return (
        f"No target found in {clause!r} of the instruction {instruction!r}. Patterns tried: {tried}. "
        "Reword it, or name the targets yourself (`targets`)."
    )
