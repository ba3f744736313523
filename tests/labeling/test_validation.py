from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspire_fast.labeling.hindsight import coverage, validation
from inspire_fast.labeling.hindsight.validation import TASKS, SimulatedEpisode, compare, simulate, stored, summarize
from tests.labeling import simulated

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


@pytest.fixture(scope="module")
def recorded() -> Sequence[SimulatedEpisode]:
    """Twelve episodes of the real simulator, over all five suites (see `simulated`)."""
    return simulated.load()


def figures_of(episodes: Sequence[SimulatedEpisode]) -> dict[str, Any]:
    rows = [row for e in episodes for row in compare(e)]
    return summarize(rows, episodes=len(episodes), unsolved=0, tasks=len(episodes))


def test_hindsight_agrees_with_real_simulated_episodes(recorded: Sequence[SimulatedEpisode]):
    assert [(e.suite, e.task) for e in recorded] == list(simulated.TASKS)
    assert set(simulated.TASKS) <= set(TASKS)
    assert sum(len(e.phrases) == 3 for e in recorded) == 2  # two things and a place
    figures = figures_of(recorded)
    assert figures["before_grasp"] == {"agreement": 0.915, "frames": 588, "refused": 133}
    assert figures["before_grasp"]["agreement"] >= 0.9
    assert {word: tuple(share.values()) for word, share in figures["before_grasp_by_word"].items()} == {
        "back": (1.0, 23, 0),
        "down": (0.8098, 205, 62),
        "front": (1.0, 53, 14),
        "left": (0.9405, 84, 21),
        "right": (0.9731, 223, 36),
    }
    assert {phase: share["agreement"] for phase, share in figures["by_phase"].items()} == {
        "before": 0.915,
        "holding": 0.8687,
        "after": 0.9705,
    }
    every, rows = figures["all_frames_by_word"], [row for e in recorded for row in compare(e)]
    assert {word: share["frames"] + share["refused"] for word, share in every.items()} == Counter(r.truth for r in rows)
    assert every["grasped"]["agreement"] > 0.8
    frames = [cause["frames"] for cause in figures["before_grasp_failures"].values()]
    assert frames == sorted(frames, reverse=True)
    assert len(set(frames)) > 1
    assert figures["before_grasp_by_task"]["libero_90:0"]["frames"] == 0  # pushed shut, without a grasp: refused
    assert sum(cause["frames"] for cause in figures["before_grasp_failures"].values()) == 588 - round(0.915 * 588)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_hindsight_does_not_agree(
    recorded: Sequence[SimulatedEpisode], monkeypatch: pytest.MonkeyPatch, axis: int
):
    original = validation.hindsight

    def mirrored(*args: Any, **kwargs: Any):
        scenes, report = original(*args, **kwargs)
        signs = np.where(np.arange(3) == axis, -1, 1)
        for number, scene in enumerate(scenes):
            if scene is not None:
                targets = tuple(replace(target, offset_m=target.offset_m * signs) for target in scene.targets)
                scenes[number] = replace(scene, targets=targets)
        return scenes, report

    monkeypatch.setattr(validation, "hindsight", mirrored)
    assert figures_of(recorded)["before_grasp"]["agreement"] < 0.8


def test_the_stored_figures_are_of_fifty_episodes_and_ninety_percent():
    figures = stored()
    assert figures["episodes"] >= 50
    assert figures["tasks"] >= 10
    assert figures["before_grasp"]["agreement"] >= 0.9
    assert sum(word["frames"] for word in figures["before_grasp_by_word"].values()) == figures["before_grasp"]["frames"]
    assert set(figures["by_phase"]) == {"before", "holding", "after"}


def test_a_measurement_leaves_unsolved_episodes_out_and_counts_frames_near_the_fingers(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(
        validation, "simulate", lambda suite, task, seeds: [episode(), replace(episode(), success=False)]
    )
    result = validation.measure(2, [("libero_object", 0)])
    assert (result["episodes"], result["episodes_unsolved_left_out"], result["tasks"]) == (1, 1, 1)
    assert result["before_grasp_with_near_frames"] == {"agreement": 1.0, "frames": 40, "refused": 0}


@pytest.mark.parametrize(("target", "cause"), [(0, "a thing is known by where"), (1, "a place is known by where")])
def test_causes_tell_things_from_places(target: int, cause: str):
    moved = episode()
    moved.offset_m[:, target] -= [0.0, 0.0, 0.6]
    failures = summarize(compare(moved), episodes=1, unsolved=0, tasks=1)["before_grasp_failures"]
    assert [name[: len(cause)] for name in failures] == [cause]


def test_tasks_that_are_not_grounded_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def targets_of(task: SimpleNamespace) -> list[Any]:
        if task.index < refused:
            raise ValueError("no such body")
        return []

    monkeypatch.setattr(coverage, "SUITES", ("suite",))
    monkeypatch.setattr(coverage, "tasks", lambda suite: [SimpleNamespace(index=n, prompt="go") for n in range(5)])
    monkeypatch.setattr(coverage, "targets_of", targets_of)
    for refused in (0, 2):
        assert coverage.main([]) == int(refused > 0)
        lines = capsys.readouterr().out.splitlines()
        assert sum("NOT GROUNDED: no such body" in line for line in lines) == refused
        assert (json.loads(lines[-1])["tasks"], json.loads(lines[-1])["tasks_grounded"]) == (5, 5 - refused)


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
