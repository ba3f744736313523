import numpy as np
import pytest

from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.libero.experts.articulated import articulate
from inspire_fast.envs.libero.experts.controller import Hand
from inspire_fast.envs.libero.experts.handles import Part
from inspire_fast.envs.libero.experts.registry import EXPERTS, Variation, carry_out, pick_and_place
from inspire_fast.envs.libero.experts.trials import try_task

pytestmark = pytest.mark.sim


def drive(environment: LiberoEnvironment, seed: int, variation: Variation) -> list[np.ndarray]:
    actions = []
    for action in pick_and_place(environment, np.random.default_rng(seed), variation):
        actions.append(environment.step(action))
        if environment.success or len(actions) == 160:
            break
    return actions


def test_the_simulator_says_that_the_expert_succeeds(soup: LiberoEnvironment):
    soup.reset(2)
    assert not soup.success
    held = []
    for action in pick_and_place(soup, np.random.default_rng(0), Variation()):
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
        expert = pick_and_place(soup, np.random.default_rng(seed), variation)
        return np.array([soup.step(next(expert)) for _ in range(10)])

    np.testing.assert_array_equal(beginning(1, Variation()), beginning(1, Variation()))
    assert not np.array_equal(beginning(1, Variation()), beginning(2, Variation()))
    np.testing.assert_array_equal(beginning(1, Variation.none()), beginning(2, Variation.none()))


def test_a_goal_that_is_no_placement_is_refused():
    stove = LiberoEnvironment("libero_goal", 7)
    stove.reset(0)
    for name in ("pick_and_place", "pick_and_place_each"):
        with pytest.raises(ValueError, match="turnon"):
            next(EXPERTS[name](stove, np.random.default_rng(0), Variation()))
    stove.close()


def test_what_is_only_placed_is_carried_out_in_the_same_way(soup: LiberoEnvironment):
    def beginning(name: str) -> np.ndarray:
        soup.reset(2)
        expert = EXPERTS[name](soup, np.random.default_rng(1), Variation())
        return np.array([soup.step(next(expert)) for _ in range(10)])

    np.testing.assert_array_equal(beginning("carry_out"), beginning("pick_and_place"))


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
    rng = np.random.default_rng(0)
    owner = environment.targets[0].owner
    handle, hand = Part(environment, owner, part), Hand(environment, rng, Variation())
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
