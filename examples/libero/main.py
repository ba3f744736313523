"""Evaluates a policy on LIBERO: a server of this package or of openpi, or a checkpoint.

uv run examples/libero/main.py --protocol openpi --port 8000 --workers 4 --out runs/openpi
uv run examples/libero/main.py --protocol inspire --suites libero_goal --checkpoint checkpoints/libero --out runs/goal
uv run examples/libero/main.py --protocol quick --tasks libero_object:0 --answers oracle --out runs/oracle
"""

from inspire_fast.commands.evaluate import main

if __name__ == "__main__":
    main()
