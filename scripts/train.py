"""Trains a named config: `uv run scripts/train.py <config> [--exp-name x] [--any.field value]`."""

from inspire_fast.training.cli import run_with_config
from inspire_fast.training.loop import train


def main() -> None:
    """Trains and says where the checkpoint lies."""
    result = run_with_config(train, "Trains a named config.")
    print(f"{result.parameters:,} parameters, step {result.step}, {result.seconds:.0f} s: {result.checkpoint}")


if __name__ == "__main__":
    main()
