from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER
from inspire_fast.core.types import Sample, SceneFacts, TargetFacts
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.data.training_transform import ModelInput, TrainingTransform
from inspire_fast.dialogue.grounding.released import ground_released
from inspire_fast.dialogue.grounding.targets import ground
from inspire_fast.dialogue.render import Kind
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.robots import ROBOTS

UNIT = {
    key: NormStats(mean=np.zeros(n), std=np.ones(n), q01=-np.ones(n), q99=np.ones(n))
    for key, n in (("state", 8), ("actions", 7))
}
CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
TRANSFORM = TrainingTransform(
    script=SCRIPTS["inspire"](DIRECTION),
    vocabulary=tiny_vocabulary(),
    inputs=ModelInput(cameras=CAMERAS, image_hw=(16, 16), normalizer=Normalizer(stats=UNIT)),
    max_token_len=256,
    max_supervised=128,
)
RNG = np.random.default_rng(0)
SAMPLE = Sample(
    observation=ROBOTS["libero"].canonical(ROBOTS["libero"].fake_native()),
    actions=np.zeros((10, 7), np.float32),
    facts=SceneFacts(
        targets=(
            TargetFacts(phrase="the red block", offset_m=np.array([0.0, -0.2, 0.1], np.float32), grasped=False),
            TargetFacts(phrase="the plate", offset_m=np.array([0.3, 0.0, 0.1], np.float32), grasped=False),
        )
    ),
)


def test_answers_come_from_the_facts_and_only_supervised_ids_are_targets() -> None:
    row = TRANSFORM(SAMPLE, RNG)
    kinds, at = row["target_kind"], row["target_at"]
    answers = [TRANSFORM.vocabulary.text.decode([i]).strip() for i in row["ids"][at[kinds == TARGET_ANSWER]]]
    assert answers == ["left", "front"]
    first_action = TRANSFORM.vocabulary.text.encode("Action: ")
    assert row["ids"][at[kinds == TARGET_ACTION]][: len(first_action)].tolist() == first_action
    assert row["ids"][at[kinds == TARGET_ACTION][-1]] == TRANSFORM.vocabulary.text.eos_id
    assert (row["target_weight"] > 0).sum() == (kinds > 0).sum()
    assert row["valid"].sum() == at.max() + 1


def test_a_camera_that_the_robot_lacks_is_black() -> None:
    row = TRANSFORM(SAMPLE, RNG)
    assert row["image:right_wrist_0_rgb"].shape == (16, 16, 3)
    assert not row["image:right_wrist_0_rgb"].any()
    assert row["image:base_0_rgb"].any()


@pytest.mark.parametrize(
    ("transform", "sample", "words"),
    [
        (replace(TRANSFORM, max_token_len=50), SAMPLE, "max_token_len=50.*nothing is cut"),
        (replace(TRANSFORM, max_supervised=5), SAMPLE, "max_supervised=5"),
        (TRANSFORM, replace(SAMPLE, facts=None), "has no facts"),
        (TRANSFORM, replace(SAMPLE, actions=None), "needs actions"),
        (TRANSFORM, replace(SAMPLE, actions=np.full((10, 7), 50.0, np.float32)), "outside the fitted range"),
    ],
)
def test_what_does_not_fit_is_refused(transform: TrainingTransform, sample: Sample, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        transform(sample, RNG)


def test_the_plain_script_needs_no_facts() -> None:
    plain = replace(TRANSFORM, script=SCRIPTS["pi0_fast"](DIRECTION))
    assert TARGET_ANSWER not in plain(replace(SAMPLE, facts=None), RNG)["target_kind"]


def test_state_noise_changes_the_state_in_training_only_and_by_its_size() -> None:
    noisy = replace(TRANSFORM, state_noise=0.02)
    clean = TRANSFORM.render(SAMPLE).pieces[0].text
    assert noisy.render(SAMPLE).pieces[0].text == clean
    texts = [noisy.render(SAMPLE, np.random.default_rng(n)).tokens.ids.tolist() for n in range(5)]
    assert len({tuple(t) for t in texts}) == 5
    rng = np.random.default_rng(0)
    assert texts[0] == noisy.render(SAMPLE, np.random.default_rng(0)).tokens.ids.tolist()
    states = [noisy.render(SAMPLE, rng).pieces[0].text.split("State: ")[1] for _ in range(200)]
    bins = np.array([[int(b) for b in s.rstrip(";\n").split()] for s in states])
    np.testing.assert_allclose(bins.std(axis=0), 0.02 * 128, rtol=0.25)


def test_samples_without_facts_train_their_actions_alone_where_that_is_asked_for() -> None:
    bare = replace(SAMPLE, facts=None)
    lenient = replace(TRANSFORM, unlabelled="ask_nothing")
    plain = replace(TRANSFORM, script=SCRIPTS["pi0_fast"]())
    assert lenient.render(bare).tokens.ids.tolist() == plain.render(bare).tokens.ids.tolist()
    assert SAMPLE.facts is not None
    partial = replace(SAMPLE, facts=SceneFacts(targets=SAMPLE.facts.targets[1:]))
    assert lenient.render(partial).tokens.ids.tolist() == plain.render(bare).tokens.ids.tolist()
    known = replace(TRANSFORM, unlabelled="ask_known").render(partial)
    assert [p.target for p in known.pieces if p.kind is Kind.ANSWER] == ["the plate"]
    with pytest.raises(ValueError, match=r"this frame has no facts about \['the red block'\].*ask_nothing"):
        TRANSFORM.render(partial)
    first = replace(TRANSFORM, script=SCRIPTS["inspire"](DIRECTION, max_targets=1))
    assert replace(first, unlabelled="ask_nothing").render(partial).empty is None
    with pytest.raises(ValueError, match="the red block"):
        first.render(partial)  # not the plate in the red block's place


@given(order=st.permutations(range(4)))
def test_training_asks_what_inference_would_whatever_order_labels_have(order: list[int]) -> None:
    assert SAMPLE.facts is not None
    foreign = [replace(SAMPLE.facts.targets[0], phrase=p) for p in ("the cup", "The Plate")]
    stored = [[*SAMPLE.facts.targets, *foreign][i] for i in order]
    rendered = TRANSFORM.render(replace(SAMPLE, facts=SceneFacts(targets=tuple(stored))))
    asked = [p.target for p in rendered.pieces if p.kind is Kind.ANSWER]
    assert asked == list(ground(SAMPLE.observation.prompt)) == ["the red block", "the plate"]


def test_labels_of_targets_of_their_own_are_asked_about() -> None:
    assert SAMPLE.facts is not None
    own = tuple(replace(t, phrase=f"{t.phrase} of mine") for t in SAMPLE.facts.targets)
    rendered = TRANSFORM.render(replace(SAMPLE, facts=SceneFacts(targets=own)))
    assert [p.target for p in rendered.pieces if p.kind is Kind.ANSWER] == [t.phrase for t in own]


def test_the_released_script_asks_in_its_own_words_and_order_from_the_same_facts() -> None:
    released = replace(TRANSFORM, script=SCRIPTS["inspire"](DIRECTION, released=True))
    prompt = "turn on the stove and put the frying pan on it"
    offsets = {"the stove button": (0.3, 0, 0), "the frying pan": (0, -0.3, 0), "the stove": (0, 0, -0.3)}
    facts = SceneFacts(
        targets=tuple(
            TargetFacts(phrase=p, offset_m=np.array(o, np.float32), grasped=False) for p, o in offsets.items()
        )
    )
    sample = replace(SAMPLE, observation=replace(SAMPLE.observation, prompt=prompt), facts=facts)
    pieces = released.render(sample).pieces
    assert [p.target for p in pieces if p.kind is Kind.ANSWER] == list(ground_released(prompt))
    ours = [p.target for p in TRANSFORM.render(sample).pieces if p.kind is Kind.ANSWER]
    assert ours == list(offsets)
    assert set(ground_released(prompt)) == set(ours)


def fractions(dropout: QuestionDropout, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Of `count` uses of a sample: how many targets were asked about, and whether their answers carried loss."""
    rng = np.random.default_rng(0)
    draws = [dropout.draw(("a", "b", "c"), rng) for _ in range(count)]
    return np.array([len(targets) for targets, _ in draws]), np.array([supervised for _, supervised in draws])


@settings(max_examples=10, deadline=None)
@given(without=st.floats(0, 0.6), unsupervised=st.floats(0, 0.4), dropout=st.floats(0, 1))
def test_realised_fractions_of_dropped_questions(without: float, unsupervised: float, dropout: float) -> None:
    counts, supervised = fractions(QuestionDropout(without=without, unsupervised=unsupervised, target_dropout=dropout))
    assert (counts == 0).mean() == pytest.approx(without, abs=0.04)
    assert (~supervised).mean() == pytest.approx(unsupervised, abs=0.04)
    assert (counts[~supervised] > 0).all()
    # Three targets, each kept with 1 - p; where none would be left, one stays.
    if (counts > 0).sum() > 1000:
        assert counts[counts > 0].mean() == pytest.approx(3 * (1 - dropout) + dropout**3, abs=0.12)


def test_weights_of_asked_and_unasked_samples() -> None:
    row = replace(TRANSFORM, question_dropout=QuestionDropout(without=1.0))(SAMPLE, RNG)
    plain = replace(TRANSFORM, script=SCRIPTS["pi0_fast"]())(SAMPLE, RNG)
    for key in ("ids", "block", "target_at", "target_weight", "target_kind"):
        np.testing.assert_array_equal(row[key], plain[key])
    asked, quiet = (
        TRANSFORM(SAMPLE, RNG),
        replace(TRANSFORM, question_dropout=QuestionDropout(unsupervised=1.0))(SAMPLE, RNG),
    )
    np.testing.assert_array_equal(asked["ids"], quiet["ids"])
    assert (quiet["target_kind"] == TARGET_ANSWER).sum() == 0
    assert (asked["target_kind"] == TARGET_ANSWER).sum() == 2
    assert quiet["target_weight"].sum() == asked["target_weight"].sum() - 2
    assert replace(TRANSFORM, question_dropout=QuestionDropout(without=1.0)).render(SAMPLE).tokens.ids.tolist() == (
        TRANSFORM.render(SAMPLE).tokens.ids.tolist()
    ), "held-out samples ask everything"


def test_the_order_of_questions_is_the_instructions_or_random() -> None:
    rng = np.random.default_rng(0)
    orders = {QuestionDropout(shuffle=True).draw(("a", "b", "c"), rng)[0] for _ in range(100)}
    assert len(orders) == 6
    assert {QuestionDropout(target_dropout=0.5).draw(("a", "b"), rng)[0] for _ in range(100)} == {
        ("a",),
        ("b",),
        ("a", "b"),
    }


def test_impossible_fractions_are_refused() -> None:
    with pytest.raises(ValueError, match="without must be a number, at least 0 and at most 1"):
        QuestionDropout(without=1.5)
    with pytest.raises(ValueError, match="must not exceed 1 together"):
        QuestionDropout(without=0.7, unsupervised=0.7)
