"""The grounding of LIBERO's 130 tasks: as generated, right, and there in the simulator."""

from pathlib import Path

import numpy as np
import pytest

from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.libero import make_target_table as make_table
from inspire_fast.envs.libero.suites import SUITES, Problem, find_task, tasks
from inspire_fast.envs.libero.target_table import TableRow, table, targets_of
from inspire_fast.envs.libero.targets import HANDLES, Target, match_targets
from tests.envs.scenes import check_scene

pytestmark = pytest.mark.sim


def test_the_checked_in_table_is_what_the_bddl_files_give():
    assert make_table.differences() == ""


def test_an_edited_table_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    edited = tmp_path / "target_table.json"
    edited.write_text(
        make_table.TARGETS_PATH.read_text(encoding="utf-8").replace("cabinet_middle", "cabinet_top"), encoding="utf-8"
    )
    monkeypatch.setattr(make_table, "TARGETS_PATH", edited)
    diff = make_table.differences()
    assert str(edited) in diff
    assert '+     "body": "wooden_cabinet_1_cabinet_middle"' in " ".join(diff.split()).replace("+ ", "+     ")


def test_every_task_is_grounded_in_its_own_words():
    rows = table()
    assert len(rows) == 130
    assert [row.task for row in rows] == [task.name for suite in SUITES for task in tasks(suite)]
    for row in rows:
        assert row.targets
        assert len({target.phrase for target in row.targets}) == len(row.targets)
        for target in row.targets:
            if target.alias:
                continue
            assert target.phrase in row.instruction
            head = row.instruction.partition(target.phrase)[0]
            assert not head.endswith("the "), f"{row.instruction!r}: the article of {target.phrase!r} is missing"
    aliases = {target.phrase for row in rows for target in row.targets if target.alias}
    assert aliases == {"the left moka pot", "the right moka pot", "the stove button"}


def test_everything_that_the_goal_names_is_a_target():
    """Nothing is forgotten: each instance of each goal predicate, tables apart, is what some phrase means."""
    for row in table():
        problem = find_task(row.suite, row.task).problem()
        owners = {target.owner for target in row.targets}
        for predicate in problem.goal:
            for argument in map(problem.owner, predicate[1:]):
                stays_on = predicate[0] == "turnon" and "turn on" not in row.instruction
                assert argument in owners or argument.endswith(("_table", "floor")) or stays_on, (row, predicate)


def points(suite: str, index: int) -> list[str]:
    return [
        target.site or (f"{target.body}:handle" if any(target.offset_m) else target.body)
        for target in targets_of(tasks(suite)[index])
    ]


@pytest.mark.parametrize(
    ("suite", "index", "expected"),
    [
        ("libero_object", 0, ["alphabet_soup_1_main", "basket_1_contain_region"]),
        ("libero_spatial", 0, ["akita_black_bowl_1_main", "plate_1_main"]),
        # the middle drawer is not the top one
        ("libero_goal", 0, ["wooden_cabinet_1_cabinet_middle:handle"]),
        ("libero_goal", 3, ["wooden_cabinet_1_top_region", "akita_black_bowl_1_main"]),
        ("libero_goal", 5, ["plate_1_main", "flat_stove_1_cook_region"]),
        ("libero_goal", 7, ["flat_stove_1_button:handle"]),
        # four wine bottles
        ("libero_goal", 2, ["wine_bottle_1_main", "wooden_cabinet_1_top_side"]),
        ("libero_goal", 9, ["wine_bottle_1_main", "wine_rack_1_top_region"]),
        ("libero_90", 26, ["wine_bottle_1_main", "white_cabinet_1_bottom_region"]),
        ("libero_90", 27, ["wine_bottle_1_main", "wine_rack_1_top_region"]),
        # left and right
        ("libero_10", 4, ["porcelain_mug_1_main", "plate_1_main", "white_yellow_mug_1_main", "plate_2_main"]),
        ("libero_10", 8, ["moka_pot_2_main", "moka_pot_1_main", "flat_stove_1_cook_region"]),
        ("libero_90", 38, ["moka_pot_1_main", "flat_stove_1_cook_region"]),
        ("libero_90", 63, ["akita_black_bowl_1_main", "akita_black_bowl_2_main", "wooden_tray_1_contain_region"]),
        ("libero_90", 64, ["akita_black_bowl_2_main", "akita_black_bowl_1_main", "wooden_tray_1_contain_region"]),
        ("libero_90", 87, ["yellow_book_2_main", "wooden_two_layer_shelf_1_top_side"]),
        ("libero_90", 89, ["yellow_book_1_main", "wooden_two_layer_shelf_1_bottom_region"]),
        # front, middle, back
        ("libero_90", 3, ["butter_2_main", "wooden_cabinet_1_top_region"]),
        ("libero_90", 17, ["akita_black_bowl_2_main", "akita_black_bowl_3_main"]),
        ("libero_90", 86, ["black_book_1_main", "wooden_two_layer_shelf_1_top_region"]),
        ("libero_10", 5, ["black_book_1_main", "desk_caddy_1_back_contain_region"]),
        # one word, two points
        ("libero_10", 2, ["flat_stove_1_button:handle", "moka_pot_1_main", "flat_stove_1_cook_region"]),
        (
            "libero_90",
            1,
            ["wooden_cabinet_1_cabinet_top:handle", "akita_black_bowl_1_main", "wooden_cabinet_1_top_side"],
        ),
        ("libero_90", 23, ["white_cabinet_1_cabinet_bottom:handle", "white_cabinet_1_cabinet_top:handle"]),
        ("libero_90", 33, ["microwave_1_microdoorroot:handle"]),
        ("libero_10", 9, ["white_yellow_mug_1_main", "microwave_1_heating_region"]),
        ("libero_90", 41, ["chefmate_8_frypan_1_main", "wooden_two_layer_shelf_1_top_side"]),
    ],
)  # fmt: skip
def test_phrases_mean_these_points(suite: str, index: int, expected: list[str]):
    assert points(suite, index) == expected


def two_plates(**places: tuple[float, float]) -> Problem:
    return Problem(
        categories={"plate_1": "plate", "plate_2": "plate", "milk_1": "milk"},
        interest=("plate_1", "plate_2"),
        goal=(("open", "milk_1"),),
        regions={},
        places_m=places,
    )


def test_an_open_choice_is_refused_and_not_guessed():
    with pytest.raises(ValueError, match="2 readings"):
        match_targets(["the left plate"], two_plates())
    with pytest.raises(ValueError, match="names none"):
        match_targets(["the red plate"], two_plates())
    assert match_targets(["the milk"], two_plates())[0].owner == "milk_1"


def test_position_words_are_decided_by_where_things_start():
    problem = two_plates(plate_1=(0.1, 0.3), plate_2=(-0.1, -0.3))
    named = {
        word: match_targets([f"the {word} plate"], problem)[0].owner for word in ("left", "right", "front", "back")
    }
    assert named == {"left": "plate_2", "right": "plate_1", "front": "plate_1", "back": "plate_2"}
    assert match_targets(["the plate on the left"], problem)[0].owner == "plate_2"


def test_a_phrase_that_is_not_in_the_instruction_needs_a_reason():
    target = Target(phrase="the pot", owner="pot_1", body="pot_1_main")
    with pytest.raises(ValueError, match="reason"):
        TableRow(suite="libero_10", task="t", instruction="put both pots down", targets=(target,))
    with pytest.raises(ValueError, match="no targets"):
        TableRow(suite="libero_10", task="t", instruction="put both pots down", targets=())


def test_the_points_of_one_scene_are_where_the_words_say(soup: LiberoEnvironment):
    soup.reset(0)
    check_scene(soup)
    _, basket = soup.targets
    height = soup.target_m(basket)[2] - soup.position_m("basket_1")[2]
    assert height == pytest.approx(0.07185, abs=2e-4)  # what InSpire's release adds to the basket's origin
    before = [fact.offset_m for fact in soup.facts().targets]
    for _ in range(3):  # looking again and again adds nothing
        np.testing.assert_array_equal(before, [fact.offset_m for fact in soup.facts().targets])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_130_scenes_have_what_the_table_says():
    for suite in SUITES:
        for task in tasks(suite):
            environment = LiberoEnvironment(suite, task.index)
            try:
                environment.reset(0)
                check_scene(environment)
                check_handles(environment)
            finally:
                environment.close()


def check_handles(environment: LiberoEnvironment) -> None:
    """A handle's offset is the middle of one of the body's collision shapes (the button's: of its grip)."""
    sim = environment.simulator.sim
    for target in environment.targets:
        if not any(target.offset_m):
            continue
        assert any(target.offset_m == offset for _, offset in HANDLES.values())
        body = sim.model.body_name2id(target.body)
        shapes = [g for g in range(sim.model.ngeom) if sim.model.geom_bodyid[g] == body]
        nearest = min(np.linalg.norm(sim.data.geom_xpos[g] - environment.target_m(target)) for g in shapes)
        assert nearest < 0.02, (target, nearest)
