"""Shows the training samples of a config on a page.

uv run scripts/inspect_dataset.py <config> [--rerun]
"""

from inspire_fast.commands.inspect_dataset import main

if __name__ == "__main__":
    main()
