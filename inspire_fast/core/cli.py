"""Options of a command that hold for one kind of checkpoint only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields
from typing import Any


def require_unused(args: Any, names: Collection[str], why: str) -> None:
    """Refuses options that would be ignored.

    Args:
        args: a command's dataclass, as given.
        names: fields that have no meaning here and must have their defaults.
        why: ends the message: for what they have none.

    Raises:
        ValueError: some were given; names them.
    """
    defaults = {f.name: f.default for f in fields(args) if f.name in names and f.default is not MISSING}
    given = [f"--{name.replace('_', '-')}" for name, default in defaults.items() if getattr(args, name) != default]
    if given:
        raise ValueError(f"{', '.join(given)} would have no effect: {why}. Leave it out.")
