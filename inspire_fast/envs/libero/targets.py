"""Targets of a LIBERO task: the thing, and the point of it, that each phrase of the instruction means.

A phrase is matched in four steps:

1. Only things that the task's BDDL names in its objects of interest or its goal are candidates (references apart).
2. Without article and position words, the phrase must *equal* one of the thing's names.
3. Position words must agree with the places where things start.
4. The goal's order decides between the readings that are left.

`match_targets` raises if no reading or several remain: a wrong label is worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import itertools
import re

from inspire_fast.envs.libero.suites import Problem

# Category -> names in instructions, where they differ from the category's own words.
NAMES: dict[str, tuple[str, ...]] = {
    "akita_black_bowl": ("black bowl", "bowl"),
    "black_book": ("book",),
    "chefmate_8_frypan": ("frying pan",),
    "cream_cheese": ("cream cheese", "cream cheese box"),
    "desk_caddy": ("caddy", "compartment"),
    "flat_stove": ("stove", "stove button"),
    "new_salad_dressing": ("salad dressing",),
    "porcelain_mug": ("white mug",),
    "red_coffee_mug": ("red mug",),
    "white_bowl": ("white bowl", "bowl"),
    "white_cabinet": ("cabinet", "drawer"),
    "white_yellow_mug": ("yellow and white mug",),
    "wine_rack": ("wine rack", "rack"),
    "wooden_cabinet": ("cabinet", "drawer"),
    "wooden_tray": ("tray",),
    "wooden_two_layer_shelf": ("cabinet shelf", "shelf", "cabinet"),
    "yellow_book": ("book",),
}
_CABINETS, _LEVELS = ("wooden_cabinet", "white_cabinet"), ("top", "middle", "bottom")
# (category, region) -> ending of the name of the body with the region's site; all other sites are on `main`.
SITE_BODIES: dict[tuple[str, str], str] = {
    **{(category, f"{level}_region"): f"cabinet_{level}" for category in _CABINETS for level in _LEVELS},
    **{(category, "top_side"): "base" for category in _CABINETS},
    ("flat_stove", "cook_region"): "burner",
}
# (category, part) -> body, and the middle of the part's collision shape along the body's own axes, metres.
HANDLES: dict[tuple[str, str], tuple[str, tuple[float, float, float]]] = {
    **{
        (category, level): (f"cabinet_{level}", (-0.0028, -0.1016, z))
        for category in _CABINETS
        for level, z in zip(_LEVELS, (0.1839, 0.1104, 0.0411), strict=True)
    },
    ("microwave", "door"): ("microdoorroot", (0.2375, -0.054, 0.0)),
    ("flat_stove", "button"): ("button", (0.0014, 0.0, 0.0257)),
}
# Region that stands for a thing whose origin is in a corner, if the thing is only a reference ("to the front of the
# stove").
_REFERENCES = {"flat_stove": "cook_region"}
_PART_WORDS = {"drawer": _LEVELS, "compartment": ("left", "right", "front", "back")}
_PART_SUFFIX = {"drawer": "region", "compartment": "contain_region"}
_POSITION = re.compile(r"\b(?:left|right|middle|front|back|top|bottom)\b")
_WHERE = re.compile(r" (?:on|at|in) the (left|right|middle|front|back)$")
_RELATION = re.compile(r" (?:between|next to|from|on|in|at|of|under) ")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One phrase and the point it means: a site, or a point of a body.

    Attributes:
        phrase: the instruction's wording, or an alias.
        owner: instance in the scene, for the grasp check.
        body: body of the scene that the point moves with.
        site: region whose centre is the point (the inside of a container, drawer or shelf, a burner), or None.
        offset_m: without a site, the point relative to the body's origin, along the body's own axes.
        alias: the reason for a phrase that is not in the instruction; empty if it is.
    """

    phrase: str
    owner: str
    body: str
    site: str | None = None
    offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alias: str = ""


def shape_body(target: Target) -> str | None:
    """The body whose shapes, with those of bodies fixed to it, are what the phrase means; None if it has no shape.

    A drawer or a button is a body of its own; "the stove" is the whole stove, even if its point is on the button. A
    compartment is a part of the room.
    """
    words = _RELATION.split(target.phrase, maxsplit=1)[0].split()
    if "compartment" in words:
        return None
    return target.body if {"drawer", "button"} & set(words) else f"{target.owner}_main"


def match_targets(phrases: Sequence[str], problem: Problem) -> tuple[Target, ...]:
    """One target per phrase, in the phrases' order.

    Raises:
        ValueError: a phrase names nothing, or several readings remain; lists the candidates.
    """
    options = [_candidates(phrase, problem) for phrase in phrases]
    readings = [reading for reading in itertools.product(*options) if len(set(map(_identity, reading))) == len(reading)]
    if len(readings) > 1:
        readings = [reading for reading in readings if _follows_goal(reading, problem)]
    if len(readings) != 1:
        found = "; ".join(f"{p!r}: {sorted(t.owner for t in o)}" for p, o in zip(phrases, options, strict=True))
        raise ValueError(
            f"{len(readings)} readings of {list(phrases)} agree with the goal {list(problem.goal)} (candidates "
            f"{found}); exactly one is needed to label a scene."
        )
    return readings[0]


def _candidates(phrase: str, problem: Problem) -> list[Target]:
    head = _RELATION.split(phrase, maxsplit=1)[0].removeprefix("the ")
    name = " ".join(_POSITION.sub(" ", head).split())
    called = [owner for owner, category in problem.categories.items() if name in _names(category)]
    involved = {problem.owner(argument) for predicate in problem.goal for argument in predicate[1:]}
    involved |= {problem.owner(argument) for argument in problem.interest}
    if name not in _PART_WORDS:
        called = _positioned(phrase, head, called, problem)
    meant = [owner for owner in called if owner in involved]
    # A reference ("to the front of the stove") may be in neither list; then it must be the only one with its name.
    meant = meant or (called if len(called) == 1 else [])
    if not meant:
        raise ValueError(
            f"The phrase {phrase!r} names none of the task's objects {sorted(involved)}"
            + (f" (several things are called {name!r}: {called})." if called else f" (nothing is called {name!r}).")
        )
    return [_aim(phrase, owner, name, head, problem) for owner in meant]


def _names(category: str) -> tuple[str, ...]:
    return NAMES.get(category, (category.replace("_", " "),))


def _positioned(phrase: str, head: str, called: list[str], problem: Problem) -> list[str]:
    """The things that start at the phrase's position word; all of them if it does not decide.

    Front is +x and right is +y (see `robots.libero`). The middle is taken along the axis of the largest spread.
    """
    place = _WHERE.search(phrase)
    word = place[1] if place else next(iter(_POSITION.findall(head)), None)
    if word is None or len(called) < 2 or not all(owner in problem.places_m for owner in called):
        return called
    where = problem.places_m
    if word == "middle":
        spread = [max(where[o][i] for o in called) - min(where[o][i] for o in called) for i in (0, 1)]
        ordered = sorted(called, key=lambda owner: where[owner][spread.index(max(spread))])
        return ordered[len(ordered) // 2 : len(ordered) // 2 + 1] if len(ordered) % 2 else called
    axis, sign = {"front": (0, 1), "back": (0, -1), "right": (1, 1), "left": (1, -1)}.get(word, (None, 0))
    return called if axis is None else [max(called, key=lambda owner: sign * where[owner][axis])]


def _aim(phrase: str, owner: str, name: str, head: str, problem: Problem) -> Target:
    category = problem.categories[owner]
    goals = [predicate for predicate in problem.goal if any(problem.owner(a) == owner for a in predicate[1:])]
    if name in _PART_WORDS:
        return _part(phrase, owner, name, head, problem)
    if name == "stove button":
        return _handle(phrase, owner, category, "button")
    for predicate in goals:
        place = predicate[-1]
        if predicate[0] in ("on", "in") and place != owner and problem.owner(place) == owner:
            return _inside(phrase, owner, category, place)
    verbs = {predicate[0] for predicate in goals}
    if verbs & {"turnon", "turnoff"}:
        return _handle(phrase, owner, category, "button")
    if verbs & {"open", "close"} and (category, "door") in HANDLES:
        return _handle(phrase, owner, category, "door")
    if category in _REFERENCES:
        return _inside(phrase, owner, category, f"{owner}_{_REFERENCES[category]}")
    return Target(phrase=phrase, owner=owner, body=f"{owner}_main")


def _part(phrase: str, owner: str, name: str, head: str, problem: Problem) -> Target:
    """A drawer or compartment: its inside if something is put into it, else its handle."""
    word = next((w for w in _PART_WORDS[name] if w in head.split()), None)
    site, category = f"{owner}_{word}_{_PART_SUFFIX[name]}", problem.categories[owner]
    verbs = {predicate[0] for predicate in problem.goal if site in predicate}
    if not verbs:
        raise ValueError(f"The phrase {phrase!r} means {site!r}, which is not part of the goal {list(problem.goal)}.")
    if word is not None and verbs <= {"open", "close"}:
        return _handle(phrase, owner, category, word)
    return _inside(phrase, owner, category, site)


def _inside(phrase: str, owner: str, category: str, site: str) -> Target:
    body = SITE_BODIES.get((category, site.removeprefix(f"{owner}_")), "main")
    return Target(phrase=phrase, owner=owner, body=f"{owner}_{body}", site=site)


def _handle(phrase: str, owner: str, category: str, part: str) -> Target:
    body, offset_m = HANDLES[category, part]
    return Target(phrase=phrase, owner=owner, body=f"{owner}_{body}", offset_m=offset_m)


def _identity(target: Target) -> tuple[str, str, str | None]:
    return target.owner, target.body, target.site


def _follows_goal(reading: Sequence[Target], problem: Problem) -> bool:
    """Whether each moved thing is named before its place ("stack the left bowl on the right bowl")."""
    position = {target.owner: index for index, target in enumerate(reading)}
    pairs = [[problem.owner(a) for a in predicate[1:]] for predicate in problem.goal if len(predicate) == 3]
    return all(position[a] < position[b] for a, b in pairs if a in position and b in position)
