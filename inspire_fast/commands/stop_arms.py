"""Emergency stop in a terminal of its own: stops every arm of this user, also if the control loop hangs or is gone.

    usage: inspire-stop-arms [--now]

Without `--now` it waits for Enter.

It is software: the robot's own emergency button stays within reach.
"""

from __future__ import annotations

from collections.abc import Sequence
import sys

from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.stop_channel import folder, stop_arms


def main(args: Sequence[str] | None = None) -> None:
    """Ends with status 1 unless every arm has answered that it rests. Needs the base install only.

    Raises:
        SystemExit: an arm did not answer, an unknown argument, or no folder to reach arms by.
    """
    try:
        _stop(sys.argv[1:] if args is None else args)
    except ArmError as error:
        raise SystemExit(str(error)) from error


def _stop(args: Sequence[str]) -> None:
    if set(args) - {"--now"}:
        print(__doc__)
        raise SystemExit(0 if set(args) <= {"-h", "--help"} else 2)
    if "--now" not in args:
        found = ", ".join(channel.stem for channel in sorted(folder().glob("*.stop"))) or "none under control yet"
        try:
            input(f"Enter stops every arm of this user ({found}). ")
        except (EOFError, KeyboardInterrupt):
            print()  # whatever ends the wait, stopping is the safe way to understand it
    told = stop_arms("emergency stop")
    for arm, answer in told.items():
        print(f"{arm}: {answer}")
    if not told:
        print("No arm of this user is under control.")
    if not all(answer.startswith("rests") for answer in told.values()):
        raise SystemExit(1)
