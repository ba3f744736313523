"""Diagnosis of episodes: phases and divergence on made-up courses, and an episode repeated in the real simulator."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.core.types import ActionChunk
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import Variation
from inspire_fast.envs.libero.experts.registry import EXPERTS
from inspire_fast.evaluation.diagnosis.course import Course
from inspire_fast.evaluation.diagnosis.diagnose import (
    Diagnosis,
    DiagnosisOptions,
    _diagnose,
    _simulators,
)
from inspire_fast.evaluation.diagnosis.expert_error import ExpertError
from inspire_fast.evaluation.diagnosis.nearest import Demonstrations, first_divergence
from inspire_fast.evaluation.diagnosis.phases import furthest, gripper_timing, partial_credit, phase_steps
from inspire_fast.evaluation.records.actions import actions_file, load_actions, save_actions
from inspire_fast.evaluation.report.diagnosis import diagnosis_section
from inspire_fast.evaluation.run.openpi_view import OpenpiObservationWrapper
from inspire_fast.evaluation.run.protocols import PROTOCOLS
from inspire_fast.evaluation.run.rollout import Rollout
from inspire_fast.evaluation.run.runner import Job
from inspire_fast.robots import ROBOTS


def course(steps: int = 8, **columns: np.ndarray) -> Course:
    """A can that the gripper approaches, takes at step 4, lifts at step 6 and never puts down."""
    rows = np.arange(steps + 1)
    default = {
        "goal": (("in", "can_1", "basket_1"),),
        "movable": np.array([True]),
        "gripper_m": np.zeros((steps + 1, 3)),
        "opening_m": np.where(rows < 4, 0.08, 0.04),
        "distance_m": np.maximum(0.2 - 0.06 * rows, 0.0)[:, None],
        "raised_m": np.where(rows >= 6, 0.05, 0.0)[:, None],
        "touched": (rows >= 3)[:, None],
        "held": (rows >= 4)[:, None],
        "met": np.zeros((steps + 1, 1), bool),
        "phrases": ("the can", "the basket"),
        "offset_m": np.zeros((steps + 1, 2, 3)),
        "command": np.where(np.arange(steps) < 3, -1.0, 1.0),
    }
    return Course(**{**default, **columns})


def test_phases_are_the_first_steps_of_the_truth():
    (steps,) = phase_steps(course())
    assert steps == {"approached": 3, "touched": 3, "grasped": 4, "lifted": 6, "achieved": None}
    assert furthest(steps) == "lifted"
    (drawer,) = phase_steps(course(movable=np.array([False]), distance_m=np.ones((9, 1))))
    assert drawer == {"approached": None, "touched": 3, "achieved": None}
    assert furthest({"approached": None, "touched": None, "achieved": None}) == "nothing"


def test_partial_credit_is_the_share_of_the_phases():
    lifted = {"approached": 3, "touched": 3, "grasped": 4, "lifted": 6, "achieved": None}
    drawer = {"approached": None, "touched": None, "achieved": None}
    assert partial_credit([lifted]) == pytest.approx(0.8)
    assert partial_credit([lifted, drawer]) == pytest.approx(0.4)
    assert partial_credit([{**drawer, "achieved": 9}]) == 1.0  # pushed shut with the elbow is shut


def test_a_goal_that_was_reached_and_lost_is_not_achieved():
    met = np.zeros((9, 1), bool)
    met[5:7] = True
    assert phase_steps(course(met=met))[0]["achieved"] is None
    met[8] = True
    assert phase_steps(course(met=met))[0]["achieved"] == 5


def test_the_gripper_closes_at_a_distance():
    timing = gripper_timing(course())
    assert timing == {"closed_step": 3, "closed_m": pytest.approx(0.02), "closes": 1}
    assert gripper_timing(course(command=-np.ones(8))) == {"closed_step": None, "closed_m": None, "closes": 0}


def test_divergence_is_measured_against_the_other_demonstrations():
    rng = np.random.default_rng(0)
    path = np.linspace([0, 0, 0.3, 0, 0, 0.4, 0.08], [0, 0, 0, 0.2, 0, 0.1, 0.04], 40)
    known = Demonstrations.of(("the can", "the basket"), [path + rng.normal(0, 0.004, (40, 7)) for _ in range(6)])
    assert 0.005 < known.usual_m < 0.03
    offset_m = path[:, :6].reshape(40, 2, 3).copy()
    seen = replace(course(39), offset_m=offset_m, opening_m=path[:, 6])
    assert first_divergence(known.distances_m(seen), known.usual_m) is None
    offset_m[20:] += 0.1
    assert first_divergence(known.distances_m(seen), known.usual_m) == 20
    swapped = replace(seen, phrases=("the basket", "the can"), offset_m=offset_m[:, ::-1])
    np.testing.assert_allclose(known.distances_m(swapped), known.distances_m(seen))


def test_one_odd_state_is_no_divergence():
    far = np.zeros(30)
    far[[3, 9, 10, 11, 12]] = 1.0
    assert first_divergence(far, 0.5) is None
    far[13] = 1.0
    assert first_divergence(far, 0.5) == 9


def test_actions_come_back_with_held_chunks_as_nan(tmp_path: Path):
    chunk = ActionChunk(actions=np.ones((4, 7), np.float32))
    held = ActionChunk(actions=None, status="held", reason="no")  # pyright: ignore[reportArgumentType]
    save_actions(tmp_path / "a.npz", [np.zeros(7)] * 3, [(0, held), (1, chunk)])
    actions = load_actions(tmp_path / "a.npz")
    assert np.isnan(actions.chunks[0]).all()
    np.testing.assert_array_equal(actions.chunks[1], 1)
    assert (actions.sent.shape, actions.steps.tolist()) == ((3, 7), [0, 1])
    with pytest.raises(FileNotFoundError, match="Run it again"):
        load_actions(tmp_path / "b.npz")


def test_the_page_says_where_failed_episodes_ended():
    diagnosis = Diagnosis(
        suite="libero_object",
        task=0,
        episode=0,
        success=False,
        repeated=True,
        goal=("in can_1 basket_1",),
        phases=({"approached": 3, "touched": None, "grasped": None, "lifted": None, "achieved": None},),
        gripper={"closed_step": 9, "closed_m": 0.034, "closes": 2},
        nearest_m=(0.01, 0.05),
        usual_m=0.02,
        diverged=5,
        expert=(ExpertError(step=0, carrying=False, translation=0.31, gripper=0.5, spread=0.1),),
    )
    solved = replace(
        diagnosis,
        episode=1,
        success=True,
        phases=({"approached": 2, "touched": 3, "grasped": 4, "lifted": 5, "achieved": 6},),
    )
    other = replace(diagnosis, episode=2, repeated=False)
    page = "".join(diagnosis_section({d.key: d for d in (diagnosis, solved, other)}, []))
    for text in ("approached (1)", "100.0% (step 2)", "50.0% (step 3)", "3.4", "0.31", "1 ended otherwise", "60.0%"):
        assert text in page
    assert diagnosis_section({}, []) == []
    assert Diagnosis.from_dict({**vars(diagnosis), "expert": [vars(diagnosis.expert[0])]}) == diagnosis


@pytest.mark.sim
@pytest.mark.slow
def test_an_episode_is_repeated_exactly_and_the_expert_finds_the_same_way(tmp_path: Path):
    protocol = PROTOCOLS["quick"].changed(camera_px=32)
    job = Job(protocol=protocol, policy={}, out=tmp_path)
    pair = _simulators(job, "libero_object", 0)
    simulated, _ = pair
    environment = OpenpiObservationWrapper(simulated, orientation="rotated_180", image_px=32)
    assert isinstance(simulated, LiberoEnvironment)
    plan = EXPERTS["carry_out"](simulated, np.random.default_rng(0), Variation())

    def infer(_observation: object) -> ActionChunk:
        return ActionChunk(actions=np.stack([next(plan)]))

    rollout = Rollout(robot=ROBOTS["libero"], questions={}, execute=1, max_steps=150, actions=tmp_path)
    record = rollout.run(environment, infer, ("libero_object", 0, 1))
    assert record.success
    diagnosis = _diagnose(job, DiagnosisOptions(expert_every=60), record)
    assert diagnosis.repeated
    (phases,) = diagnosis.phases
    order = [phases[name] for name in ("approached", "touched", "grasped", "lifted", "achieved")]
    assert order == sorted(order)  # pyright: ignore[reportArgumentType]
    assert phases["achieved"] == record.steps
    assert diagnosis.gripper["closed_m"] < 0.06  # pyright: ignore[reportOptionalOperand]
    assert [error.carrying for error in diagnosis.expert][:1] == [False]
    assert diagnosis.expert[0].translation < 0.25
    assert any(error.carrying for error in diagnosis.expert)
    assert actions_file(tmp_path, record.key).is_file()
    for simulator in pair:
        simulator.close()
