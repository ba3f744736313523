"""Which bodies of a LIBERO scene the phrases of an instruction mean, and which point of each one is aimed at.

Only things that the task's BDDL names in its objects of interest or its goal can be meant (reference objects apart), a
phrase must *equal* one of a thing's names after its article and position words are taken off, and what is still open is
decided by the goal's order. Where that leaves no or several readings, `match_targets` raises: a wrong label is worse
than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import itertools
import re

from inspire_fast.envs.suites import Problem

# How instructions call things whose category does not say it. Any other category is called by its own words.
NAMES: dict[str, tuple[str, ...]] = {
    "akita_black_bowl": ("black bowl", "bowl"),
    "black_book": ("book",),
    "chefmate_8_frypan": ("frying pan",),
    "cream_cheese": ("cream cheese", "cream cheese box"),
    "desk_caddy": ("caddy", "compartment"),
    "flat_stove": ("stove",),
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
# Heights above a container's origin, metres, at which InSpire's released code aims: (category, region of the goal).
LIFTS_M: dict[tuple[str, str], float] = {
    ("basket", "contain_region"): 0.07185,
    ("white_cabinet", "top_side"): 0.22152,
    ("wine_rack", "top_region"): 0.05903,
    ("wooden_cabinet", "top_side"): 0.22152,
    ("wooden_two_layer_shelf", "top_side"): 0.22152,
}
_PART_WORDS = {"drawer": ("top", "middle", "bottom"), "compartment": ("left", "right", "front", "back")}
_PART_SUFFIX = {"drawer": "region", "compartment": "contain_region"}
_POSITION = re.compile(r"\b(?:left|right|middle|front|back|top|bottom)\b")
_RELATION = re.compile(r" (?:between|next to|from|on|in|at|of|under) ")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One phrase and the point it means: a site, or a body plus a height.

    Attributes:
        phrase: as the instruction words it.
        owner: instance in the scene; what the grasp check is about.
        site: region whose centre is aimed at, or None for the body.
        part: suffix of the owner's body to aim at (`button`), or None for its root.
        lift_m: height above the body's origin.
    """

    phrase: str
    owner: str
    site: str | None = None
    part: str | None = None
    lift_m: float = 0.0


def match_targets(phrases: Sequence[str], problem: Problem) -> tuple[Target, ...]:
    """One target per phrase, in the phrases' order.

    Raises:
        ValueError: a phrase names nothing, or more than one reading is left; lists the candidates.
    """
    options = [_candidates(phrase, problem) for phrase in phrases]
    readings = [reading for reading in itertools.product(*options) if len(set(map(_identity, reading))) == len(reading)]
    if len(readings) > 1:
        readings = [reading for reading in readings if _follows_goal(reading, problem)]
    if len(readings) != 1:
        found = "; ".join(f"{p!r}: {sorted(t.owner for t in o)}" for p, o in zip(phrases, options, strict=True))
        raise ValueError(
            f"{len(readings)} readings of {list(phrases)} agree with the goal {list(problem.goal)} (candidates {found}); "
            "exactly one is needed to label a scene."
        )
    return readings[0]


def _candidates(phrase: str, problem: Problem) -> list[Target]:
    head = _RELATION.split(phrase, maxsplit=1)[0].removeprefix("the ")
    name = " ".join(_POSITION.sub(" ", head).split())
    called = [owner for owner, category in problem.categories.items() if name in _names(category)]
    involved = {problem.owner(argument) for predicate in problem.goal for argument in predicate[1:]}
    involved |= {problem.owner(argument) for argument in problem.interest}
    meant = [owner for owner in called if owner in involved]
    # A reference ("to the front of the stove") may stand in neither list; then it must be the only one of its name.
    meant = meant or (called if len(called) == 1 else [])
    if not meant:
        raise ValueError(
            f"The phrase {phrase!r} names none of the task's objects {sorted(involved)}"
            + (f" (several things are called {name!r}: {called})." if called else f" (nothing is called {name!r}).")
        )
    return [_aim(phrase, owner, name, head, problem) for owner in meant]


def _names(category: str) -> tuple[str, ...]:
    return NAMES.get(category, (category.replace("_", " "),))


def _aim(phrase: str, owner: str, name: str, head: str, problem: Problem) -> Target:
    goals = [predicate for predicate in problem.goal if any(problem.owner(a) == owner for a in predicate[1:])]
    if name in _PART_WORDS:
        word = next((w for w in _PART_WORDS[name] if w in head.split()), None)
        site = f"{owner}_{word}_{_PART_SUFFIX[name]}"
        if not any(site in predicate for predicate in goals):
            raise ValueError(
                f"The phrase {phrase!r} means {site!r}, of which the goal {list(problem.goal)} says nothing."
            )
        return Target(phrase=phrase, owner=owner, site=site)
    category = problem.categories[owner]
    for predicate in goals:
        place = predicate[-1]
        if predicate[0] in ("on", "in") and place != owner and problem.owner(place) == owner:
            lift_m = LIFTS_M.get((category, place.removeprefix(f"{owner}_")))
            if lift_m is None:
                return Target(phrase=phrase, owner=owner, site=place)
            return Target(phrase=phrase, owner=owner, lift_m=lift_m)
    if any(predicate[0] in ("turnon", "turnoff") for predicate in goals):
        return Target(phrase=phrase, owner=owner, part="button")
    return Target(phrase=phrase, owner=owner)


def _identity(target: Target) -> tuple[str, str | None]:
    return target.owner, target.site


def _follows_goal(reading: Sequence[Target], problem: Problem) -> bool:
    """What is moved is named before where it goes ("stack the left bowl on the right bowl")."""
    position = {target.owner: index for index, target in enumerate(reading)}
    pairs = [[problem.owner(a) for a in predicate[1:]] for predicate in problem.goal if len(predicate) == 3]
    return all(position[a] < position[b] for a, b in pairs if a in position and b in position)
