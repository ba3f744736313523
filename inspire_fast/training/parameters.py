"""Fields that hold parameters of any type, such as those of a tokenizer's fit, on a command line.

    --tokenizers.action-parameters scale 20 coefficient_range "(-400, 400)"
    --tokenizers.action-parameters '{"scale": 20, "coefficient_range": [-400, 400]}'

A value is read as JSON, else as a Python literal, else it is text.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
import json
from typing import Annotated, Any

import tyro


def parse_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Names and values from the words of an option.

    Raises:
        ValueError: a name without a value, or a JSON text that is no object.
    """
    if len(words) == 1 and words[0].startswith("{"):
        try:
            return json.loads(words[0])
        except json.JSONDecodeError as error:
            raise ValueError(f"{words[0]} is not valid JSON: {error}.") from error
    if len(words) % 2:
        raise ValueError(f"Parameters are names, each followed by its value, or one JSON object; got {list(words)}.")
    return {name: _value(text) for name, text in zip(words[::2], words[1::2], strict=True)}


def _value(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


Parameters = Annotated[
    Mapping[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NAME VALUE ...]|JSON",
        instance_from_str=parse_parameters,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [word for k, v in value.items() for word in (k, json.dumps(v, default=str))],
    ),
]
