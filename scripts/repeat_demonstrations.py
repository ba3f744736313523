"""Executes recorded demonstrations again.

uv run scripts/repeat_demonstrations.py --folder data/soup.episodes
"""

from inspire_fast.commands.repeat_demonstrations import main

if __name__ == "__main__":
    main()
