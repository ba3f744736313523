"""Steering by clicks: a click on the live page is the answer to "where is ...?" in the robot's next call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
import logging
import math
import threading
from typing import Any

import numpy as np

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.registry import unknown_name
from inspire_fast.core.types import ActionChunk, Answer
from inspire_fast.data.images import fitted_size, padded_point
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import Locations, read, write
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.robots import Robot

logger = logging.getLogger(__name__)

_SQUARE = (1024, 1024)  # models see square pictures; of the size only its ratio counts here
Point = tuple[float, float]


@dataclass
class _Seen:
    """One connection: its last answered request, and the clicks that wait for the next one, by target."""

    prompt: str
    answers: Sequence[Answer]
    hw: tuple[int, int]
    clicks: dict[str, Point] = field(default_factory=dict[str, Point])


class Steering:
    """Keeps clicks and puts them into the next request of their connection; an observer of the server.

    The next request is answered with `mode="force"`: the clicked points, and for all other questions the answers of the
    call before. Later calls are the policy's own again. A click is dropped if the instruction changed meanwhile, or if
    the client gives or skips answers itself.

    Args:
        robot: of the observations; clicks are on its first camera's picture.
        questions: of the policy's metadata, name -> parameters.

    Raises:
        ValueError: the policy does not ask for points in the first camera's picture.
    """

    def __init__(self, robot: Robot, questions: Mapping[str, Mapping[str, Any]]) -> None:
        self._robot, self._camera = robot, next(iter(robot.cameras))
        asked = {name: QUESTIONS[name](**parameters) for name, parameters in questions.items()}
        canonical = robot.cameras[self._camera]
        self._forms: dict[str, Locations] = {}
        for name, question in asked.items():
            form = form_of(question)
            if isinstance(form, Locations) and getattr(question, "camera", None) in (None, canonical):
                self._forms[name] = form
        if not any(form.count == 2 for form in self._forms.values()):
            raise ValueError(
                f"Clicks answer questions for a point in the picture of {canonical!r}; this policy asks "
                f"{sorted(questions) or 'none'}. Serve a policy with the question `point`, without --steer otherwise."
            )
        self._lock = threading.Lock()  # guards the attribute below
        self._seen: dict[str, _Seen] = {}

    def record(self, session: str, observation: Mapping[str, Any], options: RequestOptions, chunk: ActionChunk) -> None:
        """Keeps what an answered request asked."""
        del options
        height, width = self._robot.native_images(observation)[self._camera].shape[:2]
        with self._lock:
            before = self._seen.get(session)
            clicks = {} if before is None else before.clicks  # made while this request was answered
            prompt = str(observation.get("prompt", ""))
            self._seen[session] = _Seen(prompt=prompt, answers=chunk.answers, hw=(height, width), clicks=clicks)

    def end(self, session: str) -> None:
        """Forgets a closed connection."""
        with self._lock:
            self._seen.pop(session, None)

    def close(self) -> None:
        """Has nothing to close."""

    def click(self, connection: str, target: str, y: float, x: float) -> None:
        """Keeps a click for the next request.

        Args:
            connection: beginning of its name, as the page has it.
            target: phrase that was asked about.
            y: fraction of the picture's height, from the top.
            x: fraction of its width, from the left.

        Raises:
            ValueError: no such connection or target, or a place outside of the picture.
        """
        if not all(math.isfinite(at) and 0 <= at <= 1 for at in (y, x)):
            raise ValueError(f"A click is at 0..1 of the picture's height and width; got {y}, {x}.")
        with self._lock:
            found = [seen for session, seen in self._seen.items() if connection and session.startswith(connection)]
            if len(found) != 1:
                raise ValueError(f"{len(found)} connections are named {connection!r}; reload the page.")
            targets = self._targets(found[0])
            if target not in targets:
                raise ValueError(unknown_name("target of this connection's last call", target, targets))
            found[0].clicks[target] = (y, x)

    def applied(self, session: str, observation: Mapping[str, Any], options: RequestOptions) -> RequestOptions:
        """The options of a connection's next request, with its clicks, which are used up."""
        with self._lock:
            seen = self._seen.get(session)
            if seen is None or not seen.clicks:
                return options
            clicks, seen.clicks = seen.clicks, {}
        same = str(observation.get("prompt", "")) == seen.prompt
        if options.mode != "answer" or options.targets is not None or not same:
            why = "the instruction has changed" if not same else "the client chooses targets and answers itself"
            logger.warning("Dropped the clicks on %s: %s.", sorted(clicks), why)
            return options
        answers = [self._steered(answer, clicks, seen.hw) for answer in seen.answers]
        targets = tuple(dict.fromkeys(answer.target for answer in seen.answers if answer.target))
        return replace(options, mode="force", targets=targets, answers=tuple(answers))

    def _steered(self, answer: Answer, clicks: Mapping[str, Point], hw: tuple[int, int]) -> str:
        form = self._forms.get(answer.question)
        if form is None or form.count != 2 or answer.target not in clicks:
            return answer.answer
        return write(padded_point(clicks[answer.target], hw, _SQUARE), form.bins)

    def _targets(self, seen: _Seen) -> list[str]:
        points = {name for name, form in self._forms.items() if form.count == 2}
        return list(dict.fromkeys(a.target for a in seen.answers if a.question in points and a.target))

    def described(self, session: str) -> dict[str, Any]:
        """For the page: targets to click, clicks that wait, and the last answers that are places of its picture.

        Places are `(y, x)` in 0..1 of the picture as the client sent it; those in the model's margins are left out.
        """
        with self._lock:
            seen = self._seen.get(session)
            if seen is None:
                return {"targets": [], "clicks": {}, "places": []}
            clicks, targets = dict(seen.clicks), self._targets(seen)
        places = []
        for answer in seen.answers:
            form = self._forms.get(answer.question)
            if form is not None and form.allows(answer.answer):
                points = _unpadded(read(answer.answer, form.bins).reshape(-1, 2), seen.hw)
                kind = "box" if form.box else "point" if form.count == 2 else "path"
                if points is not None:
                    places.append({"kind": kind, "target": answer.target, "points": points.round(4).tolist()})
        return {"targets": targets, "clicks": clicks, "places": places}


def _unpadded(points: np.ndarray, hw: tuple[int, int]) -> np.ndarray | None:
    """Points `[n, 2]` in a picture padded to a square -> in the picture itself; None if one is in the margins."""
    inner, whole = np.array(fitted_size(*hw, *_SQUARE)), np.array(_SQUARE)
    inside = (points * whole - (whole - inner) // 2) / inner
    slack = 1 / 512  # a bin rounds to places just outside
    return np.clip(inside, 0, 1) if (np.abs(inside - 0.5) <= 0.5 + slack).all() else None
