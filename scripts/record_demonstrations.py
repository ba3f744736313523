"""Records scripted LIBERO demonstrations.

uv run scripts/record_demonstrations.py --tasks libero_object:0 --episodes 50 --root data/soup
"""

from inspire_fast.commands.record_demonstrations import main

if __name__ == "__main__":
    main()
