"""Converts a dataset to LeRobot's format.

uv run scripts/convert_dataset.py <lerobot|hdf5|inspire|rlds> --source ... --root data/mine
"""

from inspire_fast.commands.convert_dataset import main

if __name__ == "__main__":
    main()
