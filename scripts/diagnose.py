"""Says why episodes of an evaluation failed.

uv run scripts/diagnose.py runs/libero --demonstrations data/libero
"""

from inspire_fast.commands.diagnose import main

if __name__ == "__main__":
    main()
