"""Listing of the targets of every LIBERO task: `python -m inspire_fast.labeling.hindsight.coverage`.

The last line is one JSON object: `tasks`, `tasks_grounded`, and the agreement of labels by hindsight with the simulator
(`hindsight_agreement`, as stored; `--episodes N` measures it again with N episodes per task, and `--write` stores it).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import sys

from inspire_fast.core.files import write_json
from inspire_fast.envs.libero.suites import SUITES, tasks
from inspire_fast.envs.libero.target_table import targets_of
from inspire_fast.envs.libero.targets import Target
from inspire_fast.labeling.hindsight.validation import RESULT_FILE, measure, stored


def main(args: list[str] | None = None) -> int:
    """Prints the table and the metrics; the exit status is 1 if a task is not grounded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=0, help="episodes per task to simulate and compare")
    parser.add_argument("--write", action="store_true", help="store the measurement in the package")
    options = parser.parse_args(args)
    if options.write and not options.episodes:
        parser.error("--write stores what --episodes N measures; give both")
    total, refused = 0, 0
    for suite in SUITES:
        for task in tasks(suite):
            total += 1
            try:
                targets = "; ".join(_describe(target) for target in targets_of(task))
            except ValueError as error:
                refused, targets = refused + 1, f"NOT GROUNDED: {error}"
            sys.stdout.write(f"{suite}:{task.index} {task.prompt!r} -> {targets}\n")
    agreement = measure(options.episodes) if options.episodes else stored()
    if options.write:
        write_json(Path(__file__).with_name(RESULT_FILE), agreement, indent=1)
    summary = {"tasks": total, "tasks_grounded": total - refused, "hindsight_agreement": agreement}
    sys.stdout.write(json.dumps(summary) + "\n")
    return int(refused > 0)


def _describe(target: Target) -> str:
    point = target.site or target.body
    shift = " {:+.3f} {:+.3f} {:+.3f}".format(*target.offset_m) if any(target.offset_m) else ""
    return f"{target.phrase!r} = {point}{shift}" + (f" (alias: {target.alias})" if target.alias else "")


if __name__ == "__main__":
    raise SystemExit(main())
