"""Training of a named config."""

from collections.abc import Sequence
import logging

import jax

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.training import loop


def train(config: ConfigArgument) -> None:
    """Trains a named config."""
    result = loop.train(config)
    if jax.process_index() == 0:
        print(f"{result.parameters:,} parameters, step {result.step}, {result.seconds:.0f} s: {result.checkpoint}")


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", force=True)
    logging.getLogger("inspire_fast").setLevel(logging.INFO)
    run_with_config(train, args)
