"""Decodes a run's held-out samples.

uv run scripts/evaluate_held_out.py <config>
"""

from inspire_fast.commands.evaluate_held_out import main

if __name__ == "__main__":
    main()
