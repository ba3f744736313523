import numpy as np
import pytest

from inspire_fast.client.codec import pack, unpack
from inspire_fast.client.errors import ErrorCode, ProtocolError, ServerError, format_error
from inspire_fast.client.messages import (
    chunk_from_wire,
    chunk_to_wire,
    request_from_wire,
    request_number,
    request_to_wire,
)
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Answer, Status

OBSERVATION = {"observation/state": np.arange(8, dtype=np.float32), "prompt": "open the drawer"}


def test_a_default_request_is_openpis_own():
    assert request_to_wire(OBSERVATION, None) == OBSERVATION
    assert request_to_wire(OBSERVATION, RequestOptions()) == OBSERVATION


@pytest.mark.parametrize(
    "options",
    [
        RequestOptions(),
        RequestOptions(mode="skip"),
        RequestOptions(mode="force", targets=("the bowl",), answers=("left",)),
        RequestOptions(temperature=0.5, seed=7),
    ],
)
def test_requests_come_through_the_wire(options):
    observation, got = request_from_wire(unpack(pack(request_to_wire(OBSERVATION, options))))
    assert got == options
    assert observation.keys() == OBSERVATION.keys()


def test_the_options_key_is_reserved():
    with pytest.raises(ValueError, match="reserved"):
        request_to_wire({**OBSERVATION, "inspire": {}}, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "dictionary of options"),
        ({"temprature": 1.0}, "Did you mean 'temperature'"),
        ({"mode": 3}, "must be text"),
        ({"mode": "shout"}, "Unknown mode 'shout'"),
        ({"mode": "force"}, "go together"),
        ({"targets": "the bowl"}, "list of texts"),
        ({"answers": [1], "mode": "force"}, "list of texts"),
        ({"temperature": float("nan")}, "finite number"),
        ({"temperature": True}, "finite number"),
        ({"temperature": -1}, "must be a number, at least 0"),
        ({"seed": 1.5}, "integer"),
        ({"seed": -1}, "integer"),
        ({"top_k": -1}, "integer"),
        ({"reask_every": 0}, "reask_every must be a whole number, at least 1"),
        ({"committed": [1.0]}, "list of actions, each a list of numbers"),
        ({"committed": [[1.0, "x"]]}, "finite number"),
        ({"committed": [[0.0] * 4097]}, "may hold 4096 numbers; got 4097"),
        ({"committed": [[]]}, "committed must be numbers"),
        ({"session": 7}, "must be text"),
        ({"session": "x" * 129}, "may have 128 characters; got 129"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        request_from_wire({**OBSERVATION, "inspire": options})


MANY_ITEMS = np.zeros([6] * 7, np.uint8)  # numpy shortens no axis of six: its text takes a second, of 32 MB minutes


@pytest.mark.parametrize("value", [MANY_ITEMS, [MANY_ITEMS] * 3, {"left": MANY_ITEMS}])
@pytest.mark.parametrize("name", ["mode", "targets", "temperature", "seed", "session", "committed"])
def test_what_is_wrong_with_an_option_is_said_in_few_words(name, value):
    with pytest.raises(ValueError, match=name) as refused:
        request_from_wire({**OBSERVATION, "inspire": {name: value}})
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k" * 129: 1}, "at most 128 characters"),
        ({"images": {"k" * 129: 1}}, "at most 128 characters"),  # as paths, 20,000 keys below one of 1 MB take 20 GB
        ({"images": {b"cam": 1}}, "text keys"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}, "at most 8 deep"),
    ],
)
def test_keys_are_short_and_not_nested_far(fields, message):
    with pytest.raises(ValueError, match=message):
        request_from_wire({**OBSERVATION, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "put the bowl on the plate and " * 300}, "'prompt' has 9000 characters; at most 8192"),
        ({"inspire": {"session": "a" * 8193}}, "'session' has 8193 characters"),
        ({"inspire": {"targets": ["the bowl"] * 65}}, "64 texts of 8192 characters in all; got 65 of 520"),
        ({"inspire": {"targets": ["a " * 5000]}}, "got 1 of 10000"),
        ({"inspire": {"mode": "force", "answers": ["left"] * 50_000}}, "got 50000 of 200000"),
    ],
)
def test_text_is_no_longer_than_an_instruction(fields, message):
    with pytest.raises(ValueError, match=message):
        request_from_wire({**OBSERVATION, **fields})


@pytest.mark.parametrize("request_", [None, [1], {b"prompt": "go"}])
def test_a_request_is_a_dictionary_with_text_keys(request_):
    with pytest.raises(ValueError, match="dictionary with text keys"):
        request_from_wire(request_)


CHUNKS = {
    "ok": ActionChunk(
        actions=np.arange(14, dtype=np.float32).reshape(2, 7),
        answers=(Answer(question="direction", target="the bowl", answer="left", probability=0.75),),
        timing_ms={"prefill_ms": 2.0},
    ),
    "held": ActionChunk(actions=None, status=Status.HELD, reason="ran out of tokens"),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_come_through_the_wire(name):
    chunk = CHUNKS[name]
    response = unpack(pack(chunk_to_wire(chunk, state=np.zeros(8, np.float32))))
    assert ("actions" in response) == (name == "ok")
    assert response["state"] == [0.0] * 8
    got = chunk_from_wire(response)
    assert (got.status, got.reason, got.answers, got.timing_ms) == (
        chunk.status,
        chunk.reason,
        chunk.answers,
        chunk.timing_ms,
    )
    if chunk.actions is None or got.actions is None:
        assert got.actions is chunk.actions is None
    else:
        np.testing.assert_array_equal(got.actions, chunk.actions)
        assert got.actions.dtype == np.float32


def test_openpis_responses_are_chunks():
    timing = {"infer_ms": 12.5}
    chunk = chunk_from_wire(
        {"actions": np.ones((2, 7)), "state": np.zeros(7), "policy_timing": timing, "server_timing": timing}
    )
    assert chunk.status is Status.OK
    assert chunk.actions is not None
    assert chunk.actions.dtype == np.float32
    assert chunk.timing_ms == {"infer_ms": 12.5, "server_infer_ms": 12.5}


def test_actions_that_are_not_finite_are_held():
    chunk = chunk_from_wire({"actions": np.full((2, 7), np.nan)})
    assert (chunk.status, chunk.actions) == (Status.HELD, None)
    assert "NaN" in chunk.reason


def test_actions_that_float32_cannot_hold_are_held():
    assert chunk_from_wire({"actions": np.full((2, 7), 1e300)}).status is Status.HELD
    signalling = np.full((2, 7), 0x7FF0000000000001, np.uint64).view(np.float64)
    assert chunk_from_wire({"actions": signalling}).status is Status.HELD


@pytest.mark.parametrize(
    "response",
    [
        [],
        {},
        {"status": "perhaps", "actions": np.ones((2, 7))},
        {"actions": np.ones(7)},
        {"actions": "none"},
        {"actions": np.ones((2, 7)), "answers": [{"question": "direction"}]},
        {"actions": np.ones((2, 7)), "policy_timing": 3},
        {"actions": np.ones((0, 7))},
        {"actions": np.ones((2**31 - 1, 0))},
        {"actions": np.full((2, 7), "1.5")},
        {"actions": np.zeros((2, 7), "m8[s]")},
        {"actions": np.ones((2, 7), bool)},
        {"actions": np.ones((2, 7)), "answers": [{"question": 1, "target": "", "answer": "", "probability": 1.0}]},
        {"actions": np.ones((2, 7)), "answers": [{"question": "", "target": "", "answer": "", "probability": "1"}]},
        {"actions": np.ones((2, 7)), "answers": [3]},
        {"status": "held", "reason": [MANY_ITEMS]},
    ],
)
def test_responses_that_make_no_sense_are_refused(response):
    with pytest.raises(ProtocolError):
        chunk_from_wire(response)


def test_error_frames_name_code_and_id():
    error = ServerError.from_frame(format_error(ErrorCode.OVERLOADED, "5b0c91d2", "64 requests\nare waiting"))
    assert (error.code, error.error_id, error.foreign) == ("overloaded", "5b0c91d2", False)
    assert "64 requests\nare waiting" in str(error)


def test_other_text_is_a_foreign_traceback():
    error = ServerError.from_frame("Traceback (most recent call last):\nValueError: boom")
    assert error.foreign
    assert "ValueError: boom" in str(error)


@pytest.mark.parametrize("prompt", [np.str_("open"), np.asarray("open"), np.array(["open"]), np.array([["open"]])])
def test_a_text_array_with_one_element_is_that_text(prompt):
    observation, _ = request_from_wire(unpack(pack({"prompt": prompt})))
    assert observation == {"prompt": "open"}


def test_text_in_an_array_is_no_longer_than_an_instruction():
    with pytest.raises(ValueError, match="'prompt' has 9000 characters"):
        request_from_wire({"prompt": np.array(["x" * 9000])})


@pytest.mark.parametrize("number", ["7", -1, 1.5, True, None])
def test_a_request_number_is_a_number(number):
    with pytest.raises(ValueError, match="'request' must be an integer"):
        request_number({"inspire": {"request": number}})


def test_numbers_and_marks_come_through_the_wire():
    options = RequestOptions(episode="e", chunks=3)
    request = unpack(pack(request_to_wire(OBSERVATION, options, number=7)))
    assert request["inspire"] == {"request": 7, "episode": "e", "chunks": 3}
    assert request_number(request) == 7
    assert request_from_wire(request)[1] == options
    assert request_number(OBSERVATION) is None


def test_an_error_frame_bears_the_number_of_its_request():
    error = ServerError.from_frame(format_error(ErrorCode.OVERLOADED, "5b0c91d2", "later", number=7))
    assert (error.code, error.error_id, error.number) == ("overloaded", "5b0c91d2", 7)
    assert ServerError.from_frame(format_error(ErrorCode.OVERLOADED, "5b0c91d2", "#7] x")).number is None
