"""Imports a checkpoint of openpi's, or a safetensors file of this package.

uv run scripts/import_checkpoint.py --source pi0_fast_libero --config pi0_fast_libero --out checkpoints/libero
"""

from inspire_fast.commands.import_checkpoint import main

if __name__ == "__main__":
    main()
