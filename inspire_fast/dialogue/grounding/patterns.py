"""Patterns of clauses, each a verb and its things, and the readings of a clause that they allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import enum
import functools
import re

from inspire_fast.dialogue.grounding.noun_phrase import SIDE, is_bare, is_tool, members
from inspire_fast.dialogue.grounding.verbs import (
    APPROACH,
    FIND,
    FROM,
    GRIP,
    INTO,
    NEXT,
    PERSON,
    PERSONS,
    POUR,
    PUT,
    REST,
    SHOVE,
    TAKE,
    WAY,
    WIPE,
    WORK,
)


class Role(enum.StrEnum):
    """Role of a thing in a clause. It decides what the gripper's opening and closing tell about the thing's position.

    `carried`: gripped, and released elsewhere. `place`: the carried thing is released there. `source`: the carried
    thing is gripped there. `handled`: moved or worked in place (drawers, knobs, pushed things). `worked_on`: named, but
    not gripped or released at (wiped by a cloth, poured into). `reference`: locates the release without being its place
    ("next to the plate").
    """

    CARRIED = "carried"
    PLACE = "place"
    SOURCE = "source"
    HANDLED = "handled"
    WORKED_ON = "worked_on"
    REFERENCE = "reference"


_FAR = r"(?:all the way)?"
_SIDEWAYS = r"(?:to the left|to the right|left|right|up|down|forwards?|backwards?|upwards?|downwards?|back)"
_EDGE = rf"(?:the )?(?:{SIDE}|one side|the other side|side|end|edge|corner)"
_HOW = (
    rf"(?:{WAY}|upside down|around|in half|(?:vertical|horizontal)(?:ly)?(?: to (?:the )?\w+)?|from {_EDGE} to {_EDGE}|"
    r"(?:all the way )?(?:counter-?|anti-?)?clockwise|)"
)
_HAND = r"(?:hand|give|pass|bring|get|fetch|grab)"
_HOW_PUT = r"(?:(?:back|down|upright|upside down|face down|face up) |)"
_SET_DOWN = r"(?:place|put|set|drop|lay|insert|store|hang|deposit|throw|toss)"
_INSIDE = r"(?:inside|on top|in)"  # of the thing that was opened before
_ON = r"(?:(?:turn|switch|power) (?:on|off)|open|close|shut|lock|unlock|start|stop|light|activate)"

# The first pattern that matches a whole clause decides. Its alternatives are words (regular expressions) and slots. A
# slot holds a noun phrase: {a} carried, {bare} carried and not located by another thing, {p} place, {area} place on
# a surface, {s} source, {h} handled, {worked} handled and bare, {o} worked on, {tool} carried to work with, {r}
# reference; {R} is a list of references; {x} says which thing is meant, and no question is asked about it. {it} and
# {there} take no words and refer to what was named before. {m} is a clause; {c} and {w} are clauses whose things are
# all worked on, {w} without picking up or putting anything.
PATTERNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("open/pull open A", (rf"(?:open|(?:pull|push|slide) open)(?: up)? {{h}} {_FAR}",)),
    ("close A", (rf"(?:close|shut|(?:pull|push|slide) (?:closed|shut))(?: up)? {{h}} {_FAR}",)),
    ("pull/push/slide A open/shut", (rf"(?:{SHOVE}|swing|lift) {{h}} (?:open|closed|shut)(?: {_FAR})?",)),
    ("turn on/off A", (r"(?:turn|switch) (?:on|off) {h}",)),
    ("turn A on/off", (r"(?:turn|switch) {h} (?:on|off)",)),
    ("use A to turn on/open B", (rf"use {{h}} to {_ON} {{o}}", r"use {h} to (?:turn|switch) {o} (?:on|off)")),
    ("use A to wipe/stir/push B", (r"(?:use|with) {a} (?:to|,) {c}",)),
    (
        "push/press/turn/lift A to open/turn on B",
        (rf"{{m}} (?:in order |so as |)to {_ON} {{o}}", r"{m} to (?:turn|switch) {o} (?:on|off)"),
    ),
    ("cover/fill A with B", (r"(?:cover|fill|block|cap) {p} (?:with|using) {a}",)),
    ("sweep/wipe A into B", (r"(?:sweep|wipe|brush|scoop)(?: up)? {h} (?:into|onto|to|in) {p}",)),
    ("wipe/stir/cut A with B", (rf"{WIPE}(?: down| off| up)? {{o}} (?:with|using) {{a}}",)),
    (
        "open/flip/sweep A with a tool",
        (r"{w} (?:with|using) {tool}", rf"(?:open|close|shut|{WORK}|{WIPE}|{GRIP}|{SHOVE}) {{o}} using {{a}}"),
    ),
    ("pour ... from A into B", (rf"{POUR} {{x}} (?:from|out of) {{a}} (?:in|into|onto|on|over|to) {{o}}",)),
    ("pour A into/over B", (rf"{POUR} {{a}} (?:into|onto|over|in|on|out of) {{o}}",)),
    ("squeeze/shake A over B", (r"(?:squeeze|shake|sprinkle) {a} (?:over|into|onto|around) {o}",)),
    ("pour out A", (rf"{POUR} {{a}} (?:out|)",)),
    ("hand me A", (rf"{_HAND} {PERSON} {{a}}", rf"{_HAND} {PERSON} {{a}} {FROM} {{s}}")),
    (
        "hand over A to B",
        (r"(?:hand|give|pass)(?: over)? {a} (?:over|)", r"(?:hand|give|pass)(?: over)? {a} (?:over |)to {p}"),
    ),
    (
        "take/move/pull A from/off/out of B to C",
        (
            rf"(?:{TAKE}|{SHOVE}) {{a}} {FROM} {{s}} (?:and |)(?:into|onto|on to|to|on top of) {{p}}",
            rf"put {{a}} from {{s}} {INTO} {{p}}",
        ),
    ),
    (
        "take/pick up/pull A from/off/out of B",
        (rf"(?:{TAKE}|{SHOVE}) {{a}} {FROM} {{s}}", rf"from {{s}} ,?{TAKE} {{a}}"),
    ),
    (
        "put A inside/down/to the left",
        (
            rf"{PUT} {{a}} {_INSIDE} {{there}}",
            rf"{PUT} {{bare}} {WAY}",
            rf"(?:move|shift) {{a}} {WAY}",
            rf"(?:move|shift|bring) {_SIDEWAYS} {{h}}",
        ),
    ),
    (
        "put/place/stack/hang/insert A in/on/near/... B",
        (
            rf"{PUT}(?: down)? {{a}} {_HOW_PUT}(?:to|on) {{area}}",
            rf"{PUT}(?: down)? {{a}} {_HOW_PUT}{NEXT} {{r}}",
            rf"{PUT}(?: down)? {{a}} {_HOW_PUT}{NEXT} {{r}} and {NEXT} {{r}}",
            rf"{PUT}(?: down)? {{a}} {_HOW_PUT}between {{R}}",
            rf"{PUT}(?: down)? {{a}} {_HOW_PUT}(?:{INTO}|all the way to|to) {{p}}",
            rf"{GRIP} {{a}} (?:into|onto|on to|to) {{p}}",
            r"(?:lift|lift up|raise) {a} (?:above|over|towards?|away from) {r}",
            rf"{_SET_DOWN}(?: back| down)? {{it}} {INTO} {{p}}",
            rf"{_SET_DOWN}(?: back| down)? {{it}} {NEXT} {{r}}",
            rf"{INTO} {{p}} ,?{_SET_DOWN} {{a}}",
            rf"{PUT} {{bare}} (?:on|at|in) the {SIDE}(?: side)?",
        ),
    ),
    ("put down/away A", (r"(?:put|set|lay|throw|hang) (?:down|away|back|up) {a}",)),
    ("push/pull/slide A to the left/out", (rf"{SHOVE} {{h}} {_INSIDE} {{there}}", rf"{SHOVE} {{h}} {WAY}")),
    (
        "push/pull/slide A to/into/... B",
        (
            rf"{SHOVE}(?: out)? {{h}} to {{area}}",
            rf"{SHOVE}(?: out)? {{h}} {NEXT} {{r}}",
            rf"{SHOVE}(?: out)? {{h}} between {{R}}",
            rf"{SHOVE}(?: out)? {{h}} (?:{INTO}|all the way to|to) {{p}}",
        ),
    ),
    ("push/pull/slide A", (rf"{SHOVE}(?: out)? {{worked}}", rf"{SHOVE} {_SIDEWAYS} {{worked}}")),
    ("pick up A", (rf"{GRIP} {{a}} (?:up|out|off)?", rf"(?:in|on|at|inside|under) {{x}} ,?{GRIP} {{a}}")),
    ("move/stack/place A", (r"(?:move|stack|unstack|drop|release|carry|throw|store|place|put|lower) {bare}",)),
    (
        "press/turn/fold/flip/wipe A",
        (
            rf"{WORK} {{h}} {_HOW}",
            rf"{WIPE}(?: up| down| off)? {{h}}",
            r"(?:tip|knock) {h} over",
            rf"{WORK} {_SIDEWAYS} {{h}}",
            rf"{WORK} {{h}} (?:towards?|to face) {{r}}",
            rf"{WORK} {{h}} upright which is (?:in|on) {{x}}",
        ),
    ),
    ("keep holding/let go of A", (r"keep (?:holding|hold of) {a}", r"(?:let go of|release) {a}")),
    ("let go/go home/wait", (REST,)),
    ("go to/find A", (rf"(?:{APPROACH}|{FIND}) {{r}}",)),
)
# Patterns of actions that usually push and do not grip.
TOUCHED = frozenset(["close A", "turn on/off A", "turn A on/off"])
# Patterns of actions that a fist cannot do.
PULLED = frozenset(["open/pull open A"])
_ROLES = {
    "r": Role.REFERENCE,
    "R": Role.REFERENCE,
    "a": Role.CARRIED,
    "tool": Role.CARRIED,
    "bare": Role.CARRIED,
    "worked": Role.HANDLED,
    "it": Role.CARRIED,
    "there": Role.PLACE,
    "p": Role.PLACE,
    "area": Role.PLACE,
    "s": Role.SOURCE,
    "h": Role.HANDLED,
    "o": Role.WORKED_ON,
}
# "to the front of the table" is a place on it, "to the front of the stove" is next to it.
_AREA = re.compile(
    rf"(?:the )?{SIDE}(?: side)? of (?:the )?(?:table|tabletop|counter|countertop|desk|floor|workspace|workbench)"
)
_CLAUSES = ("m", "c", "w")
_AMBIGUOUS = (  # "pick up the cup with the spoon"
    "pick up A",
    "put/place/stack/hang/insert A in/on/near/... B",
    "hand me A",
)
_NO_THING = re.compile(  # "in a row", "into a ball", "take a picture of it": neither a place nor a thing
    r"take an? (?:\w+ )?(?:picture|photo|photograph|snapshot|screenshot|video|scan) of |"
    r"\b(?:in|into|to) an? (?:\w+ )?(?:row|line|circle|pile|heap|stack|tower|ring|square|triangle|pyramid|column|grid|"
    r"ball|bunch|bundle|spiral|loop|queue|pattern|shape)\b(?! of )"
)
_MANNER = re.compile(  # "grasp it from the side": not where it was
    rf"(?:the )?table cent.*|(?:the |its |one |either |any )?(?:{SIDE}|side|edge|end|corner|rim|direction)"
)
_LISTS = ("a", "h", "o", "bare", "worked", "R")  # the slots that may name several things
PRONOUNS = ("it", "that", "this", "them", "these", "those", "both", "both of them", "the other", "each other")
_LONGEST_CLAUSE = 40  # words; people's have 25 at most
_LONGEST_WORDS = 8  # of what stands between two slots

Thing = tuple[str, Role]
Reading = tuple[str, tuple[Thing, ...]]
"""Name of a pattern, and the things of a clause with their roles, in the order of the words."""


@functools.lru_cache(maxsize=1 << 12)
def read(clause: str) -> Reading | None:
    """Reads a clause by the first pattern that it matches as a whole; None if there is none."""
    words = tuple(clause.split())
    if len(words) > _LONGEST_CLAUSE or _NO_THING.search(clause):
        return None
    for name, templates in _COMPILED:
        possible = (template for template in templates if template.outline.fullmatch(clause))
        readings = [things for t in possible if (things := next(_fillings(t.parts, words), None)) is not None]
        if readings:  # the shortest first thing: "put the cup | in the sink next to the plate"
            return name, min(readings, key=lambda things: len(things[0][0]) if things else 0)
    return None


@dataclass(frozen=True, kw_only=True)
class _Template:
    """One alternative of a pattern, such as `"hand {a} to {p}"`.

    Attributes:
        parts: words as regular expressions, slots as their names.
        outline: what each match has, found much faster: the words with anything between them.
    """

    parts: tuple[re.Pattern[str] | str, ...]
    outline: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> _Template:
        parts = [part.strip() for part in re.split(r"({\w+})", text) if part.strip()]
        return cls(
            parts=tuple(part[1:-1] if part.startswith("{") else re.compile(part) for part in parts),
            outline=re.compile(" ?".join(".*" if part.startswith("{") else part for part in parts)),
        )


_COMPILED = tuple((name, tuple(map(_Template.of, alternatives))) for name, alternatives in PATTERNS)


def _fillings(parts: Sequence[re.Pattern[str] | str], words: tuple[str, ...]) -> Iterator[tuple[Thing, ...]]:
    """All ways to match words as a whole; short things first, and long texts between them."""
    if not parts:
        if not words:
            yield ()
        return
    part, *rest = parts
    stops = range(len(words) + 1) if isinstance(part, str) else range(min(len(words), _LONGEST_WORDS), -1, -1)
    for stop in stops:
        text = " ".join(words[:stop])
        if isinstance(part, re.Pattern):
            if part.fullmatch(text):
                yield from _fillings(rest, words[stop:])
        elif part in _CLAUSES:  # after what follows it, which makes the clause shorter
            tails = list(_fillings(rest, words[stop:]))
            yield from (things + tail for tail in tails if (things := _things(part, text)) is not None)
        elif (things := _things(part, text)) is not None:
            yield from (things + tail for tail in _fillings(rest, words[stop:]))


def _things(slot: str, text: str) -> tuple[Thing, ...] | None:
    """Things that a text names in a slot; None if it cannot stand there."""
    if slot in _CLAUSES:
        reading = read(text)
        if reading is None or (slot == "w" and reading[0] in _AMBIGUOUS):
            return None
        return reading[1] if slot == "m" else tuple((name, Role.WORKED_ON) for name, _ in reading[1])
    if slot in ("it", "there"):
        return None if text else (("it", _ROLES[slot]),)
    if not text:
        return None
    if (slot in ("bare", "worked") and not is_bare(text)) or (slot == "tool" and not is_tool(text)):
        return None
    if (slot == "s" and _MANNER.fullmatch(text)) or (slot == "p" and text in ("side", "the side")):  # "put it aside"
        return None
    if slot == "area" and not _AREA.fullmatch(text):
        return None
    text = text.replace(" ,", ",")
    named = (text,) if text in PRONOUNS or text in PERSONS else members(text)
    if not named or (len(named) > 1 and slot not in _LISTS) or (len(named) == 1 and slot == "R"):
        return None
    return () if slot == "x" else tuple((name, _ROLES[slot]) for name in named)
