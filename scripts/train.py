"""Trains a named config.

uv run scripts/train.py <config> [--exp-name x] [--any.field value]
"""

from inspire_fast.commands.train import main

if __name__ == "__main__":
    main()
