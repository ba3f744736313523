import sys

import pytest

from inspire_fast.dialogue.grounding import ground
from inspire_fast.envs import install
from inspire_fast.envs.suites import SUITES, Problem, find_task, tasks
from inspire_fast.envs.targets import match_targets

pytestmark = pytest.mark.sim


def test_five_suites_list_their_tasks_with_files_that_exist():
    counts = {suite: len(tasks(suite)) for suite in SUITES}
    assert counts == dict(zip(SUITES, (10, 10, 10, 10, 90), strict=True))
    for task in (task for suite in SUITES for task in tasks(suite)):
        assert task.bddl_file.is_file()
        assert task.initial_states_file.is_file()
    assert tasks("libero_object")[0].initial_states().shape[0] == 50
    assert tasks("libero_object")[0].prompt == "pick up the alphabet soup and place it in the basket"


@pytest.mark.parametrize(
    ("suite", "task", "hint"),
    [
        ("libero_objct", 0, "libero_object"),
        ("libero_object", 10, "0..9"),
        ("libero_object", "pick_up_the_milk", "milk"),
    ],
)
def test_unknown_suites_and_tasks_are_refused_with_what_there_is(suite: str, task: int | str, hint: str):
    with pytest.raises(ValueError, match=hint):
        find_task(suite, task)


def test_without_the_simulator_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ImportError, match=r"uv sync --extra sim"):
        tasks("libero_object")


def test_every_instruction_but_one_has_a_certain_reading():
    unread = []
    for task in (task for suite in SUITES for task in tasks(suite)):
        try:
            match_targets(ground(task.prompt), task.problem())
        except ValueError:
            unread.append(task.prompt)
    assert unread == ["put both moka pots on the stove"]


@pytest.mark.parametrize(
    ("suite", "index", "expected"),
    [
        ("libero_object", 0, ["alphabet_soup_1", "basket_1+0.07185"]),
        ("libero_spatial", 0, ["akita_black_bowl_1", "plate_1"]),
        ("libero_goal", 0, ["wooden_cabinet_1_middle_region"]),
        ("libero_goal", 2, ["wine_bottle_1", "wooden_cabinet_1+0.22152"]),
        ("libero_goal", 5, ["plate_1", "flat_stove_1"]),
        ("libero_goal", 7, ["flat_stove_1_button"]),
        ("libero_goal", 9, ["wine_bottle_1", "wine_rack_1+0.05903"]),
        ("libero_10", 4, ["porcelain_mug_1", "plate_1", "white_yellow_mug_1", "plate_2"]),
        ("libero_10", 5, ["black_book_1", "desk_caddy_1_back_contain_region"]),
        ("libero_90", 41, ["chefmate_8_frypan_1", "wooden_two_layer_shelf_1+0.22152"]),
        ("libero_90", 63, ["akita_black_bowl_1", "akita_black_bowl_2", "wooden_tray_1_contain_region"]),
        ("libero_90", 64, ["akita_black_bowl_2", "akita_black_bowl_1", "wooden_tray_1_contain_region"]),
    ],
)
def test_phrases_mean_these_bodies_and_points(suite: str, index: int, expected: list[str]):
    task = tasks(suite)[index]
    targets = match_targets(ground(task.prompt), task.problem())
    points = [
        (target.site or (f"{target.owner}_{target.part}" if target.part else target.owner))
        + (f"+{target.lift_m}" if target.lift_m else "")
        for target in targets
    ]
    assert points == expected


def test_an_open_choice_is_refused_and_not_guessed():
    problem = Problem(
        categories={"plate_1": "plate", "plate_2": "plate", "milk_1": "milk"},
        interest=("plate_1", "plate_2"),
        goal=(("open", "milk_1"),),
        regions={},
    )
    with pytest.raises(ValueError, match="2 readings"):
        match_targets(["the left plate"], problem)
    with pytest.raises(ValueError, match="names none"):
        match_targets(["the red plate"], problem)
    assert match_targets(["the milk"], problem)[0].owner == "milk_1"


def test_listing_tasks_starts_no_simulator():
    import subprocess

    code = (
        "import sys; from inspire_fast.envs import tasks; import inspire_fast.labeling.record;"
        "before = [m for m in ('libero', 'mujoco') if m in sys.modules]; tasks('libero_90');"
        "print(before, [m for m in ('mujoco', 'robosuite', 'jax', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "[] []"
