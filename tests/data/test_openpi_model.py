"""The InSpire model transform and its inverse: openpi's arrays, what is supervised, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.types import Sample, SceneFacts
from inspire_fast.data.normalization.delta import delta_actions
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.data.openpi.model import AddFacts, Inspire, InspireActions, MalformedActionsError
from inspire_fast.data.openpi.transforms import Carry, RepackTransform
from inspire_fast.data.training_transform import ModelInput, TrainingTransform
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.periodic import shortest
from tests.data.dictionaries import FACTS, HORIZON, SCRIPT

VOCABULARY = tiny_vocabulary(HORIZON, 7)
INSPIRE = Inspire(script=SCRIPT, vocabulary=VOCABULARY, max_token_len=256)
DATA = {
    "image": {"base_0_rgb": np.zeros((4, 4, 3), np.uint8)},
    "image_mask": {"base_0_rgb": np.True_},
    "state": np.linspace(-1, 1, 8),
    "prompt": np.asarray("put the red block on the plate"),
}
CHUNK = np.linspace(-0.9, 0.9, HORIZON * 7).reshape(HORIZON, 7)


def text(made: dict[str, Any]) -> str:
    return VOCABULARY.text.decode(made["tokenized_prompt"][made["tokenized_prompt_mask"]])


def test_types_and_lengths_are_openpis() -> None:
    made = INSPIRE({**DATA, "actions": CHUNK, "facts": FACTS})
    assert {k: (v.dtype.name, v.shape) for k, v in made.items() if k.startswith("token")} == {
        "tokenized_prompt": ("int64", (256,)),
        "tokenized_prompt_mask": ("bool", (256,)),
        "token_ar_mask": ("int64", (256,)),
        "token_loss_mask": ("bool", (256,)),
    }
    length = int(made["tokenized_prompt_mask"].sum())
    for key in ("tokenized_prompt", "token_ar_mask", "token_loss_mask"):
        assert not made[key][length:].any()


def test_only_answers_and_actions_are_supervised() -> None:
    made = INSPIRE({**DATA, "actions": CHUNK, "facts": FACTS})
    ids, loss = made["tokenized_prompt"], made["token_loss_mask"]
    lead = VOCABULARY.text.encode("Action: ")
    assert [VOCABULARY.text.decode([int(i)]).strip() for i in ids[loss][:2]] == ["left", "front"]
    assert ids[loss][2 : 2 + len(lead)].tolist() == lead
    assert ids[loss][-1] == VOCABULARY.text.eos_id
    before_the_questions = text(INSPIRE(dict(DATA))).partition("Question")[0]
    seen, length = len(VOCABULARY.text.encode(before_the_questions, bos=True)), int(made["tokenized_prompt_mask"].sum())
    np.testing.assert_array_equal(made["token_ar_mask"], [0] * seen + [1] * (length - seen) + [0] * (256 - length))


def test_inference_stops_at_the_first_open_question_then_before_the_actions() -> None:
    training = INSPIRE({**DATA, "actions": CHUNK, "facts": FACTS})["tokenized_prompt"]
    for answers, end in (((), "Answer:"), (("left",), "Answer:"), (("left", "front"), "Action: ")):
        made = INSPIRE({**DATA, "answers": answers})
        assert text(made).endswith(end)
        assert not made["token_loss_mask"].any()
        length = int(made["tokenized_prompt_mask"].sum())
        np.testing.assert_array_equal(made["tokenized_prompt"][:length], training[:length])
    assert INSPIRE({**DATA, "answers": ("left",)}).keys() == INSPIRE(dict(DATA)).keys()  # what it read is consumed


def test_targets_and_answers_come_as_any_sequence_of_texts() -> None:
    given_lists = {"targets": ["the plate"], "answers": ["left"]}
    expected = INSPIRE({**DATA, **given_lists})["tokenized_prompt"]
    as_arrays = {key: np.array(texts) for key, texts in given_lists.items()}
    np.testing.assert_array_equal(INSPIRE({**DATA, **as_arrays})["tokenized_prompt"], expected)
    two = {"answers": np.array(["left", "front"])}
    assert text(INSPIRE({**DATA, **two})).endswith("Action: ")
    assert text(INSPIRE({**DATA, "answers": np.array([], str)})).endswith("Answer:")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": None}, "A prompt is required"),
        ({"state": np.full(8, np.nan)}, r"one finite vector.*bad at \[0, 1"),
        ({"actions": CHUNK}, "neither `facts` nor enough `answers`"),
        ({"actions": CHUNK * 50, "facts": FACTS}, "outside the fitted range"),
        ({"answers": ("sideways", "left")}, "'sideways' is no answer"),
        ({"prompt": "dance"}, "No target found"),
        ({"targets": "plate"}, "'targets' is a list of texts; got 'plate'"),
        ({"answers": np.array("left")}, "'answers' is a list of texts"),
        ({"answers": [1]}, "'answers' is a list of texts"),
    ],
)
def test_what_cannot_be_rendered_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        INSPIRE({**DATA, **change})


def test_a_length_that_does_not_fit_names_the_one_that_would() -> None:
    data = {**DATA, "actions": CHUNK, "facts": FACTS}
    length = int(INSPIRE(data)["tokenized_prompt_mask"].sum())
    with pytest.raises(
        ValueError, match=f"has {length} ids, max_token_len is {length - 1}. Set it to at least {length}"
    ):
        replace(INSPIRE, max_token_len=length - 1)(data)
    assert replace(INSPIRE, max_token_len=length)(data)["tokenized_prompt_mask"].all()


def sampled_ids() -> np.ndarray:
    end = VOCABULARY.text.encode("|", eos=True)
    return np.concatenate([VOCABULARY.from_action(VOCABULARY.action.encode(CHUNK)), end]).astype(np.float32)


READ = InspireActions(script=SCRIPT, vocabulary=VOCABULARY, action_horizon=HORIZON, action_dim=7)


@settings(max_examples=20)
@given(st.integers(0, 9))
def test_padding_behind_the_terminator_does_not_matter(zeros: int) -> None:
    actions = READ({"actions": np.pad(sampled_ids(), (0, zeros))})["actions"]
    np.testing.assert_allclose(actions, CHUNK, atol=0.5 * HORIZON / 10)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (sampled_ids()[:-2], "do not end with"),
        (sampled_ids()[1:], "a chunk of 5 x 7 needs 35|do not spell"),
        (np.concatenate([[4], sampled_ids()]), "Id 4 at place 0 is no action id"),
        (np.zeros(12), "do not end with"),
        (np.append(np.nan, sampled_ids()), "whole numbers; got nan at place 0"),
        (np.append(sampled_ids()[:3], 2.5), "whole numbers; got 2.5 at place 3"),
        (sampled_ids()[None], r"one sequence; got float32 \(1, "),
        (np.array(["7"]), "one sequence; got <U1"),
    ],
)
def test_malformed_ids_are_an_error_never_zeros(ids: np.ndarray, words: str) -> None:
    with pytest.raises(MalformedActionsError, match=words):
        READ({"actions": ids})


def test_a_script_that_does_not_act_has_no_actions_to_read() -> None:
    silent = replace(SCRIPT, segments=SCRIPT.segments[:-1])
    with pytest.raises(ValueError, match="does not act: it ends in"):
        replace(READ, script=silent)


@pytest.mark.parametrize("name", list(ROBOTS))
def test_ids_are_those_of_our_own_training_and_come_back_as_the_robots_actions(name: str) -> None:
    robot = ROBOTS[name]
    observation = robot.canonical(robot.fake_native(image_hw=(12, 16)))
    span = np.subtract(robot.action_high, robot.action_low)
    middle = robot.native_state(robot.fake_native())[: robot.action_dim] if robot.delta else robot.action_low + span / 2
    native = middle + span * np.random.default_rng(0).uniform(-0.05, 0.05, (HORIZON, robot.action_dim))
    actions = robot.canonical_actions(np.clip(native, robot.action_low, robot.action_high))
    relative = delta_actions(actions, observation.state, robot.delta)
    statistics = {
        "state": stats(observation.state - 1, observation.state + 1),
        "actions": stats(relative.min(0) - 0.1, relative.max(0) + 0.1),
    }
    normalizer = Normalizer(stats=statistics, delta=robot.delta)
    transform = TrainingTransform(
        script=SCRIPT,
        vocabulary=tiny_vocabulary(HORIZON, robot.action_dim),
        inputs=ModelInput(cameras=robot.model_cameras, image_hw=(16, 16), normalizer=normalizer),
        max_token_len=300,
        max_supervised=200,
    )
    batch = transform(Sample(observation=observation, actions=actions, facts=FACTS), np.random.default_rng(0))
    made = Inspire(script=SCRIPT, vocabulary=transform.vocabulary, max_token_len=300)(
        {
            "prompt": observation.prompt,
            "state": normalizer.state(observation.state),
            "actions": normalizer.actions(actions, observation.state),
            "facts": FACTS,
        }
    )
    valid = batch["valid"]
    np.testing.assert_array_equal(made["tokenized_prompt"], batch["ids"])
    np.testing.assert_array_equal(made["tokenized_prompt_mask"], valid)
    np.testing.assert_array_equal(made["token_ar_mask"][valid], np.diff(batch["block"], prepend=0)[valid] > 0)
    np.testing.assert_array_equal(np.flatnonzero(made["token_loss_mask"]), batch["target_at"][batch["target_kind"] > 0])
    lead = transform.vocabulary.text.encode("Action: ")
    ids = made["tokenized_prompt"].tolist()
    start = max(i for i in range(len(ids)) if ids[i : i + len(lead)] == lead) + len(lead)
    read = InspireActions(
        script=SCRIPT, vocabulary=transform.vocabulary, action_horizon=HORIZON, action_dim=robot.action_dim
    )
    back = normalizer.canonical_actions(
        read({"actions": np.array(ids[start:], np.float32)})["actions"], observation.state
    )
    bound = (
        0.5 * HORIZON / 10 * np.subtract(statistics["actions"].q99, statistics["actions"].q01) / 2
    )  # FAST's resolution
    error = shortest(back - actions, robot.canonical_periods.get("actions", np.zeros(robot.action_dim)))
    assert (np.abs(error) <= bound + 1e-3).all()


def stats(low: np.ndarray, high: np.ndarray) -> NormStats:
    return NormStats(mean=(low + high) / 2, std=high - low, q01=low.astype(np.float64), q99=high.astype(np.float64))


class Table:
    def facts(self, episode: int, frame: int) -> SceneFacts | None:
        return FACTS if (episode, frame) == (2, 5) else None


def test_facts_of_a_row_are_found_by_indices_carried_past_transforms_that_build_new_dictionaries() -> None:
    row = {"episode_index": np.array(2), "frame_index": np.array(5), "state": np.zeros(8), "dropped": 1}
    carry, add = Carry(RepackTransform({"state": "state"}), ("episode_index", "frame_index")), AddFacts(Table())

    def chain(data: dict) -> dict:
        return add(carry(data))

    assert chain(row).keys() == {"state", "facts"}
    assert chain(row)["facts"] is FACTS
    assert chain({**row, "frame_index": 6})["facts"] is None
    assert chain({"state": np.zeros(8)}).keys() == {"state"}
    with pytest.raises(ValueError, match="has 'frame_index' alone"):
        AddFacts(Table())({"frame_index": 3})
