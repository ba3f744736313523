"""Checks of a simulated scene against the table of targets."""

import re

from inspire_fast.envs import LiberoEnvironment


def check_scene(environment: LiberoEnvironment) -> None:
    """Every target's body and site exist, belong together, and lie where the phrase's position word says."""
    model = environment.simulator.sim.model
    for target in environment.targets:
        assert target.body in model.body_names, target
        if target.site is not None:
            assert target.site in model.site_names, target
            assert model.site_bodyid[model.site_name2id(target.site)] == model.body_name2id(target.body), target
        point = environment.target_m(target)
        low, high = environment.bounds_m(target.owner)
        assert (point > low - 0.03).all(), (target, point, low)
        assert (point < high + 0.03).all(), (target, point, high)
    check_positions(environment)


def check_positions(environment: LiberoEnvironment) -> None:
    """Left of its likes is -y, front is +x, middle is between: the simulator's coordinates, not the BDDL's."""
    categories = environment.problem.categories
    for target in environment.targets:
        word = re.search(r"^the (left|right|front|back) |(?:on|at) the (left|right|front|back)$", target.phrase)
        kind = "book" if "book" in target.owner else categories[target.owner]
        likes = [
            o
            for o, c in categories.items()
            if (c == kind or (kind == "book" and c.endswith("book"))) and o != target.owner
        ]
        if word is None or not likes or "compartment" in target.phrase:
            continue
        axis, sign = {"left": (1, -1), "right": (1, 1), "front": (0, 1), "back": (0, -1)}[word[1] or word[2]]
        here = environment.position_m(target.owner)[axis]
        assert all(sign * (here - environment.position_m(other)[axis]) > 0.05 for other in likes), (target, likes)
