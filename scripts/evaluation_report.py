"""Writes the page of an evaluation again, or compares two.

uv run scripts/evaluation_report.py runs/libero
uv run scripts/evaluation_report.py runs/own --compare runs/oracle
uv run scripts/evaluation_report.py --episodes-needed 0.6 0.1
"""

from inspire_fast.commands.evaluation_report import main

if __name__ == "__main__":
    main()
