"""A command run in the test's own process: the modules are imported already, a new process takes seconds to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import signal
from typing import Any

import pytest


@dataclass(frozen=True)
class Ended:
    """Exit status and texts of a command."""

    status: int
    out: str
    err: str


def ended(main: Callable[[Sequence[str]], Any], words: Sequence[object], capsys: pytest.CaptureFixture[str]) -> Ended:
    """Runs a command's `main` with the words of a command line; what it does on SIGTERM is taken back."""
    on_sigterm, status = signal.getsignal(signal.SIGTERM), 0
    capsys.readouterr()
    try:
        main([*map(str, words)])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
    return Ended(status, *capsys.readouterr())
