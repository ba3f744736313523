"""`<script> <config name> [--any.field value]`: the shape of every command that takes a training config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import os
import sys
from typing import TypeVar

import tyro

from inspire_fast.training.config import TrainConfig, config_names, load_config

T = TypeVar("T")


def run_with_config(function: Callable[[TrainConfig], T], description: str, args: Sequence[str] | None = None) -> T:
    """Reads the config from the command line and runs `function`.

    Errors that a person can mend (a wrong name, a missing file, a value that does not fit) are printed without a
    traceback and end the process with status 2; `INSPIRE_FAST_TRACEBACK=1` shows it.
    """
    args = list(sys.argv[1:] if args is None else args)
    try:
        if not args or args[0].startswith("-"):
            raise SystemExit(
                f"{description}\nusage: <config> [--field value ...]\nconfigs: {', '.join(config_names())}"
            )
        config = load_config(args[0])
        config = tyro.cli(TrainConfig, args=args[1:], default=config, prog=args[0], description=description)
        return function(config)
    except (KeyError, ValueError, FileNotFoundError, FileExistsError, FloatingPointError) as error:
        if os.environ.get("INSPIRE_FAST_TRACEBACK") == "1":
            raise
        message = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
        print(f"error: {message}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from error
