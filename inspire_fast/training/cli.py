"""Command line of every script that takes a training config: `<script> <config name> [--any.field value]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
import itertools
import os
import sys
from typing import TypeVar

import tyro

from inspire_fast.training.config import TrainConfig, config_names, load_config
from inspire_fast.training.dataset_config import parse
from inspire_fast.training.preemption import EXIT_STATUS, PreemptedError
from inspire_fast.training.renamed_fields import refuse_old_options

T = TypeVar("T")


def run_with_config(function: Callable[[TrainConfig], T], description: str, args: Sequence[str] | None = None) -> T:
    """Reads the config from the command line and runs `function`.

    Errors that a person can correct (a wrong name, a missing file, a wrong value) are printed without a traceback and
    end the process with status 2; a run that SIGTERM stopped ends with 143. `INSPIRE_FAST_TRACEBACK=1` shows tracebacks.
    """
    args = list(sys.argv[1:] if args is None else args)
    try:
        if not args or args[0].startswith("-"):
            raise SystemExit(
                f"{description}\nusage: <config> [--field value ...]\nconfigs: {', '.join(config_names())}"
            )
        refuse_old_options(args[1:])
        config = _replaced(load_config(args[0]), args)
        config = tyro.cli(TrainConfig, args=args[1:], default=config, prog=args[0], description=description)
        return function(config)
    except PreemptedError as stopped:
        print(stopped, file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_STATUS) from stopped
    except (KeyError, ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("INSPIRE_FAST_TRACEBACK") == "1":
            raise
        message = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
        print(f"error: {message}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from error


def _replaced(config: TrainConfig, args: Sequence[str]) -> TrainConfig:
    """The config for tyro: `--data.parts` replaces the config's `data.root`, and the other way round.

    Raises:
        ValueError: an invalid part; names the reason, which tyro would hide.
    """
    flags, data = {arg.partition("=")[0] for arg in args}, config.data
    if "--data.parts" in args:
        for word in itertools.takewhile(lambda arg: not arg.startswith("--"), args[args.index("--data.parts") + 1 :]):
            parse(word)
    if "--data.parts" in flags and "--data.root" not in flags and data.root is not None:
        return replace(config, data=replace(data, root=None, parts=data.datasets, exclude_episodes=()))
    if "--data.root" in flags and "--data.parts" not in flags and data.parts:
        return replace(config, data=replace(data, root=data.parts[0].root, parts=()))
    return config
