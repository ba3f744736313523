"""Folder of stop channels of a test's own: no test stops an arm of this user, or of another test."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import tempfile

from inspire_fast.robots.arms.stop_channel import FOLDER_VARIABLE


@contextlib.contextmanager
def own_stop_folder() -> Iterator[tuple[str, str]]:
    """The environment variable that names it, and its value. pytest's folders are too deep for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="stop-", dir="/tmp") as place:
        yield FOLDER_VARIABLE, place
