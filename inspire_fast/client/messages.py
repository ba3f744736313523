"""Requests and responses: dictionaries on the wire <-> `core` values.

A request is the robot's native observation, as openpi's clients send it. One more entry, `"inspire"`, holds the request
options that differ from the defaults, if any do, and the request's number:

    {"observation/image": uint8 [h, w, 3], ..., "prompt": "...",
     "inspire": {"request": 7, "episode": "0b5c...", "chunks": 6, "mode": "force", "answers": ["left"]}}

A response has openpi's keys and ours, and the number of its request, if that had one:

    {"actions": float32 [t, a], "state": [...], "answers": [{question, target, answer, probability}],
     "status": "ok", "reason": "", "policy_timing": {...}, "server_timing": {...}, "request": 7}

A client numbers its requests and marks its episodes if the server accepts the websocket subprotocol `SUBPROTOCOL`;
openpi's servers accept none and are sent openpi's own bytes.

A *held* response has no `actions`. openpi's clients look that key up, fail with KeyError and stop, as intended: no
array would be a harmless substitute.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
import numbers
from typing import Any

import numpy as np
from websockets.typing import Subprotocol

from inspire_fast.client.errors import ProtocolError
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.registry import unknown_name
from inspire_fast.core.types import ActionChunk, Answer, Status, single_text

OPTIONS_KEY = "inspire"
NUMBER_KEY = "request"
SUBPROTOCOL = Subprotocol("inspire_fast.1")
MAX_NAME_CHARACTERS = 128
MAX_KEY_CHARACTERS = 128
MAX_NESTING = 8
MAX_TEXT_CHARACTERS = 8192
MAX_TEXTS = 64
MAX_COMMITTED = 4096  # numbers
_DEFAULTS = RequestOptions()
_OPTION_NAMES = [field.name for field in dataclasses.fields(RequestOptions)]


def request_to_wire(
    observation: Mapping[str, Any], options: RequestOptions | None, *, number: int | None = None
) -> dict[str, Any]:
    """Observation, the options that differ from the defaults, and the request's number, as a new dictionary.

    Raises:
        ValueError: the observation has the reserved key.
    """
    if OPTIONS_KEY in observation:
        raise ValueError(f"{OPTIONS_KEY!r} is reserved for request options; the observation already has that key.")
    changed = ({} if number is None else {NUMBER_KEY: number}) | changed_options(options or _DEFAULTS)
    return {**observation, OPTIONS_KEY: changed} if changed else dict(observation)


def changed_options(options: RequestOptions) -> dict[str, Any]:
    """Options that differ from the defaults, as wire and JSON values."""
    return {
        name: list(value) if name in ("targets", "answers", "committed") else value
        for name in _OPTION_NAMES
        if (value := getattr(options, name)) != getattr(_DEFAULTS, name)
    }


def request_from_wire(request: Any) -> tuple[dict[str, Any], RequestOptions]:
    """A decoded request -> (native observation, options).

    Raises:
        ValueError: not a dictionary with short text keys, a text longer than any instruction, or an option that does
            not exist or has the wrong type.
    """
    if not isinstance(request, dict):
        raise ValueError(f"A request is a dictionary with text keys; got {type(request).__name__}.")
    request = {**request, "prompt": single_text(request["prompt"])} if "prompt" in request else request
    _check_entries(request)
    observation = {key: value for key, value in request.items() if key != OPTIONS_KEY}
    return observation, _options_from_wire(request.get(OPTIONS_KEY, {}))


def request_number(request: Any) -> int | None:
    """The number of a decoded request; None if it has none.

    Raises:
        ValueError: it is no number.
    """
    options = request.get(OPTIONS_KEY) if isinstance(request, dict) else None
    if not isinstance(options, dict) or NUMBER_KEY not in options:
        return None
    return _parse_integer(NUMBER_KEY, options[NUMBER_KEY])


def _check_entries(mapping: dict[Any, Any], depth: int = 1) -> None:
    """Refuses entries that are small on the wire and expensive to process. The robot checks arrays and their shapes.

    Robots look nested keys up as paths: a long key above many others would be repeated in each, gigabytes in all. A
    megabyte of instruction takes seconds to tokenise, and many targets take longer, before the policy refuses them.
    """
    if depth > MAX_NESTING:
        raise ValueError(f"A request's dictionaries are nested at most {MAX_NESTING} deep.")
    for key, value in mapping.items():
        if not isinstance(key, str) or len(key) > MAX_KEY_CHARACTERS:
            raise ValueError(
                f"A request is a dictionary with text keys of at most {MAX_KEY_CHARACTERS} characters; got "
                f"{_shown(key)}."
            )
        if isinstance(value, str) and len(value) > MAX_TEXT_CHARACTERS:
            raise ValueError(f"{key!r} has {len(value)} characters; at most {MAX_TEXT_CHARACTERS} are read.")
        if isinstance(value, dict):
            _check_entries(value, depth + 1)


def _shown(value: Any) -> str:
    """A value in a few words. A `repr` of a whole 4 MB array would take eleven seconds."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {value.shape}"
    if isinstance(value, (list, dict)):
        inside = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {len(value)} ({', '.join(inside)})"
    if isinstance(value, (str, bytes)):
        return repr(value[:40])
    return f"{value!r:.80}"


def _options_from_wire(fields: Any) -> RequestOptions:
    if not isinstance(fields, dict):
        raise ValueError(f"{OPTIONS_KEY!r} must be a dictionary of options; got {type(fields).__name__}.")
    # Unknown options are refused: a robot would move although a steering request was silently ignored.
    given = {name: value for name, value in fields.items() if name != NUMBER_KEY}
    for name in given:
        if name not in _OPTION_NAMES:
            raise ValueError(unknown_name("request option", str(name)[:40], _OPTION_NAMES))
    return RequestOptions(**{name: _OPTION_PARSERS[name](name, value) for name, value in given.items()})


def _parse_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name!r} must be text; got {_shown(value)}.")
    return value


def _parse_name(name: str, value: Any) -> str:
    if len(text := _parse_text(name, value)) > MAX_NAME_CHARACTERS:
        raise ValueError(f"{name!r} may have {MAX_NAME_CHARACTERS} characters; got {len(text)}.")
    return text


def _parse_texts(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"Option {name!r} must be a list of texts; got {_shown(value)}.")
    if len(value) > MAX_TEXTS or sum(map(len, value)) > MAX_TEXT_CHARACTERS:
        raise ValueError(
            f"Option {name!r} may hold {MAX_TEXTS} texts of {MAX_TEXT_CHARACTERS} characters in all; got {len(value)} "
            f"of {sum(map(len, value))}."
        )
    return tuple(value)


def _parse_number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"Option {name!r} must be a finite number; got {_shown(value)}.")
    return float(value)


def _parse_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= int(value) < 2**32:
        raise ValueError(f"Option {name!r} must be an integer from 0 to 2**32 - 1; got {_shown(value)}.")
    return int(value)


def _parse_actions(name: str, value: Any) -> tuple[tuple[float, ...], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ValueError(f"Option {name!r} must be a list of actions, each a list of numbers; got {_shown(value)}.")
    if (count := sum(map(len, value))) > MAX_COMMITTED:
        raise ValueError(f"Option {name!r} may hold {MAX_COMMITTED} numbers; got {count}.")
    return tuple(tuple(_parse_number(name, number) for number in row) for row in value)


_OPTION_PARSERS = {
    "mode": _parse_text,
    "targets": _parse_texts,
    "answers": _parse_texts,
    "temperature": _parse_number,
    "top_k": _parse_integer,
    "seed": lambda name, value: None if value is None else _parse_integer(name, value),
    "reask_every": _parse_integer,
    "session": _parse_name,
    "episode": _parse_name,
    "chunks": _parse_integer,
    "committed": _parse_actions,
    "deadline_s": _parse_number,
}


def chunk_to_wire(
    chunk: ActionChunk, *, state: Any = None, server_timing: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Chunk -> response; the module lists the keys.

    Args:
        chunk: answer of the policy.
        state: state `[s]` of the observation, echoed like in openpi. A list on the wire: openpi's `ActionChunkBroker`
            indexes every *array* by the step of the chunk, and a state may be shorter than a chunk.
        server_timing: `infer_ms` and, from the second request on, `prev_total_ms`.
    """
    response: dict[str, Any] = {}
    if chunk.status is Status.OK:
        response["actions"] = np.asarray(chunk.actions, dtype=np.float32)
    if state is not None:
        response["state"] = np.asarray(state).tolist()
    response["answers"] = answers_to_wire(chunk)
    response["status"] = str(chunk.status)
    response["reason"] = chunk.reason
    response["policy_timing"] = {phase: float(ms) for phase, ms in chunk.timing_ms.items()}
    if server_timing is not None:
        response["server_timing"] = dict(server_timing)
    return response


def answers_to_wire(chunk: ActionChunk) -> list[dict[str, Any]]:
    """Answers of a chunk as wire and JSON values."""
    return [{**dataclasses.asdict(a), "probability": float(a.probability)} for a in chunk.answers]


def chunk_from_wire(response: Any) -> ActionChunk:
    """Response of our server or of openpi's -> chunk. `timing_ms` also has the server's times, as `server_<name>`.

    Actions that are not finite become a held chunk: no robot may execute them.

    Raises:
        ProtocolError: neither actions nor a held status, or entries of the wrong type; names them.
    """
    if not isinstance(response, Mapping):
        raise ProtocolError(f"A response is a dictionary; got {type(response).__name__}.")
    try:
        answers = tuple(_answer_from_wire(answer) for answer in response.get("answers", ()))
        status = Status(response.get("status", Status.OK))
        timing = {str(phase): float(ms) for phase, ms in response.get("policy_timing", {}).items()}
        timing |= {f"server_{phase}": float(ms) for phase, ms in response.get("server_timing", {}).items()}
        common: dict[str, Any] = {"answers": answers, "timing_ms": timing}
        if status is not Status.OK:
            reason = _parse_text("reason", response.get("reason", "")) or "The server gave no reason."
            return ActionChunk(actions=None, status=status, reason=reason, **common)
        actions = _actions_from_wire(response["actions"])
        if not np.isfinite(actions).all():
            reason = "The server sent actions with NaN or infinity."
            return ActionChunk(actions=None, status=Status.HELD, reason=reason, **common)
        return ActionChunk(actions=actions, **common)
    except KeyError as error:
        raise ProtocolError(f"The response lacks {error}; it has {sorted(map(str, response))}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"Invalid response: {error}") from error


def _actions_from_wire(value: Any) -> np.ndarray:
    """Actions as float32. Refuses text and times, which NumPy would convert; too large values become infinity."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not array.size:
        raise ValueError(f"actions must be numbers [t, a]; got {_shown(array)}")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def _answer_from_wire(fields: Mapping[str, Any]) -> Answer:
    answer = Answer(**fields)
    for name in ("question", "target", "answer"):
        _parse_text(name, getattr(answer, name))
    return dataclasses.replace(answer, probability=_parse_number("probability", answer.probability))
