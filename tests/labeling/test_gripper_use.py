"""What the openings of a whole dataset tell, and one episode's cannot."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.labeling.gripper_use import GripperUse
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.labeling.labeler import REPORT_FILE, label_dataset
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.gripper import GripperSignal
from tests.labeling.datasets import CAN, LENGTH, libero_states, write

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


def labelled(root: Path, episodes: list, **options: object) -> tuple[FactsTable, dict, dict[str, int]]:
    report = label_dataset(write(root, episodes), Hindsight(**options), robot=LIBERO, progress=False)  # pyright: ignore[reportArgumentType]
    return FactsTable.load(root), json.loads((root / REPORT_FILE).read_text()), dict(report.refused)


def grasped(table: FactsTable, episode: int = 0) -> list[int]:
    scenes = [table.facts(episode, frame) for frame in range(LENGTH)]
    return [f for f, scene in enumerate(scenes) if scene and any(target.grasped for target in scene.targets)]


def test_a_signal_of_the_wrong_sign_labels_nothing(tmp_path: Path):
    turned = states(np.where(np.arange(LENGTH) < 20, 0.008, 0.08))
    table, report, refused = labelled(tmp_path / "d", [(turned, PUT)] * 3)
    assert len(table) == 0
    (reason,) = refused
    assert "3 of 3 episodes begin with the gripper closed" in reason
    assert "--begins-closed" in reason
    assert "begin_closed=3" in report["judged_by"]
    assert grasped(labelled(tmp_path / "e", [(turned, PUT)] * 3, begins_closed=True)[0]) == list(range(20))


def test_one_episode_that_begins_closed_holds_nobody_knows_what(tmp_path: Path):
    held = states(np.where(np.arange(LENGTH) < 40, 0.03, 0.08))
    table, report, _ = labelled(tmp_path / "d", [(libero_states(), PUT)] * 2 + [(held, PUT)])
    assert grasped(table) == list(range(20, 40))
    assert grasped(table, 2) == []
    assert "the episode begins with the gripper closed" in report["by_episode"]["2"]["refused"]["the can"]


@pytest.mark.parametrize("level", [0.0, 0.005, 0.012])
def test_a_fist_that_pushes_is_no_grasp(tmp_path: Path, level: float):
    fist = states(np.where(np.arange(LENGTH) < 10, 0.08, level))
    table, _, refused = labelled(tmp_path / "d", [(fist, "press the red button")])
    assert len(table) == 0
    assert "a fist that pushes" in next(iter(refused))
    touched, _, _ = labelled(tmp_path / "e", [(fist, "press the red button")], end_is_contact=True)
    np.testing.assert_allclose(touched.facts(0, 0).targets[0].offset_m, fist[-1, :3] - fist[0, :3], atol=1e-6)


def test_a_miss_is_no_grip_of_what_others_hold_wider(tmp_path: Path):
    """Rubber fingertips leave 6 %: more than `empty_below`, and as far as this gripper ever closes."""
    missed = np.full(LENGTH, 0.08)
    missed[5:12], missed[20:40] = 0.005, 0.03
    table, report, _ = labelled(tmp_path / "d", [(states(missed), PUT)])
    assert grasped(table) == list(range(20, 40))
    assert "closed to a fist" in report["by_episode"]["0"]["notes"][0]
    np.testing.assert_allclose(table.facts(0, 0).targets[0].offset_m, CAN - [0, 0, 0.4], atol=1e-5)


def test_a_command_is_a_grasp_once_and_not_twice(tmp_path: Path):
    once, twice = np.full(LENGTH, 0.08), np.full(LENGTH, 0.08)
    once[20:40] = twice[10:16] = twice[20:40] = 0.0
    table, report, _ = labelled(tmp_path / "d", [(states(once), PUT), (states(twice), PUT)])
    assert grasped(table) == list(range(20, 40))
    assert "it is a command" in report["by_episode"]["0"]["notes"][0]
    assert grasped(table, 1) == []
    assert "a command to close does not say" in report["by_episode"]["1"]["refused"]["the can"]


@pytest.mark.parametrize("kept", [12, 16])
def test_a_grip_that_is_lost_ends(tmp_path: Path, kept: int):
    slipped = np.full(LENGTH, 0.08)
    slipped[20 : 20 + kept], slipped[20 + kept : 40] = 0.04, 0.0
    table, report, _ = labelled(tmp_path / "d", [(states(slipped), PUT)])
    assert grasped(table) == list(range(20, 20 + kept))
    assert table.facts(0, 20 + kept) is None  # where it fell is not known
    assert report["by_episode"]["0"]["refused"]["the bin"].startswith("never released there: ")
    assert table.facts(0, 0) is not None


def test_a_grip_that_may_be_lost_is_refused(tmp_path: Path):
    narrower = np.full(LENGTH, 0.08)
    narrower[20:30], narrower[30:40] = 0.04, 0.005
    table, report, _ = labelled(tmp_path / "d", [(states(narrower), PUT)])
    assert len(table) == 0
    assert "it may be lost" in report["by_episode"]["0"]["refused"]["the can"]


def test_an_episode_that_opens_half_has_no_measure_of_closed(tmp_path: Path):
    half = states(np.where((np.arange(LENGTH) >= 20) & (np.arange(LENGTH) < 40), 0.03, 0.04))
    table, report, _ = labelled(tmp_path / "d", [(libero_states(), PUT)] * 2 + [(half, PUT)])
    assert grasped(table, 2) == []
    assert "opens to 50% of the widest opening" in report["by_episode"]["2"]["refused"]["the can"]
