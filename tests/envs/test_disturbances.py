"""Each disturbance in the real simulator: seeded, stronger with severity, and gone afterwards."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.libero.disturbances import DISTURBANCES, Disturbed, parse_disturbances
from inspire_fast.envs.libero.disturbances.paraphrases import paraphrase
from inspire_fast.envs.libero.target_table import table

IMAGE, WRIST, STATE = "observation/image", "observation/wrist_image", "observation/state"
PICTURED = ("camera_pose", "lighting", "textures", "positions", "distractors", "sensor_noise", "image_latency")


def look(soup: LiberoEnvironment, severities: Mapping[str, int], episode: int = 0, seed: int = 7) -> dict[str, Any]:
    """An observation after three steps, everything put back afterwards."""
    disturbed = Disturbed(soup, severities, seed=seed)
    disturbed.reset(episode)
    for _ in range(3):
        disturbed.step(np.array([0.0, 0.9, -0.4, 0, 0, 0, -1]))
    seen = dict(disturbed.observe())
    disturbed._undo()
    return seen


def apart(first: dict[str, Any], second: dict[str, Any]) -> float:
    return float(np.abs(first[IMAGE].astype(int) - second[IMAGE]).mean())


@pytest.fixture(scope="module")
def calm(soup: LiberoEnvironment) -> dict[str, Any]:
    return look(soup, {})


@pytest.mark.sim
def test_pictures_differ_and_afterwards_all_is_as_before(soup: LiberoEnvironment, calm: dict[str, Any]):
    far = {name: apart(calm, look(soup, {name: 5})) for name in PICTURED}
    assert all(difference > 1 for difference in far.values()), far
    after = look(soup, {"lighting": 0})
    np.testing.assert_array_equal(after[IMAGE], calm[IMAGE])
    np.testing.assert_array_equal(after[STATE], calm[STATE])


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURED)
def test_they_grow_with_severity_and_follow_the_seed(soup: LiberoEnvironment, calm: dict[str, Any], name: str):
    weak, strong = look(soup, {name: 1}), look(soup, {name: 5})
    assert 0 < apart(calm, weak) < apart(calm, strong)
    np.testing.assert_array_equal(look(soup, {name: 5})[IMAGE], strong[IMAGE])
    if name != "image_latency":  # which draws nothing
        assert apart(look(soup, {name: 5}, seed=8), strong) > 0
    if name in ("camera_pose", "lighting", "textures", "distractors"):
        np.testing.assert_allclose(strong[STATE], calm[STATE], atol=1e-4)


@pytest.mark.sim
def test_late_pictures_are_the_past_ones_and_the_state_is_of_now(soup: LiberoEnvironment):
    disturbed = Disturbed(soup, {"image_latency": 1}, seed=0)
    disturbed.reset(0)
    pictures, states = [], []
    for _ in range(5):
        pictures.append(soup.observe()[IMAGE])
        states.append(disturbed.observe())
        disturbed.step(np.array([0.0, 0.9, -0.4, 0, 0, 0, -1]))
    np.testing.assert_array_equal(states[4][IMAGE], pictures[2])
    np.testing.assert_array_equal(states[0][IMAGE], pictures[0])  # nothing is older than the episode
    assert not np.array_equal(pictures[2], pictures[4])
    assert np.abs(states[4][STATE] - states[2][STATE]).max() > 0.01


@pytest.mark.sim
def test_moved_objects_rest_clear_of_each_other_and_the_task_is_not_solved(soup: LiberoEnvironment):
    disturbed = Disturbed(soup, {"positions": 5}, seed=3)
    soup.reset(2)
    before = {name: soup.position_m(name) for name in soup.movable}
    disturbed.reset(2)
    moved = {name: np.abs(soup.position_m(name) - before[name]) for name in soup.movable}
    assert sum(way[:2].max() > 0.01 for way in moved.values()) >= len(moved) / 2
    assert all(way[:2].max() < 0.12 for way in moved.values())
    assert all(way[2] < 0.01 for way in moved.values())  # none fell, none is on another
    assert not disturbed.success
    disturbed._undo()


def test_paraphrases_keep_what_is_named():
    """All 130 instructions, all severities: a grounding by the things' names still finds the same things."""
    changed = 0
    for row in table():
        phrases = GROUNDINGS["instruction"].ground(row.instruction)
        for severity in range(1, 6):
            said = paraphrase(row.instruction, np.random.default_rng(severity), severity)
            kept = [phrase for phrase in phrases if phrase in row.instruction]
            assert all(phrase in said for phrase in kept), (row.instruction, said)
            changed += said != row.instruction
    assert changed == 5 * len(table())
    rng = np.random.default_rng(0)
    assert (
        paraphrase("turn on the stove and put the moka pot on it", rng, 1)
        == "switch on the stove and place the moka pot on it"
    )


def test_names_and_severities_are_checked():
    assert parse_disturbances(["lighting:3", "textures:0"]) == {"lighting": 3, "textures": 0}
    with pytest.raises(KeyError, match="Did you mean 'lighting'"):
        parse_disturbances(["lightning:3"])
    with pytest.raises(ValueError, match=r"0\.\.5; got 6"):
        parse_disturbances(["lighting:6"])
    with pytest.raises(ValueError, match="name:severity"):
        parse_disturbances(["lighting"])
    assert set(PICTURED) | {"paraphrases"} == set(DISTURBANCES)
