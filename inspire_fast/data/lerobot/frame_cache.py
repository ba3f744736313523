"""Cache with a bound in bytes, shared by the loader's threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
import threading
from typing import Any


class ByteLRU:
    """Least-recently-used values up to a total size. Values are shared: treat them as read-only.

    Values of several kinds share one budget, so that the most used ones get it; a key's first part names the kind.

    A value larger than the whole cache is not kept. Two threads that miss the same key at once may both compute it;
    the results are equal, so the later one simply replaces the earlier.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be >= 0; got {max_bytes}.")
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def get(self, key: Hashable) -> Any:
        """The value, now the most recently used; None if it is not in the cache."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keeps `value`, dropping the least recently used ones as needed."""
        with self._lock:
            if key in self._entries:
                self._bytes -= self._entries.pop(key)[1]
            if nbytes > self._max_bytes:
                return
            self._entries[key] = (value, nbytes)
            self._bytes += nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._entries.popitem(last=False)[1][1]
