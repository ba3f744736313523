"""Labels a LeRobot dataset with spatial facts.

uv run scripts/label_dataset.py hindsight --root data/mine --robot libero
"""

from inspire_fast.commands.label_dataset import main

if __name__ == "__main__":
    main()
