"""Exports a checkpoint to a folder that openpi loads, or to a safetensors file.

uv run scripts/export_checkpoint.py --checkpoint checkpoints/demo/default --out exported
uv run scripts/export_checkpoint.py --checkpoint checkpoints/demo/default --out policy.safetensors --dtype bfloat16
"""

from inspire_fast.commands.export_checkpoint import main

if __name__ == "__main__":
    main()
