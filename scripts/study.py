"""Compares ways of training: plain pi0-FAST, InSpire, other tokenizers, with and without answers.

uv run scripts/study.py questions
uv run scripts/study.py questions --table
"""

from inspire_fast.commands.study import main

if __name__ == "__main__":
    main()
