"""Serves a policy over openpi's websocket protocol.

uv run scripts/serve_policy.py --checkpoint checkpoints/libero
uv run scripts/serve_policy.py policy:checkpoint --policy.config=pi0_fast_libero --policy.dir=DIR
uv run scripts/serve_policy.py --env LIBERO
uv run scripts/serve_policy.py policy:replay --policy.root=datasets/libero --policy.robot=libero
"""

from inspire_fast.commands.serve_policy import main

if __name__ == "__main__":
    main()
