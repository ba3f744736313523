"""Compares training runs in a table and a page.

uv run scripts/compare_runs.py RUN RUN [RUN ...] [--out DIR]
"""

from inspire_fast.commands.compare_runs import main

if __name__ == "__main__":
    main()
