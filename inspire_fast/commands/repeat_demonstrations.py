"""Recorded demonstrations executed again, to count which reach success again."""

from functools import partial
import json
from pathlib import Path

from tqdm import tqdm

from inspire_fast.core.cli import run_command
from inspire_fast.labeling.demonstrations.repeat import repeat_all


def repeat_demonstrations(*, folder: Path) -> int:
    """Executes the actions of recorded demonstrations again; status 1 if one does not reach success.

    The last line printed is one JSON object with the counts.

    Args:
        folder: recordings that `record_demonstrations` keeps (`<root>.episodes`).
    """
    total = len(list(folder.glob("*.npz")))
    repeated = []
    for result in tqdm(repeat_all(folder), total=total, desc="demonstrations", unit="ep", disable=None):
        repeated.append(result)
        if not result.success:
            print(f"{result.path.name}: no success; at most {1000 * result.apart_m:.1f} mm from the recording")
    succeeded = sum(result.success for result in repeated)
    apart_m = max((result.apart_m for result in repeated), default=0.0)
    print(json.dumps({"repeated": len(repeated), "success_again": succeeded, "gripper_apart_m": apart_m}))
    return int(succeeded < len(repeated))


main = partial(run_command, repeat_demonstrations)
