"""Dictionaries that transforms run on, and how to see that none of them was changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from inspire_fast.core.nested import flatten_dict
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION

HORIZON = 5
FACTS = SceneFacts(
    targets=(
        TargetFacts(phrase="the red block", offset_m=np.array([0.0, -0.2, 0.1], np.float32), grasped=False),
        TargetFacts(phrase="the plate", offset_m=np.array([0.3, 0.0, 0.1], np.float32), grasped=False),
    )
)
SCRIPT = SCRIPTS["inspire"](DIRECTION)


def frozen(data: dict[str, Any]) -> dict[str, Any]:
    """The same dictionary with arrays that cannot be written."""
    for value in flatten_dict(data).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return data


def snapshot(data: dict[str, Any]) -> dict[str, Any]:
    return {k: np.copy(v) if isinstance(v, np.ndarray) else v for k, v in flatten_dict(data).items()}


def assert_unchanged(data: dict[str, Any], before: dict[str, Any]) -> None:
    after = flatten_dict(data)
    assert after.keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value, err_msg=key)
