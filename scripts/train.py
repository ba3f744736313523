"""Trains a named config: `uv run scripts/train.py <config> [--exp-name x] [--any.field value]`."""

import logging

import jax

from inspire_fast.training.cli import run_with_config
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.distributed import join
from inspire_fast.training.loop import TrainResult, train


def run(config: TrainConfig) -> TrainResult:
    """Finds the other processes, then trains."""
    join(config.distributed)
    return train(config)


def main() -> None:
    """Trains and says where the checkpoint lies."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("inspire_fast").setLevel(logging.INFO)
    result = run_with_config(run, "Trains a named config.")
    if jax.process_index() == 0:
        print(f"{result.parameters:,} parameters, step {result.step}, {result.seconds:.0f} s: {result.checkpoint}")


if __name__ == "__main__":
    main()
