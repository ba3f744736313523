"""Grammar of robot instructions: finds the things that are carried, the places where they go, and what is only touched.

It cuts an instruction into clauses ("... and place ...", "..., then close ..."). Each clause must match one pattern as
a whole, with a noun phrase in each slot (see `noun_phrase`); a pronoun refers to a thing of an earlier clause. Phrases
keep the instruction's words, article included, because the questions repeat them. What cannot be read so is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import re

from inspire_fast.dialogue.grounding.patterns import PATTERNS, PRONOUNS, Reading, Role, read
from inspire_fast.dialogue.grounding.verbs import PERSONS, VERB
from inspire_fast.dialogue.grounding.wording import FILLER, normalized, plain


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


_VERBS = frozenset(re.findall(r"[a-z]+", re.sub(r"\?:", "", VERB)))
_BEGINS_WITH_VERB = re.compile(rf"{VERB}\b")
_CUT = re.compile(r"(?: [,;.])+(?: (?:and|then))* | (?:and |then )+")


def parse(instruction: str) -> tuple[Step, ...]:
    """Steps of an instruction, in its order.

    `"pick up the bowl and place it on the plate"` -> a step that carries "the bowl", and one that carries "the bowl" to
    the place "the plate".

    Raises:
        ValueError: a clause matches no pattern, or names only pronouns; lists the patterns.
    """
    clauses = _clauses(plain(instruction))
    steps = None if clauses is None else _resolved(clauses)
    if not steps or not _is_clear(instruction, steps, clauses or []):
        tried = "; ".join(name for name, _ in PATTERNS)
        raise ValueError(
            f"No target found in the instruction {instruction!r}. Patterns tried: {tried}. Each thing must be a noun "
            'phrase: no verb, preposition or "then" in front, no amount, no arm or gripper, one thing. '
            "Reword it, or name the targets yourself (`targets`)."
        )
    return steps


def _is_clear(instruction: str, steps: tuple[Step, ...], clauses: list[Reading]) -> bool:
    """Whether there is a target, each in the instruction's words, and nothing is put down twice by the same words."""
    words = normalized(instruction)
    put = Counter(
        phrase
        for _, things in clauses
        if any(role in (Role.PLACE, Role.REFERENCE) for _, role in things)
        for phrase, role in things
        if role is Role.CARRIED and phrase not in PRONOUNS
    )
    phrases = [mention.phrase for step in steps for mention in step.mentions]
    return bool(phrases) and all(phrase in words for phrase in phrases) and max(put.values(), default=0) < 2


def _clauses(text: str) -> list[Reading] | None:
    """Cuts the text into as many clauses as possible that all match a pattern; None if no cut does."""
    found = [cut for cut in _CUT.finditer(text) if _BEGINS_WITH_VERB.match(_bare(text[cut.end() :]))]
    cuts = [(0, 0), *(cut.span() for cut in found), (len(text), len(text))]
    best: list[list[Reading] | None] = [[], *[None] * (len(cuts) - 1)]  # of the text up to each cut
    for stop in range(1, len(cuts)):
        for start in range(stop):
            before = best[start]
            if before is None or len(before) < len(best[stop] or ()):
                continue
            if (reading := read(_bare(text[cuts[start][1] : cuts[stop][0]]))) is not None:
                best[stop] = [*before, reading]
    return best[-1]


def _bare(clause: str) -> str:
    """A clause without polite words, its verb in the base form: "placing the cup" -> "place the cup"."""
    clause = FILLER.sub("", f"{clause} ").strip()
    verb, _, rest = clause.partition(" ")
    stem = verb.removesuffix("ing").removesuffix("s")
    if verb in _VERBS or stem == verb:
        return clause
    known = next((form for form in (stem, f"{stem}e", stem[:-1]) if form in _VERBS), verb)
    return f"{known} {rest}"


def _resolved(clauses: list[Reading]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for name, things in clauses:
        mentions = [m for phrase, role in things for m in _mentions(phrase, role, steps)]
        steps.append(Step(pattern=name, mentions=tuple(dict.fromkeys(mentions))))
    return tuple(steps)


def _mentions(phrase: str, role: Role, before: list[Step]) -> list[Mention]:
    if phrase in PERSONS:
        return []
    if phrase not in PRONOUNS:
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
        others = step.phrases(Role.CARRIED, Role.HANDLED, Role.SOURCE) or step.phrases(Role.REFERENCE)
        if found := step.phrases(*wanted) or others:
            return found if plural else found[-1:]
    return ()
