"""Command lines: arguments parsed by tyro, errors printed as one line, and the exit status of a process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
import contextlib
from dataclasses import MISSING, fields
import io
import os
import signal
import sys
from typing import Any

from inspire_fast.core.errors import OutOfRangeError, UnknownNameError

EXPECTED_ERRORS = (UnknownNameError, OutOfRangeError, ValueError, OSError, ImportError, FloatingPointError)
"""Errors that a person can mend: a wrong name, a missing file or package, a value that does not fit."""
TRACEBACK_VARIABLE = "INSPIRE_FAST_TRACEBACK"


class CommandError(Exception):
    """An error that ends a command with a message and an exit status of its own."""

    exit_status = 2


@contextlib.contextmanager
def exit_statuses(*more: type[Exception]) -> Generator[None]:
    """Prints the errors of a command without a traceback and exits with a status.

    Expected errors end the process with status 2, a `CommandError` with its own, Ctrl-C with 130. With
    `INSPIRE_FAST_TRACEBACK=1` errors keep their traceback.

    Args:
        more: error types that are expected of this command besides `EXPECTED_ERRORS`.

    Raises:
        SystemExit: the block raised one of these.
    """
    try:
        yield
    except (*EXPECTED_ERRORS, CommandError, *more) as error:
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        status = error.exit_status if isinstance(error, CommandError) else 2
        print(error if isinstance(error, CommandError) else f"error: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(status) from error
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)  # noqa: T201
        raise SystemExit(128 + signal.SIGINT) from None


def run_command(
    function: Callable[..., Any] | dict[str, Callable[..., Any]],
    args: Sequence[str] | None = None,
    *,
    errors: Sequence[type[Exception]] = (),
    **options: Any,
) -> None:
    """Calls a function with the arguments of a command line; returns if it succeeded.

    Args:
        function: its parameters are the command's options, its docstring is the help text. A result that is not 0 or
            None is the exit status. Several functions by name are subcommands.
        args: words of the command line; by default those of the process.
        errors: see `exit_statuses`.
        options: of `tyro.cli`.

    Raises:
        SystemExit: help was asked for, the command line is wrong, or the command failed.
    """
    import tyro  # not part of the base install

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an instruction's letters that the locale lacks end no command
            stream.reconfigure(errors="backslashreplace")
    with exit_statuses(*errors):
        if not callable(function):
            status = tyro.extras.subcommand_cli_from_dict(function, args=args, **options)
        else:
            status = tyro.cli(function, args=args, **options)
        if status:
            raise SystemExit(status)


def require_unused(args: Any, names: Collection[str], why: str) -> None:
    """Refuses options that would have no effect.

    Args:
        args: a command's dataclass, as given.
        names: fields that have no meaning here and must have their defaults.
        why: the reason that ends the message.

    Raises:
        ValueError: some were given; names them.
    """
    defaults = {f.name: f.default for f in fields(args) if f.name in names and f.default is not MISSING}
    given = [f"--{name.replace('_', '-')}" for name, default in defaults.items() if getattr(args, name) != default]
    if given:
        raise ValueError(f"{', '.join(given)} would have no effect: {why}. Leave it out.")
