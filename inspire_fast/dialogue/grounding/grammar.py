"""Grammar of robot instructions: finds the things that are carried, the places where they go, and what is only touched.

It cuts an instruction into clauses ("... and place ...", "..., then close ..."). Each clause must match one pattern as
a whole; a pronoun refers to a thing of an earlier clause. Phrases keep the instruction's words, article included,
because the questions repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass
import enum
import itertools
import re


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


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A thing that a clause names, in the instruction's words; pronouns are resolved."""

    phrase: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Step:
    """One clause: its pattern, and its things in the order of the words."""

    pattern: str
    mentions: tuple[Mention, ...]

    def phrases(self, *roles: Role) -> tuple[str, ...]:
        """Phrases in any of these roles, in order."""
        return tuple(mention.phrase for mention in self.mentions if mention.role in roles)


_SIDE = r"(?:left|right|front|back|rear|top|bottom|middle|center|centre)"
_NEXT = (
    rf"(?:in front of|to (?:the |its )?{_SIDE}(?: side)? of|next to|closer to|nearer to|close to|near to|"
    r"away from|farther from|further from|towards|toward|between|above|below|beside|near|behind|by|against|around)"
)
_INTO = r"(?:on top of|inside of|inside|into|onto|on to|in|on|underneath|beneath|under|over|through|at)"
_TO = rf"(?:{_NEXT} (?P<r>.+)|(?:{_INTO}|all the way to|to) (?P<p>.+))"
_FROM = (
    r"(?<!away )(?<!farther )(?<!further )"
    r"(?:out from under|from under|from inside|from on top of|out of|off of|off from|from|off)"
    r"(?! (?:the )?table cent)"  # "the black bowl from table center" says which bowl, and is one phrase
)
_WHERE = rf"(?: (?:at|in|on) the {_SIDE}(?: side)?)?"  # so is "the bowl at the front"
_WAY = (
    rf"(?:to (?:the |its |your )?{_SIDE}(?: side)?|inside|in|on top|on|down|away|aside|back|upright|up|over|out|"
    r"forwards?|backwards?)"
)
_PUT = (
    r"(?:place|put|set|drop|stack|stow|lay|leave|insert|plug|hang|store|load|throw|toss|return|stick|mount|slot|deposit|"
    r"drape|rest|position|move|bring|carry|transfer|deliver|shift|relocate|fit|attach|connect|screw|pack|dip|hook)"
)
_TAKE = (
    r"(?:pick up|pick out|pick|take out|take off|take|remove|get|grab|grasp|pull out|pull|lift up|lift|retrieve|fetch|"
    r"unplug|unhook|extract|move|bring|put|unload|collect|hold|raise)"
)
_SHOVE = r"(?:push|pull|slide|drag|nudge|shove|roll|scoot)"
_WIPE = r"(?:wipe|clean|scrub|dust|polish|rub|brush|dry|erase|stir|mix|cut|slice|chop|hit|poke|scoop|sweep)"
_WORK = (
    r"(?:flip over|flip|rotate|turn over|turn around|turn|spin|unfold|fold|straighten|shake|squeeze|twist|unscrew|tilt|"
    r"press down|press|click|tap|touch|reach for|reach|knock over|tip over|stretch|crumple|unlock|lock|unzip|zip|"
    r"plug in|"
    r"wipe|clean|peel|untie|tie|adjust)"
)
_POUR = r"(?:pour|empty|dump|tip)(?: out)?"
_HOW_FAR = r"(?: (?:all the way|fully|completely|halfway|again))?"
_HOW = (
    r"(?: (?:upright|upside down|over|around|in half|vertical|horizontal|clockwise|counter-?clockwise)\b.*"
    r"| from .+ to .+)?"
)

_PERSON = r"(?:me|us|you|him|her|(?:the )?(?:person|user|human|robot))"

# The first pattern that matches a whole clause decides. Groups: a carried, p place, s source, h handled, o worked on.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("open/pull open A", rf"(?:open|(?:pull|push|slide) open)(?: up)? (?P<h>.+?){_HOW_FAR}"),
    ("close A", rf"(?:close|shut|(?:pull|push|slide) (?:closed|shut))(?: up)? (?P<h>.+?){_HOW_FAR}"),
    ("pull/push/slide A open/shut", rf"(?:{_SHOVE}|swing|lift) (?P<h>.+?) (?:open|closed|shut){_HOW_FAR}"),
    ("turn on/off A", r"(?:turn|switch) (?:on|off) (?P<h>.+)"),
    ("turn A on/off", r"(?:turn|switch) (?P<h>.+) (?:on|off)"),
    ("use A to wipe/stir/... B", r"(?:use|with) (?P<a>.+?)(?: to|,) \w+(?: up| off| down)? (?P<o>.+)"),
    ("cover/fill A with B", r"(?:cover|fill|block|cap) (?P<p>.+?) (?:with|using) (?P<a>.+)"),
    ("sweep/wipe A into B", r"(?:sweep|wipe|brush|scoop)(?: up)? (?P<h>.+?) (?:into|onto|to|in) (?P<p>.+)"),
    ("wipe/stir/cut A with B", rf"{_WIPE}(?: down| off| up)? (?P<o>.+?) (?:with|using) (?P<a>.+)"),
    ("pour ... from A into B", rf"{_POUR} .+? (?:from|out of) (?P<a>.+?) (?:in|into|onto|on|over|to) (?P<o>.+)"),
    ("pour A into/over B", rf"{_POUR} (?P<a>.+?) (?:into|onto|over|in|on|out of) (?P<o>.+)"),
    ("pour out A", rf"{_POUR} (?P<a>.+?)(?: out)?"),
    ("hand me A", rf"(?:hand|give|pass|bring) {_PERSON} (?!to\b)(?P<a>.+)"),
    ("hand over A to B", r"(?:hand|give|pass)(?: over)? (?P<a>.+?)(?: over)?(?: to (?P<p>.+))?"),
    (
        "take/move/pull A from/off/out of B to C",
        rf"(?:{_TAKE}|{_SHOVE}) (?P<a>.+?) {_FROM} (?P<s>.+?) (?:and )?(?:into|onto|on to|to|on top of) (?P<p>.+)",
    ),
    ("take/pick up/pull A from/off/out of B", rf"(?:{_TAKE}|{_SHOVE}) (?P<a>.+?) {_FROM} (?P<s>.+)"),
    ("put A inside/down/to the left", rf"{_PUT} (?P<a>.+?) {_WAY}"),
    (
        "put/place/stack/hang/insert A in/on/near/... B",
        rf"{_PUT}(?: down)? (?P<a>.+?{_WHERE})(?<! is)(?<! are)(?<! sits)(?<! lies)(?<! stands)(?: back| down)? {_TO}",
    ),
    ("put down/away A", r"(?:put|set|lay) (?:down|away|back) (?P<a>.+)"),
    ("push/pull/slide A to the left/out", rf"{_SHOVE} (?P<h>.+?) {_WAY}"),
    ("push/pull/slide A to/into/... B", rf"{_SHOVE}(?: out)? (?P<h>.+?{_WHERE})(?<! is)(?<! are) {_TO}"),
    ("push/pull/slide A", rf"{_SHOVE}(?: out)? (?P<h>.+)"),
    ("pick up A", rf"{_TAKE} (?P<a>.+?)(?: up| out| off)?"),
    ("move/stack A", r"(?:move|stack|unstack|drop|release|carry|throw|store) (?P<a>.+)"),
    ("press/turn/fold/flip/wipe A", rf"{_WORK} (?P<h>.+?){_HOW}"),
)
_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in PATTERNS)
# Patterns of actions that usually push and do not grip.
TOUCHED = frozenset(["close A", "turn on/off A", "turn A on/off"])
_ROLES = {
    "r": Role.REFERENCE,
    "a": Role.CARRIED,
    "p": Role.PLACE,
    "s": Role.SOURCE,
    "h": Role.HANDLED,
    "o": Role.WORKED_ON,
}
_VERB = (
    rf"(?:{_PUT}|{_TAKE}|{_SHOVE}|{_WIPE}|{_WORK}|open|close|shut|switch|use|cover|fill|pour|empty|dump|tip|hand|give|pass|"
    r"unstack|release|swing)"
)
_VERBS = frozenset(re.findall(r"[a-z]+", re.sub(r"\?:", "", _VERB))) | {"sweep"}
_CUT = re.compile(rf"(?:,? and then|,? then|;|\.|,? and|,) (?={_VERB}\b)")
_FILLER = re.compile(
    r"^(?:(?:please|now|first|then|next|robot|ok|okay|can you|could you|would you|i want you to|you should|try to|"
    r"go|and)[ ,]+)+"
)
_ADVERB = re.compile(
    r"(?:^| )(?:please|carefully|gently|slowly|quickly|firmly|softly|lightly|once|twice|again|\w+ times)(?= |$)"
)
_THING_PRONOUNS = ("it", "that", "this", "them", "these", "those", "both", "both of them", "the other", "each other")
_PERSONS = ("me", "us", "you", "yourself", "him", "her", "the person", "the user", "the human", "the robot", "robot")
_NO_THING = frozenset(
    [
        "up",
        "down",
        "off",
        "on",
        "out",
        "in",
        "into",
        "over",
        "away",
        "back",
        "to",
        "at",
        "of",
        "from",
        "and",
        "the",
        "a",
        "an",
        "open",
        "shut",
    ]
)
_ARTICLE = r"(?:the|a|an|one|another|some|two|three|four)"
# "put the marker in the cup and the eraser in the box": the second clause has lost its verb.
_CLAUSE_PART = r"(?:(?! and | between |,).)+?"
_ELLIPSIS = re.compile(
    rf"\b(?P<verb>{_PUT}) (?P<rest>{_CLAUSE_PART} {_INTO} {_CLAUSE_PART}),? and "
    rf"(?={_ARTICLE} {_CLAUSE_PART} (?:{_INTO}|{_NEXT}) )"
)
_BEFORE_ARTICLE = frozenset(re.findall(r"[a-z]+", f"{_INTO} {_NEXT}")) | frozenset(
    ["of", "and", "or", "with", "from", "for", "than", "is", "are", "containing", "holding", "both", "off"]
)
_CUT_SHORT = re.compile(r" (?:that|which)(?: \w+)?$")  # "the cup that sits"
_RELATIVE = re.compile(r"\b(?:between|with|that|which|of)\b")


def parse(instruction: str) -> tuple[Step, ...]:
    """Steps of an instruction, in its order.

    `"pick up the bowl and place it on the plate"` -> a step that carries "the bowl", and one that carries "the bowl" to
    the place "the plate".

    Raises:
        ValueError: a clause matches no pattern, or names only pronouns; lists the patterns.
    """
    text = normalized(instruction)
    text = _with_verbs(" ".join(_ADVERB.sub("", _FILLER.sub("", text)).split()))
    clauses = _clauses(text)
    steps = None if clauses is None else _resolved(clauses)
    if not steps or not any(step.mentions for step in steps):
        tried = "; ".join(name for name, _ in PATTERNS)
        raise ValueError(
            f"No target found in the instruction {instruction!r}. Patterns tried: {tried}. "
            "Reword it, or name the targets yourself (`targets`)."
        )
    return steps


def normalized(instruction: str) -> str:
    """The instruction in lower case, with single spaces and without a full stop, for comparison and parsing."""
    return " ".join(instruction.lower().replace("_", " ").split()).strip(" .!?,;")


def _with_verbs(text: str) -> str:
    """Repeats an omitted verb: "put A in B and C in D" -> "put A in B and put C in D"."""
    while (longer := _ELLIPSIS.sub(r"\g<verb> \g<rest> and \g<verb> ", text, count=1)) != text:
        text = longer
    return text


_Found = tuple[str, tuple[tuple[str, Role], ...]]  # pattern, and (phrase, role) in the order of the words


def _clauses(text: str) -> list[_Found] | None:
    """Cuts the text into as many clauses as possible that all match a pattern; None if no cut does."""
    cuts = [match.span() for match in _CUT.finditer(text)]
    for kept in (c for n in range(len(cuts), -1, -1) for c in itertools.combinations(cuts, n)):
        starts, ends = [0, *(end for _, end in kept)], [*(start for start, _ in kept), len(text)]
        found = [_match(text[start:end]) for start, end in zip(starts, ends, strict=True)]
        if all(found):
            return [clause for clause in found if clause]
    return None


def _match(clause: str) -> _Found | None:
    clause = _base_form(_FILLER.sub("", clause).strip(" ,"))
    for name, pattern in _COMPILED:
        if match := pattern.fullmatch(clause):
            groups = sorted((match.start(key), key) for key, value in match.groupdict().items() if value)
            things = [(phrase, _ROLES[key[0]]) for _, key in groups for phrase in _each(match[key])]
            if any(not _names_one_thing(phrase) for phrase, _ in things):
                continue
            if sum(role is Role.PLACE for _, role in things) > 1:
                continue  # ambiguous: one of them, or each in turn ("between" has another role)
            if re.search(r" (?:inside|on top|in)$", clause) and not any(role is Role.PLACE for _, role in things):
                things.append(("it", Role.PLACE))  # "put the bowl inside": inside the thing that was opened before
            return name, tuple(things)
    return None


def _names_one_thing(phrase: str) -> bool:
    """True if a phrase can name exactly one thing; not "the robot the cup", "both cups" or "the cup that is"."""
    words = phrase.split()
    if set(words) <= _NO_THING or (phrase not in _THING_PRONOUNS and (words[0] == "both" or _CUT_SHORT.search(phrase))):
        return False
    articles = (i for i, word in enumerate(words) if i > 0 and word in ("the", "a", "an"))
    return all(words[i - 1] in _BEFORE_ARTICLE for i in articles)


def _base_form(clause: str) -> str:
    """`placing the cup` -> `place the cup`, for known verbs."""
    verb, _, rest = clause.partition(" ")
    stem = verb.removesuffix("ing")
    if verb in _VERBS or stem == verb:
        return clause
    known = next((form for form in (stem, f"{stem}e", stem[:-1]) if form in _VERBS), verb)
    return f"{known} {rest}"


def _each(phrase: str) -> list[str]:
    """Members of a list ("both A and B", "the A, the B and the C"); "the yellow and white mug" is one thing."""
    if phrase.startswith("both ") and " and " in phrase:
        return phrase.removeprefix("both ").split(" and ")
    first_relative = _RELATIVE.search(phrase)  # "the bowl between the plate and the ramekin" is one thing
    end = len(phrase) if first_relative is None else first_relative.start()
    members = re.split(rf"(?:,? and |, )(?={_ARTICLE}\b)", phrase[:end])
    return [*members[:-1], members[-1] + phrase[end:]]


def _resolved(clauses: list[_Found]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for name, things in clauses:
        mentions = [m for phrase, role in things for m in _mentions(phrase, role, steps)]
        steps.append(Step(pattern=name, mentions=tuple(dict.fromkeys(mentions))))
    return tuple(steps)


def _mentions(phrase: str, role: Role, before: list[Step]) -> list[Mention]:
    if phrase in _PERSONS:
        return []
    if phrase not in _THING_PRONOUNS:
        return [Mention(phrase=phrase, role=role)]
    return [Mention(phrase=antecedent, role=role) for antecedent in _antecedents(phrase, role, before)]


def _antecedents(pronoun: str, role: Role, before: list[Step]) -> tuple[str, ...]:
    """Phrases that a pronoun refers to: a carried pronoun to a carried thing, any other to a place or handled thing.

    "them" after "stack A on B" refers to both.
    """
    plural = pronoun in ("them", "these", "those", "both", "both of them")
    if role is Role.CARRIED:
        wanted = (Role.CARRIED, Role.PLACE) if plural else (Role.CARRIED,)
    else:
        wanted = (Role.PLACE, Role.HANDLED, Role.REFERENCE)
    for step in reversed(before):
        if found := step.phrases(*wanted) or step.phrases(Role.CARRIED, Role.HANDLED, Role.SOURCE):
            return found if plural else found[-1:]
    return ()
