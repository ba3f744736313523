"""Evaluates a policy on SimplerEnv: a server of this package or of openpi. Runs in the simulator's own environment.

python examples/simpler_env/main.py --port 8000 --assets stand-in --out runs/simpler
python examples/simpler_env/main.py --tasks simpler_widowx:1 --episodes 2 --ensemble 0 --execute 4 --out runs/look
"""

import sys

from inspire_fast.commands.evaluate import main

if __name__ == "__main__":
    main(["--protocol", "simpler_widowx_ms3", "--out", "runs/simpler", *sys.argv[1:]])
