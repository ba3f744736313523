"""Says whether a run fits on a machine that is not here, and what limits it.

uv run scripts/plan_run.py <config> --device h200:8 [--mesh.fsdp 8] [--batch-size 256]
"""

from inspire_fast.commands.plan_run import main

if __name__ == "__main__":
    main()
