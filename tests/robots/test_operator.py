"""Keys of a person: read from a real terminal, and the answers that they override."""

import io
import os
import pty
import termios
import time

import numpy as np
import pytest

from inspire_fast.core.types import ActionChunk, Answer
from inspire_fast.robots.control.answer_desk import AnswerDesk
from inspire_fast.robots.control.operator import keys_pressed

WORDS = ("right", "left", "up")


class Asked:
    """A policy with one question about each target; forced answers come back."""

    def __init__(self):
        self.metadata = {"robot": "libero"}
        self.options, self.targets = [], ["the bowl", "the plate"]

    def infer(self, observation, options=None):
        self.options.append(options)
        words = options.answers or ["left"] * len(self.targets)
        answers = tuple(
            Answer(question="direction", target=target, answer=word, probability=0.7)
            for target, word in zip(self.targets, words, strict=True)
        )
        return ActionChunk(actions=np.zeros((1, 7), np.float32), answers=answers)


def test_keys_come_from_the_terminal_and_the_terminal_is_put_back():
    leader, follower = pty.openpty()
    with os.fdopen(follower, encoding="utf-8") as terminal:
        before, pressed = termios.tcgetattr(follower), []
        with keys_pressed(pressed.append, terminal) as is_read:
            assert is_read
            os.write(leader, b" s\t1")
            end = time.monotonic() + 5
            while len(pressed) < 4:
                assert time.monotonic() < end
                time.sleep(0.01)
        assert pressed == [" ", "s", "\t", "1"]
        assert termios.tcgetattr(follower) == before
    os.close(leader)


def test_without_a_terminal_no_key_is_read():
    with keys_pressed(print, io.StringIO("q")) as is_read:
        assert not is_read


def test_an_answer_is_overridden_and_given_back():
    policy, changes = Asked(), []
    desk = AnswerDesk(policy, WORDS, on_override=lambda: changes.append(1))
    assert not desk.press("1")  # nothing is asked yet
    desk.infer({})
    assert desk.text() == ">the bowl: left 0.70   the plate: left 0.70"
    assert desk.press("\t")
    assert desk.press("3")
    assert desk.text() == " the bowl: left 0.70  >the plate: up*"
    assert desk.overridden
    desk.infer({})
    forced = policy.options[-1]
    assert (forced.mode, forced.targets, forced.answers) == ("force", ["the bowl", "the plate"], ["left", "up"])
    assert desk.press("0")
    desk.infer({})
    assert policy.options[-1].mode == "answer"
    assert changes == [1, 1]
    assert desk.metadata == {"robot": "libero"}


def test_a_new_episode_has_no_override():
    policy = Asked()
    desk = AnswerDesk(policy, WORDS)
    desk.infer({})
    desk.press("1")
    desk.begin()
    assert desk.text() == "no questions"
    desk.infer({})
    assert policy.options[-1].mode == "answer"


@pytest.mark.parametrize("words", [(), tuple("abcdefghij")])
def test_a_desk_has_nine_keys(words):
    with pytest.raises(ValueError, match=r"1 \.\. 9 words"):
        AnswerDesk(Asked(), words)


def test_other_keys_are_not_the_desks():
    desk = AnswerDesk(Asked(), WORDS)
    desk.infer({})
    assert not desk.press("s")
    assert not desk.press("9")
