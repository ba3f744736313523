import dataclasses

import numpy as np
import pytest

from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.libero.experts import pick_and_place
from inspire_fast.envs.libero.experts.articulated import articulate
from inspire_fast.envs.libero.experts.controller import HandController, InfeasibleSceneError, Variation
from inspire_fast.envs.libero.experts.handles import Handle
from inspire_fast.envs.libero.experts.registry import EXPERTS, carry_out
from inspire_fast.envs.libero.experts.trials import try_task
from tests.envs.scenes import check_scene

pytestmark = pytest.mark.sim


def test_the_simulator_says_that_the_expert_succeeds(soup: LiberoEnvironment):
    soup.reset(2)
    assert not soup.success
    held = []
    for action in carry_out(soup, np.random.default_rng(0), Variation()):
        np.testing.assert_array_equal(soup.step(action), action)  # an expert asks for nothing beyond the limits
        held.append(soup.facts().targets[0].grasped)
        if soup.success or len(held) == 160:
            break
    assert soup.success
    assert len(held) <= 110
    assert 30 < sum(held) < len(held) - 20  # taken up and carried for most of the way, not from the start
    low, high = soup.bounds_m("basket_1")
    assert (low[:2] < soup.position_m("alphabet_soup_1")[:2]).all()
    assert (soup.position_m("alphabet_soup_1")[:2] < high[:2]).all()


def test_demonstrations_vary_with_the_seed_and_repeat_with_it(soup: LiberoEnvironment):
    def beginning(seed: int, variation: Variation) -> np.ndarray:
        soup.reset(2)
        expert = carry_out(soup, np.random.default_rng(seed), variation)
        return np.array([soup.step(next(expert)) for _ in range(10)])

    np.testing.assert_array_equal(beginning(1, Variation()), beginning(1, Variation()))
    assert not np.array_equal(beginning(1, Variation()), beginning(2, Variation()))
    np.testing.assert_array_equal(beginning(1, Variation.none()), beginning(2, Variation.none()))


def test_a_goal_that_no_motion_achieves_is_refused(soup: LiberoEnvironment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(soup, "problem", dataclasses.replace(soup.problem, goal=(("heat", "basket_1"),)))
    with pytest.raises(ValueError, match=r"carry_out solves goals of .*heat"):
        next(EXPERTS["carry_out"](soup, np.random.default_rng(0), Variation()))


def test_a_scene_without_a_grasp_is_infeasible(soup: LiberoEnvironment, monkeypatch: pytest.MonkeyPatch):
    soup.reset(2)
    monkeypatch.setattr(pick_and_place, "candidates", lambda *_: [])
    with pytest.raises(InfeasibleSceneError, match="No grasp from above was found on 'alphabet_soup_1'"):
        next(carry_out(soup, np.random.default_rng(0), Variation()))


def check_handle_of_the_middle_drawer(environment: LiberoEnvironment) -> None:
    """The handle is on the drawer that is named, and outside: further from the drawer's middle than its front is."""
    (handle,) = environment.targets
    levels = [environment.position_m(f"wooden_cabinet_1_{level}_region") for level in ("bottom", "middle", "top")]
    away_m = environment.target_m(handle) - np.array(levels)
    assert np.argmin(np.abs(away_m[:, 2])) == 1
    assert np.linalg.norm(away_m[1, :2]) > 0.1


@pytest.mark.parametrize(
    ("suite", "task", "part", "moved"),
    [
        ("libero_goal", 0, "middle", "opened"),
        ("libero_90", 0, "top", "closed"),
        ("libero_goal", 7, "button", "turned"),
    ],
)
def test_the_simulator_says_that_drawers_and_knobs_are_where_they_should_be(
    suite: str, task: int, part: str, moved: str
):
    environment = LiberoEnvironment(suite, task)
    environment.reset(0)
    assert not environment.success
    check_scene(environment)
    if part == "middle":
        check_handle_of_the_middle_drawer(environment)
    rng = np.random.default_rng(0)
    owner = environment.targets[0].owner
    handle, hand = Handle(environment, owner, part), HandController(environment, rng, Variation())
    assert hand.lean_rad() == pytest.approx(0, abs=0.02)
    leaned, steps = 0.0, 0
    for action in carry_out(environment, rng, Variation()):
        np.testing.assert_array_equal(environment.step(action), action)
        leaned, steps = max(leaned, abs(hand.lean_rad())), steps + 1
        if environment.success:
            break
    assert environment.success
    assert steps < 120
    if moved == "turned":
        assert handle.turned_rad() > 0.5
        assert leaned < 0.3  # the knob gives way under the grip; a drawer takes 0.7
    else:
        assert (handle.opening_m() > 0.13) if moved == "opened" else (handle.opening_m() < 0.005)
        assert leaned > 0.7
    environment.close()


def test_what_has_no_known_handle_is_refused(soup: LiberoEnvironment):
    soup.reset(2)
    for verb, name, message in (("open", "basket_1", "No handle is known"), ("heat", "basket_1", "none of")):
        with pytest.raises(ValueError, match=message):
            next(articulate(soup, np.random.default_rng(0), Variation(), verb, name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task"),
    [
        ("libero_90", 35),  # open a microwave
        ("libero_90", 33),  # close one
        ("libero_90", 39),  # turn a stove off
        ("libero_90", 22),  # close a drawer close to the table
        ("libero_goal", 3),  # a drawer that the goal does not say has to be opened
        ("libero_90", 81),  # a book turned into its compartment
        ("libero_90", 63),  # what something is stacked on comes first
        ("libero_10", 8),  # two things share a burner
    ],
)
def test_the_simulator_says_that_each_skill_succeeds(suite: str, task: int):
    (trial,) = try_task(suite, task, [0])
    assert trial.success, trial.reason


@pytest.mark.slow
def test_a_place_that_is_covered_is_refused_before_anything_moves():
    (trial,) = try_task("libero_90", 89, [0])
    assert trial.refused
    assert trial.steps == 0
    assert "is covered" in trial.reason
