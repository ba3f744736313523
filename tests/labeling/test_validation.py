import json

import numpy as np
import pytest

from inspire_fast.labeling import coverage
from inspire_fast.labeling.validation import SimulatedEpisode, compare, simulate, stored, summarize

PUT = "pick up the alphabet soup and place it in the basket"


def episode(miss_m: float = 0.0) -> SimulatedEpisode:
    """The hand goes to the can, closes, goes to the basket, opens; the simulator's points are `miss_m` lower."""
    can, basket, n = np.array([0.35, 0.2, 0.15]), np.array([0.2, -0.35, 0.2]), 60
    hand = np.concatenate([np.linspace([0, 0, 0.4], can, 20), np.linspace(can, basket, 20), np.tile(basket, (20, 1))])
    thing = np.concatenate([np.tile(can, (20, 1)), hand[20:40], np.tile(basket, (20, 1))])
    opening = np.full(n, 0.08)
    opening[20:40] = 0.03
    state = np.zeros((n, 8))
    state[:, :3], state[:, 6], state[:, 7] = hand, opening / 2, -opening / 2
    points = np.stack([thing, np.tile(basket, (n, 1))], axis=1) - [0, 0, miss_m]
    grasped = np.zeros((n, 2), bool)
    grasped[20:40, 0] = True
    return SimulatedEpisode(
        suite="libero_object",
        task=0,
        prompt=PUT,
        phrases=("the alphabet soup", "the basket"),
        state=state,
        offset_m=points - hand[:, None],
        grasped=grasped,
        success=True,
    )


def test_where_both_know_the_same_points_they_agree():
    rows = compare(episode())
    assert {row.phase for row in rows} == {"before", "holding", "after"}
    summary = summarize(rows, episodes=1, unsolved=0, tasks=1)
    for phase in ("before", "holding"):
        assert summary["by_phase"][phase]["agreement"] == 1.0
    assert summary["before_grasp"]["frames"] + summary["before_grasp"]["refused"] == 2 * 20
    assert summary["before_grasp_failures"] == {}
    assert {row.role for row in rows if row.truth == "grasped"} == {"thing"}


def test_points_that_differ_are_counted_and_explained():
    summary = summarize(compare(episode(miss_m=0.15)), episodes=1, unsolved=0, tasks=1)
    assert summary["before_grasp"]["agreement"] < 1.0
    (cause, *_) = summary["before_grasp_failures"].values()
    assert cause["frames"] > 0
    assert cause["median_apart_m"] == pytest.approx(0.15, abs=1e-3)
    assert "down taken for" in cause["commonest"][0]


def test_the_stored_figures_are_of_fifty_episodes_and_ninety_percent():
    figures = stored()
    assert figures["episodes"] >= 50
    assert figures["tasks"] >= 10
    assert figures["before_grasp"]["agreement"] >= 0.9
    assert sum(word["frames"] for word in figures["before_grasp_by_word"].values()) == figures["before_grasp"]["frames"]
    assert set(figures["by_phase"]) == {"before", "holding", "after"}


@pytest.mark.sim
def test_coverage_prints_every_task_and_ends_with_figures(capsys: pytest.CaptureFixture[str]):
    assert coverage.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 131
    assert "'the middle drawer of the cabinet' = wooden_cabinet_1_cabinet_middle" in lines[20]
    figures = json.loads(lines[-1])
    assert (figures["tasks"], figures["tasks_grounded"]) == (130, 130)
    assert figures["hindsight_agreement"]["before_grasp_by_word"]["right"]["agreement"] > 0.9
    with pytest.raises(SystemExit):
        coverage.main(["--write"])


@pytest.mark.sim
@pytest.mark.slow
def test_hindsight_agrees_with_the_simulator_on_fresh_episodes():
    solved = [e for e in simulate("libero_10", 0, range(3), seed=1) if e.success]
    assert len(solved) >= 2
    rows = [row for e in solved for row in compare(e)]
    assert summarize(rows, episodes=len(solved), unsolved=0, tasks=1)["before_grasp"]["agreement"] > 0.9
    assert {row.truth for row in rows} >= {"grasped", "right"}
