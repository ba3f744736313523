"""Checks a robot workstation before anything moves: cameras, rates, latency, limits, keys, the server's contract.

uv run scripts/check_robot.py examples/franka/main.py OPTIONS
"""

from inspire_fast.commands.check_robot import main

if __name__ == "__main__":
    main()
