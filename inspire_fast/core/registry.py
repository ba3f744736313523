"""Registry: the robots, questions, scripts or action tokenizers by the names that files and messages use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import difflib
from typing import Any, Generic, TypeVar, get_args

from inspire_fast.core.errors import UnknownNameError

T = TypeVar("T")


def unknown_name(kind: str, name: str, available: Sequence[str]) -> str:
    """Error message for an unknown name: the name, the closest known one, all known ones."""
    close = difflib.get_close_matches(name, available, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"Unknown {kind} {name!r}.{hint} Available: {', '.join(sorted(available)) or '(none)'}."


def require_choice(kind: str, name: str, choices: Any) -> None:
    """Checks that a name is one of the values of a `Literal`.

    Raises:
        ValueError: it is not; suggests the closest.
    """
    if name not in get_args(choices):
        raise ValueError(unknown_name(kind, name, list(get_args(choices))))


class Registry(Generic[T]):
    """Read-only dictionary whose errors suggest the closest name."""

    def __init__(self, kind: str, entries: dict[str, T]) -> None:
        self._kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise UnknownNameError(unknown_name(self._kind, name, list(self._entries)))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries
