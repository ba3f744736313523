"""SimplerEnv's tasks in suites: four of WidowX, and the visual-matching tasks of Google Robot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inspire_fast.core.registry import unknown_name


@dataclass(frozen=True, kw_only=True)
class SimplerTask:
    """One task.

    Attributes:
        suite: a key of `SUITES`.
        index: its number there.
        name: SimplerEnv's name of it, as `simpler_env.make` takes.
        robot: registry name.
        placements: starts, in the simulator's order.
        maniskill3: environment of ManiSkill 3; empty: it has none.
        options: further arguments of the environment.
    """

    suite: str
    index: int
    name: str
    robot: str
    placements: int
    maniskill3: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str])


# The order of the papers' tables.
_WIDOWX = {
    "widowx_spoon_on_towel": "PutSpoonOnTableClothInScene-v1",
    "widowx_carrot_on_plate": "PutCarrotOnPlateInScene-v1",
    "widowx_stack_cube": "StackGreenCubeOnYellowCubeBakedTexInScene-v1",
    "widowx_put_eggplant_in_basket": "PutEggplantInBasketScene-v1",
}
# Looks of the robot's arm and tabletop: every Google Robot task is run with each.
_LOOKS = ("", "recolor_tabletop_visual_matching_1", "recolor_tabletop_visual_matching_2")
_LOOKS = (*_LOOKS, "recolor_cabinet_visual_matching_1")
_GOOGLE = {
    "simpler_google_coke": (("pick_horizontal_coke_can", "pick_vertical_coke_can", "pick_standing_coke_can"), 25),
    "simpler_google_near": (("move_near_v0",), 60),
    "simpler_google_drawer": (
        tuple(f"{do}_{at}_drawer" for do in ("open", "close") for at in ("top", "middle", "bottom")),
        9,
    ),
    "simpler_google_apple": (("place_apple_in_closed_top_drawer",), 27),
}


def _widowx() -> tuple[SimplerTask, ...]:
    return tuple(
        SimplerTask(
            suite="simpler_widowx", index=n, name=name, robot="widowx_bridge", placements=24, maniskill3=environment
        )
        for n, (name, environment) in enumerate(_WIDOWX.items())
    )


def _google(suite: str) -> tuple[SimplerTask, ...]:
    names, placements = _GOOGLE[suite]
    return tuple(
        SimplerTask(
            suite=suite,
            index=n,
            name=f"google_robot_{name}",
            robot="google_robot",
            placements=placements,
            options={"urdf_version": look} if look else {},
        )
        for n, (name, look) in enumerate((name, look) for name in names for look in _LOOKS)
    )


SUITES: Mapping[str, tuple[SimplerTask, ...]] = {"simpler_widowx": _widowx(), **{s: _google(s) for s in _GOOGLE}}


def find_task(suite: str, index: int) -> SimplerTask:
    """One task by its number.

    Raises:
        ValueError: no such suite or task; lists the available ones.
    """
    if suite not in SUITES:
        raise ValueError(unknown_name("SimplerEnv suite", suite, list(SUITES)))
    tasks = SUITES[suite]
    if not 0 <= index < len(tasks):
        raise ValueError(f"{suite} has tasks 0..{len(tasks) - 1} ({', '.join(t.name for t in tasks)}); got {index}.")
    return tasks[index]
