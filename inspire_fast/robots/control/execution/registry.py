"""Registry of the ways of executing chunks."""

from __future__ import annotations

from collections.abc import Callable

from inspire_fast.core.registry import Registry
from inspire_fast.robots.control.execution.asynchronous import Asynchronous
from inspire_fast.robots.control.execution.blended import Blended
from inspire_fast.robots.control.execution.prefetch import Prefetch
from inspire_fast.robots.control.execution.prefix_forced import PrefixForced
from inspire_fast.robots.control.execution.projected import Projected

SYNCHRONOUS, PREFIX_FORCED = "synchronous", "prefix_forced"
ASYNCHRONOUS: Registry[Callable[..., Asynchronous]] = Registry(
    "way of executing chunks",
    {"prefetch": Prefetch, "blended": Blended, "projected": Projected, PREFIX_FORCED: PrefixForced},
)
WAYS = (SYNCHRONOUS, *ASYNCHRONOUS)
