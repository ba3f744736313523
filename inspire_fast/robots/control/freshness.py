"""Freshness of what a policy is asked with: old pictures make the robot hold, and the policy is not asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import logging
from typing import Any

from inspire_fast.core.episode import Infer
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.requests import held

logger = logging.getLogger(__name__)


def hold_while_stale(infer: Infer, stale: Callable[[], str]) -> Infer:
    """Wraps a policy's `infer`; `stale` says which sources are too old, e.g. `CameraRig.stale`."""

    def fresh(observation: Mapping[str, Any]) -> ActionChunk:
        if reason := stale():
            logger.warning("Holding: %s", reason)
            return held(reason)
        return infer(observation)

    return fresh
