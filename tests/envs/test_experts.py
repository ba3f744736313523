import numpy as np
import pytest

from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.experts import EXPERTS, Variation, pick_and_place

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
