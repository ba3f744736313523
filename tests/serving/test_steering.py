"""Clicks on the live page: the point answer of the next call, and nothing else."""

from collections.abc import Mapping
import http.client
import json
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Answer
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.questions.point import Point
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.live import LiveView
from inspire_fast.serving.server import STEER_HEADER
from inspire_fast.serving.steering import Steering
from tests.serving.conftest import wait_until

LIBERO, WIDOWX = ROBOTS["libero"], ROBOTS["widowx_bridge"]
QUESTION = Point()
ASKED: dict[str, Any] = {
    "direction": QUESTIONS["direction"](axes=LIBERO.axes).parameters(),
    "point": QUESTION.parameters(),
    "box": QUESTIONS["box"]().parameters(),
}
BOX = "<loc0100><loc0200><loc0300><loc0400>"
OWN = [
    ("direction", "the bowl", "left"),
    ("point", "the bowl", "<loc0512><loc0512>"),
    ("box", "the bowl", BOX),
    ("direction", "the plate", "front"),
    ("point", "the plate", "<loc0001><loc0002>"),
    ("box", "the plate", BOX),
]


class Pointing:
    """Answers as `OWN` says, or what it is given."""

    metadata: Mapping[str, Any] = {"robot": "libero", "questions": ASKED}

    def __init__(self) -> None:
        self.options: list[RequestOptions] = []

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        options = options or RequestOptions()
        self.options.append(options)
        texts = options.answers if options.answers is not None else [text for *_, text in OWN]
        answers = tuple(
            Answer(question=question, target=target, answer=text, probability=1.0)
            for (question, target, _), text in zip(OWN, texts, strict=True)
        )
        return ActionChunk(actions=np.zeros((2, 7), np.float32), answers=answers)


def answered(steering: Steering, robot: Any = LIBERO, hw: tuple[int, int] = (64, 64), prompt: str = "go") -> Any:
    observation = {**robot.fake_native(image_hw=hw), "prompt": prompt}
    steering.record("abcdefghij", observation, RequestOptions(), Pointing().infer(observation))
    return observation


def test_a_click_is_the_point_of_the_next_call_and_of_no_later_one() -> None:
    steering = Steering(LIBERO, ASKED)
    observation = answered(steering)
    assert steering.applied("abcdefghij", observation, RequestOptions()) == RequestOptions()
    steering.click("abcdefgh", "the plate", 0.25, 0.75)
    options = steering.applied("abcdefghij", observation, RequestOptions(reask_every=3))
    assert (options.mode, options.targets, options.reask_every) == ("force", ("the bowl", "the plate"), 3)
    expected = [text for *_, text in OWN]
    expected[4] = "<loc0256><loc0767>"
    assert options.answers == tuple(expected)
    assert QUESTION.form.allows(options.answers[4])
    assert steering.applied("abcdefghij", observation, RequestOptions()) == RequestOptions()


def test_a_click_is_moved_to_the_picture_that_the_model_sees() -> None:
    steering = Steering(WIDOWX, {"point": ASKED["point"]})
    observation = {**WIDOWX.fake_native(image_hw=(480, 640)), "prompt": "go"}
    answer = Answer(question="point", target="the cup", answer="<loc0512><loc0512>", probability=1.0)
    chunk = ActionChunk(actions=np.zeros((2, 7), np.float32), answers=(answer,))
    steering.record("1", observation, RequestOptions(), chunk)
    steering.click("1", "the cup", 0.0, 1.0)  # the top right corner: 1/8 of the square is above it
    assert steering.applied("1", observation, RequestOptions()).answers == ("<loc0128><loc1023>",)
    (place,) = steering.described("1")["places"]
    np.testing.assert_allclose(place["points"], [[0.5, 0.5]], atol=2e-3)
    in_the_margin = ActionChunk(
        actions=np.zeros((2, 7), np.float32),
        answers=(Answer(question="point", target="the cup", answer="<loc0010><loc0512>", probability=1.0),),
    )
    steering.record("1", observation, RequestOptions(), in_the_margin)
    assert steering.described("1")["places"] == []


def test_the_page_hears_of_targets_clicks_and_places() -> None:
    steering = Steering(LIBERO, ASKED)
    assert steering.described("abcdefghij") == {"targets": [], "clicks": {}, "places": []}
    answered(steering)
    steering.click("abc", "the bowl", 0.1, 0.2)
    said = steering.described("abcdefghij")
    assert (said["targets"], said["clicks"]) == (["the bowl", "the plate"], {"the bowl": (0.1, 0.2)})
    assert [place["kind"] for place in said["places"]] == ["point", "box", "point", "box"]
    np.testing.assert_allclose(said["places"][1]["points"], np.array([[100, 200], [300, 400]]) / 1023, atol=1e-4)
    steering.end("abcdefghij")
    assert steering.described("abcdefghij")["targets"] == []


@pytest.mark.parametrize("change", ["prompt", "skip", "force", "targets"])
def test_a_click_is_dropped_where_it_means_nothing(change: str, caplog: pytest.LogCaptureFixture) -> None:
    steering = Steering(LIBERO, ASKED)
    observation = answered(steering)
    steering.click("abcdefghij", "the bowl", 0.5, 0.5)
    options = {
        "skip": RequestOptions(mode="skip"),
        "force": RequestOptions(mode="force", targets=["the bowl"], answers=["left"]),
        "targets": RequestOptions(targets=["the bowl"]),
    }.get(change, RequestOptions())
    if change == "prompt":
        observation = {**observation, "prompt": "another"}
    assert steering.applied("abcdefghij", observation, options) is options
    assert "Dropped the clicks on ['the bowl']" in caplog.text
    assert steering.described("abcdefghij")["clicks"] == {}


def test_wrong_clicks_and_policies_without_points_are_refused() -> None:
    steering = Steering(LIBERO, ASKED)
    answered(steering)
    for click, words in (
        (("abc", "the bowls", 0.5, 0.5), "Did you mean 'the bowl'"),
        (("xyz", "the bowl", 0.5, 0.5), "0 connections are named 'xyz'"),
        (("", "the bowl", 0.5, 0.5), "0 connections are named ''"),
        (("abc", "the bowl", 1.2, 0.5), r"0\.\.1 of the picture's height and width; got 1\.2"),
        (("abc", "the bowl", float("nan"), 0.5), "got nan"),
    ):
        with pytest.raises(ValueError, match=words):
            steering.click(*click)
    with pytest.raises(ValueError, match=r"this policy asks \['direction'\]"):
        Steering(LIBERO, {"direction": ASKED["direction"]})
    wrist = QUESTIONS["point"](camera="left_wrist_0_rgb", template="Where is {object} in the wrist view?")
    with pytest.raises(ValueError, match="Clicks answer questions"):
        Steering(LIBERO, {"point": wrist.parameters()})


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_a_click_goes_over_http_and_reaches_the_policy(serve, connect) -> None:
    policy, steering = Pointing(), Steering(LIBERO, ASKED)
    port = serve(policy, observers=[LiveView(LIBERO, steering), steering]).port
    client = connect(port)
    observation = {**LIBERO.fake_native(image_hw=(32, 32)), "prompt": "go"}
    client.infer(observation)
    wait_until(lambda: json.loads(ask(port, "/live/state")[1])["connections"])
    (one,) = json.loads(ask(port, "/live/state")[1])["connections"]
    assert one["steering"]["targets"] == ["the bowl", "the plate"]
    click = {"connection": one["connection"], "target": "the bowl", "y": 0.5, "x": 0.25}
    path = f"/live/steer?{urlencode(click)}"
    assert ask(port, path)[0] == 403  # another page could have sent this
    assert ask(port, "/live/steer?y=1", **{STEER_HEADER: "1"})[0] == 400
    assert "Did you mean" in ask(port, path.replace("the+bowl", "the+bow"), **{STEER_HEADER: "1"})[1]
    status, body = ask(port, path, **{STEER_HEADER: "1"})
    assert (status, json.loads(body)) == (200, {"target": "the bowl", "y": 0.5, "x": 0.25})
    chunk = client.infer(observation)
    assert chunk.answers[1].answer == "<loc0512><loc0256>"
    assert [options.mode for options in policy.options] == ["answer", "force"]
    client.infer(observation)
    assert policy.options[-1].mode == "answer"


def test_a_server_without_steering_takes_no_clicks_and_keys_are_needed(serve) -> None:
    plain = serve(observers=[LiveView(LIBERO)]).port
    assert ask(plain, "/live/steer", **{STEER_HEADER: "1"})[0] == 404
    steering = Steering(LIBERO, ASKED)
    kept = serve(Pointing(), observers=[LiveView(LIBERO, steering), steering], api_keys=["key"]).port
    assert ask(kept, "/live/steer", **{STEER_HEADER: "1"})[0] == 401
