"""Commands on a training config: `<command> <config> [--any.field value]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
import itertools
from pathlib import Path
import sys
from typing import Annotated, Any

import tyro

from inspire_fast.core.cli import exit_statuses, run_command
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import parse
from inspire_fast.training.named_configs import config_names, load_config
from inspire_fast.training.parameters import parse_parameters
from inspire_fast.training.renamed_fields import refuse_old_options

ConfigArgument = Annotated[TrainConfig, tyro.conf.arg(name="")]
"""A parameter whose fields are options of the command, without a prefix."""


def run_with_config(function: Callable[..., Any], args: Sequence[str] | None = None) -> None:
    """Calls a function with a named config, changed as the command line says.

    Args:
        function: its parameter `config` is a `ConfigArgument`; others are options of the command.
        args: config name, then options; by default those of the process.

    Raises:
        SystemExit: see `run_command`.
    """
    args = list(sys.argv[1:] if args is None else args)
    usage = f"{function.__doc__}\n\nusage: <config> [--field value ...]\nconfigs: {', '.join(config_names())}"
    if args[:1] in (["--help"], ["-h"]):
        print(f"{usage}\nfields of a config: <config> --help")
        return
    if args[:1] == ["--tyro-print-completion"]:  # in which the configs' names are subcommands
        functions = {name: partial(function, config=load_config(name)) for name in config_names()}
        run_command(functions, args, prog=Path(sys.argv[0]).name)
    if not args or args[0].startswith("-"):
        raise SystemExit(usage)
    with exit_statuses():
        refuse_old_options(args[1:])
        config = _replaced(load_config(args[0]), args)
    run_command(partial(function, config=config), args[1:], prog=args[0], description=function.__doc__)


def _words(args: Sequence[str], option: str) -> list[str]:
    """The words that follow an option."""
    after = args[args.index(option) + 1 :] if option in args else ()
    return list(itertools.takewhile(lambda arg: not arg.startswith("--"), after))


def _replaced(config: TrainConfig, args: Sequence[str]) -> TrainConfig:
    """On a command line, `--data.parts` takes the place of the config's `data.root`, and the other way round.

    Raises:
        ValueError: a part or parameter is malformed; says what is wrong with it, which tyro would not.
    """
    flags, data = {arg.partition("=")[0] for arg in args}, config.data
    for word in _words(args, "--data.parts"):
        parse(word)
    for option in ("--tokenizers.action-parameters", "--dialogue.question-parameters"):
        parse_parameters(_words(args, option))
        if dotted := next((flag for flag in flags if flag.startswith(f"{option}.")), None):
            raise ValueError(f"There is no option {dotted}; write {option} {dotted.removeprefix(f'{option}.')} VALUE.")
    if "--data.parts" in flags and "--data.root" not in flags and data.root is not None:
        return replace(config, data=replace(data, root=None, parts=data.datasets, exclude_episodes=()))
    if "--data.root" in flags and "--data.parts" not in flags and data.parts:
        return replace(config, data=replace(data, root=data.parts[0].root, parts=()))
    return config
