"""Emergency stop: stops every arm of this user, from a terminal of its own.

uv run scripts/stop_arms.py [--now]
"""

from inspire_fast.commands.stop_arms import main

if __name__ == "__main__":
    main()
