"""Checks whether this machine is ready.

uv run scripts/doctor.py [--config <config>] [--checkpoint DIR] [--port 8000]
"""

from inspire_fast.commands.doctor import main

if __name__ == "__main__":
    main()
