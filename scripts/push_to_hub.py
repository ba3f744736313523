"""Uploads a checkpoint or a dataset to the Hugging Face Hub.

uv run scripts/push_to_hub.py --checkpoint runs/demo/checkpoints/demo/mine --repo org/name [--figures FILE] [--public]
"""

from inspire_fast.commands.push_to_hub import main

if __name__ == "__main__":
    main()
