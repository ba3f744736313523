"""Lists episodes that cannot be trained on.

uv run scripts/check_dataset.py --root data/mine [--decode]
uv run scripts/check_dataset.py <config> [--decode] [--data.parts data/libero:3 data/mine:1]
"""

from inspire_fast.commands.check_dataset import main

if __name__ == "__main__":
    main()
