"""What the openings of a whole dataset tell, and one episode's cannot."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.labeling.gripper_use import GripperUse
from inspire_fast.labeling.hindsight.assignment import HindsightOptions
from inspire_fast.labeling.hindsight.label import hindsight
from inspire_fast.labeling.hindsight.manipulations import parse_instruction
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.labeling.labeler import REPORT_FILE, label_dataset
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.gripper import GripperSignal
from tests.labeling.datasets import BIN, CAN, LENGTH, libero_states, write

SIGNAL = GripperSignal(position=(0, 1, 2), opening={3: 1.0})
LIBERO, PUT = ROBOTS["libero"], "put the can in the bin"


def use(*episodes: np.ndarray) -> GripperUse:
    return GripperUse.of(episodes, 20.0, SIGNAL)


def ramps(*levels: float) -> np.ndarray:
    """20 frames at each level, with 5 frames of motion between."""
    parts = [np.full(20, levels[0])]
    for before, level in itertools.pairwise(levels):
        parts += [np.linspace(before, level, 7)[1:-1], np.full(20, level)]
    return np.concatenate(parts)


def test_the_range_of_a_dataset_and_how_its_episodes_begin_and_end():
    seen = use(ramps(0.08, 0.03, 0.08), ramps(0.08, 0.0), ramps(0.0, 0.08, 0.03))
    assert (seen.episodes, seen.narrowest, seen.widest) == (3, 0.0, 0.08)
    assert (seen.begin_closed, seen.end_closed, seen.two_valued) == (1, 1, False)
    outlier = use(*[ramps(0.08, 0.03, 0.08)] * 40, ramps(8.0, -3.0, 8.0))
    assert (outlier.narrowest, outlier.widest) == (0.03, 0.08)
    with pytest.raises(DatasetError, match="never positive"):
        use(np.zeros(30))


def test_most_episodes_that_begin_closed_are_a_signal_of_the_wrong_sign():
    turned = [1.0 - ramps(1.0, 0.1, 1.0)] * 3
    assert "3 of 3 episodes begin with the gripper closed" in use(*turned).doubt()
    assert use(*turned).doubt(begins_closed=True) == ""
    assert use(*turned[:1], ramps(1.0, 0.1), ramps(1.0, 0.1)).doubt() == ""
    half_open = np.concatenate([np.linspace(0.5, 1.0, 8), ramps(1.0, 0.1, 1.0)])  # LIBERO's fingers at first
    assert use(half_open).begin_closed == 0


def test_a_command_has_two_values_and_a_measurement_passes_through_others():
    command = np.repeat([1.0, 0.0, 1.0], 20)
    assert use(command, command).two_valued
    assert not use(command, ramps(1.0, 0.0, 1.0)).two_valued
    assert not use(np.repeat([1.0, 0.4, 1.0], 20)).two_valued  # closed on something, and the reading says so


def test_a_fist_is_as_narrow_as_the_dataset_goes():
    assert use(ramps(1.0, 0.06, 1.0)).fist(SIGNAL) == pytest.approx(0.1)
    assert use(ramps(1.0, 0.3, 1.0)).fist(SIGNAL) == SIGNAL.empty_below  # no closed gripper reads 30 %


def states(opening: np.ndarray) -> np.ndarray:
    rows = libero_states()
    rows[:, 6], rows[:, 7] = opening / 2, -opening / 2
    return rows


def look(episodes: list, episode: int = 0, **options: object):
    """Facts and report of one episode, judged by all of them."""
    signal, (rows, text) = LIBERO.gripper, episodes[episode]
    seen = GripperUse.of((signal.openings(rows) for rows, _ in episodes), 20.0, signal)
    asked = HindsightOptions(**options)  # pyright: ignore[reportArgumentType]
    return hindsight(parse_instruction(text), rows, fps=20.0, signal=signal, options=asked, use=seen)


def grasped(scenes: list) -> list[int]:
    return [f for f, scene in enumerate(scenes) if scene and any(target.grasped for target in scene.targets)]


def test_a_signal_of_the_wrong_sign_labels_nothing(tmp_path: Path):
    turned = states(np.where(np.arange(LENGTH) < 20, 0.008, 0.08))
    root = tmp_path / "d"
    report = label_dataset(write(root, [(turned, PUT)] * 3), Hindsight(), robot=LIBERO, progress=False)
    assert len(FactsTable.load(root)) == 0
    (reason,) = report.refused
    assert "3 of 3 episodes begin with the gripper closed" in reason
    assert "--begins-closed" in reason
    assert "begin_closed=3" in json.loads((root / REPORT_FILE).read_text(encoding="utf-8"))["judged_by"]
    assert grasped(look([(turned, PUT)] * 3, begins_closed=True)[0]) == list(range(20))


def test_one_episode_that_begins_closed_holds_nobody_knows_what():
    held = states(np.where(np.arange(LENGTH) < 40, 0.03, 0.08))
    episodes = [(libero_states(), PUT)] * 2 + [(held, PUT)]
    assert grasped(look(episodes)[0]) == list(range(20, 40))
    scenes, report = look(episodes, 2)
    assert grasped(scenes) == []
    assert "the episode begins with the gripper closed" in report.refused["the can"]


@pytest.mark.parametrize("level", [0.0, 0.005, 0.012])
def test_a_fist_that_pushes_is_no_grasp(level: float):
    fist = states(np.where(np.arange(LENGTH) < 10, 0.08, level))
    scenes, report = look([(fist, "press the red button")])
    assert set(scenes) == {None}
    assert "a fist that pushes" in report.refused["the red button"]
    touched, _ = look([(fist, "press the red button")], end_is_contact=True)
    np.testing.assert_allclose(touched[0].targets[0].offset_m, fist[-1, :3] - fist[0, :3], atol=1e-6)


def test_a_miss_is_no_grip_of_what_others_hold_wider():
    """Rubber fingertips leave 6 %: more than `empty_below`, and as far as this gripper ever closes."""
    missed = np.full(LENGTH, 0.08)
    missed[5:12], missed[20:40] = 0.005, 0.03
    scenes, report = look([(states(missed), PUT)])
    assert grasped(scenes) == list(range(20, 40))
    assert "closed to a fist" in report.notes[0]
    np.testing.assert_allclose(scenes[0].targets[0].offset_m, CAN - [0, 0, 0.4], atol=1e-5)


def test_a_command_is_a_grasp_once_and_not_twice():
    once, twice = np.full(LENGTH, 0.08), np.full(LENGTH, 0.08)
    once[20:40] = twice[10:16] = twice[20:40] = 0.0
    episodes = [(states(once), PUT), (states(twice), PUT)]
    scenes, report = look(episodes)
    assert grasped(scenes) == list(range(20, 40))
    assert "it is a command" in report.notes[0]
    scenes, report = look(episodes, 1)
    assert grasped(scenes) == []
    assert "a command to close does not say" in report.refused["the can"]


@pytest.mark.parametrize("kept", [12, 16])
def test_a_grip_that_is_lost_ends(kept: int):
    slipped = np.full(LENGTH, 0.08)
    slipped[20 : 20 + kept], slipped[20 + kept : 40] = 0.04, 0.0
    scenes, report = look([(states(slipped), PUT)])
    assert grasped(scenes) == list(range(20, 20 + kept))
    assert scenes[20 + kept :] == [None] * (LENGTH - 20 - kept)  # where it fell is not known
    assert report.refused["the bin"].startswith("never released there: ")
    assert scenes[0] is not None


def test_a_lost_thing_lies_where_it_is_gripped_again():
    slipped = np.full(LENGTH, 0.08)
    slipped[20:26], slipped[26:31], slipped[34:50] = 0.04, 0.0, 0.04
    rows = states(slipped)
    rows[20:, :3] = CAN  # it falls below the hand, is gripped there, and carried on
    rows[40:, :3] = BIN
    scenes, report = look([(rows, PUT)], near_m=0.0)
    assert grasped(scenes) == [*range(20, 26), *range(34, 50)]
    np.testing.assert_allclose(scenes[28].targets[0].offset_m, 0, atol=1e-6)
    assert set(report.inferred) == {"the can", "the bin"}


def test_a_grip_that_may_be_lost_is_refused():
    narrower = np.full(LENGTH, 0.08)
    narrower[20:30], narrower[30:40] = 0.04, 0.005
    scenes, report = look([(states(narrower), PUT)])
    assert set(scenes) == {None}
    assert "it may be lost" in report.refused["the can"]


def test_an_episode_that_opens_half_has_no_measure_of_closed():
    half = states(np.where((np.arange(LENGTH) >= 20) & (np.arange(LENGTH) < 40), 0.03, 0.04))
    scenes, report = look([(libero_states(), PUT)] * 2 + [(half, PUT)], 2)
    assert grasped(scenes) == []
    assert "opens to 50% of the widest opening" in report.refused["the can"]
