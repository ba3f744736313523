"""True answers from facts, and what is not asked where a fact is missing; samples that answer and do not act."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.core.batch import TARGET_ANSWER
from inspire_fast.core.types import Sample, SceneFacts, TargetFacts
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.data.placement import Placement
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.data.training_transform import ModelInput, TrainingTransform
from inspire_fast.data.truths import facts_of, left_out, truth_of
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.render import Kind, Rendered
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.robots import ROBOTS

BINS = 16
POINT, BOX = QUESTIONS["point"](bins=BINS), QUESTIONS["box"](bins=BINS)
TRACE, MOVEMENT = QUESTIONS["trace"](points=2, bins=BINS), QUESTIONS["movement"](axes=DIRECTION.axes)
UNIT = {
    key: NormStats(mean=np.zeros(n), std=np.ones(n), q01=-np.ones(n), q99=np.ones(n))
    for key, n in (("state", 8), ("actions", 7))
}
GROUND = TrainingTransform(
    script=SCRIPTS["ground"](POINT, BOX, TRACE),
    vocabulary=tiny_vocabulary(locations=BINS),
    inputs=ModelInput(cameras=("base_0_rgb",), image_hw=(16, 16), normalizer=Normalizer(stats=UNIT)),
    max_token_len=256,
    max_supervised=64,
)
BLOCK = TargetFacts(
    phrase="the red block", offset_m=None, grasped=False, point_px=(0.4, 0.4), box_px=(0.2, 0.2, 0.6, 0.6)
)
PLATE = replace(BLOCK, phrase="the plate", point_px=(0.8, 0.8), box_px=(0.6, 0.6, 1.0, 1.0))
TRACE_PX = np.array([[0.5, 0.5], [0.6, 0.6]], np.float32)
SCENE = SceneFacts(targets=(BLOCK, PLATE), trace_px=TRACE_PX)
SAMPLE = Sample(observation=ROBOTS["libero"].canonical(ROBOTS["libero"].fake_native()), facts=SCENE)
HIDDEN = replace(SAMPLE, facts=replace(SCENE, targets=(replace(BLOCK, box_px=None), PLATE), trace_px=None))


def asked_of(rendered: Rendered) -> list[tuple[str, str]]:
    return [(p.slot.name, p.target) for p in rendered.pieces if p.kind is Kind.ANSWER and p.slot]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_sample_without_actions_is_answered() -> None:
    row = GROUND(SAMPLE, np.random.default_rng(0))
    kinds, at = row["target_kind"], row["target_at"]
    assert set(kinds[row["target_weight"] > 0].tolist()) == {TARGET_ANSWER}
    first = GROUND.vocabulary.locations(BINS)[0]
    assert (row["ids"][at[kinds == TARGET_ANSWER]] - first).tolist() == [
        *(6, 6, 3, 3, 9, 9),  # point and box of the block, in 16 bins
        *(12, 12, 9, 9, 15, 15),
        *(8, 8, 9, 9),  # the path
    ]
    assert "placement" not in row
    with pytest.raises(ValueError, match="script 'pi0_fast' needs actions"):
        replace(GROUND, script=SCRIPTS["pi0_fast"]())(SAMPLE, np.random.default_rng(0))


def test_a_weight_scales_the_loss_of_a_parts_rows() -> None:
    plain, scaled = (replace(GROUND, weight=w)(SAMPLE, np.random.default_rng(0)) for w in (1.0, 0.4))
    np.testing.assert_allclose(scaled["target_weight"], 0.4 * plain["target_weight"])


def test_a_question_without_its_fact_is_refused_or_left_out_and_never_made_up() -> None:
    with pytest.raises(ValueError, match=r"asks 'box' .*'the red block' have no box in the picture \(`box_px`\)"):
        GROUND.render(HIDDEN)
    known = replace(GROUND, unlabelled="ask_known")
    assert asked_of(known.render(HIDDEN)) == [("point", "the red block"), ("point", "the plate"), ("box", "the plate")]
    assert left_out(known.script, HIDDEN.facts) == {("box", "the red block"), ("trace", "")}
    assert asked_of(replace(GROUND, unlabelled="ask_nothing").render(HIDDEN)) == []
    blind = replace(SAMPLE, facts=None)
    assert facts_of(GROUND.script, blind, "ask_known") is None
    with pytest.raises(ValueError, match="has no facts about"):
        facts_of(GROUND.script, blind, "refuse")
    with pytest.raises(ValueError, match="has 3 points, the labels have 2"):
        truth_of(QUESTIONS["trace"](points=3), "", SCENE)


def test_labels_of_another_camera_are_refused() -> None:
    wrist = replace(SCENE, camera="left_wrist_0_rgb")
    with pytest.raises(
        ValueError, match="picture of 'base_0_rgb', and the labels are places in the picture of 'left_w"
    ):
        truth_of(POINT, "the plate", wrist)
    named = QUESTIONS["point"](bins=BINS, camera="left_wrist_0_rgb")
    assert truth_of(named, "the plate", wrist) == truth_of(POINT, "the plate", SCENE)
    assert truth_of(POINT, "the plate", replace(SCENE, camera="base_0_rgb")) == truth_of(POINT, "the plate", SCENE)


def test_places_are_of_the_picture_as_the_network_sees_it() -> None:
    """A picture twice as wide as high is padded above and below: rows of the label move towards the middle."""
    wide = replace(SAMPLE.observation, images={"base_0_rgb": np.zeros((8, 16, 3), np.uint8)})
    facts = GROUND.inputs.facts(replace(SAMPLE, observation=wide))
    assert facts is not None
    np.testing.assert_allclose(facts.targets[0].point_px, (0.45, 0.4))  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(facts.targets[0].box_px, (0.35, 0.2, 0.55, 0.6))  # pyright: ignore[reportArgumentType]
    assert GROUND.inputs.facts(SAMPLE) is SCENE or SAMPLE.observation.images["base_0_rgb"].shape[:2] != (16, 16)


def test_labels_move_with_the_crop_and_what_leaves_the_picture_is_not_asked() -> None:
    """The upper left half, twice as large: the plate and the path's end leave it."""
    moving = replace(GROUND, placement=Placement(crop=0.5))
    square = replace(
        SAMPLE, observation=replace(SAMPLE.observation, images={"base_0_rgb": np.zeros((16, 16, 3), np.uint8)})
    )
    corner = np.array([0, 0, 0.5], np.float32)
    rendered = moving.render(square, np.random.default_rng(0), corner)
    assert asked_of(rendered) == [("point", "the red block")]  # its box reaches out of it, too
    slot = next(i for i, p in enumerate(rendered.pieces) if p.kind is Kind.ANSWER)
    symbols = rendered.tokens.ids[rendered.tokens.segment == slot] - moving.vocabulary.locations(BINS)[0]
    assert symbols.tolist() == [12, 12]  # 0.4 is at 0.8
    row = moving(square, np.random.default_rng(5))
    np.testing.assert_array_equal(row["placement"], Placement().draw(np.random.default_rng(5)))
    wrist = replace(square, facts=replace(SCENE, camera="left_wrist_0_rgb"))
    named = [QUESTIONS[n](bins=BINS, camera="left_wrist_0_rgb") for n in ("point", "box")]
    still = replace(moving, script=SCRIPTS["ground"](*named)).render(wrist, np.random.default_rng(0), corner)
    assert len(asked_of(still)) == 4


def test_dropout_leaves_out_questions_about_the_scene_too() -> None:
    script = SCRIPTS["st4vla_answers"](TRACE, MOVEMENT)
    scene = replace(SCENE, motion_m=np.array([0.0, 0.2, 0.0], np.float32))
    acting = replace(GROUND, script=script, question_dropout=QuestionDropout(without=0.5, unsupervised=0.25))
    sample = replace(SAMPLE, actions=np.zeros((10, 7), np.float32), facts=scene)
    rng = np.random.default_rng(0)
    drawn = [acting.render(sample, rng) for _ in range(80)]
    asked = [len(asked_of(one)) for one in drawn]
    assert set(asked) == {0, 2}
    assert 25 < asked.count(0) < 55
    quiet = [one for one in drawn if asked_of(one) and not _answers_weigh(one)]
    assert 8 < len(quiet) < 35


def test_the_coming_motion_is_of_recorded_positions(tmp_path: Path) -> None:
    """It needs no labels; near the episode's end it is the motion that is left."""
    dataset = LeRobotDataset(write_fake_dataset(tmp_path, episodes=2, frames=6))
    source = ChunkSource(dataset, None, robot=ROBOTS["libero"], horizon=4, motion=True)
    positions = source.states()[:, :3]
    for i, end in ((0, 4), (3, 5), (5, 5), (6, 10)):
        scene = source.facts_of(i)
        assert scene is not None
        assert scene.targets == ()
        np.testing.assert_allclose(scene.motion_m, positions[end] - positions[i], atol=1e-6)  # pyright: ignore[reportArgumentType]
    assert ChunkSource(dataset, None, robot=ROBOTS["libero"], horizon=4).facts_of(0) is None
    with pytest.raises(DatasetError, match="needs its recorded position, and robot 'mute' does not declare"):
        ChunkSource(dataset, None, robot=replace(ROBOTS["libero"], name="mute", gripper=None), horizon=4, motion=True)


def _answers_weigh(rendered: Rendered) -> bool:
    kinds = np.array([p.kind is Kind.ANSWER for p in rendered.pieces])
    return bool(rendered.tokens.supervised[kinds[rendered.tokens.segment]].any())
