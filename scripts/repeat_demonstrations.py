"""Executes recorded demonstrations' actions again and counts which reach success again.

    uv run scripts/repeat_demonstrations.py --folder data/soup.episodes

The last line is one JSON object; the exit status is 1 where one did not.
"""

from dataclasses import dataclass
import json
from pathlib import Path
import sys

from tqdm import tqdm
import tyro

from inspire_fast.labeling.demonstrations.repeat import repeat_all


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to repeat.

    Attributes:
        folder: the recordings that `record_demonstrations` keeps beside its dataset (`<root>.episodes`).
    """

    folder: Path


def main(args: Args) -> bool:
    """Prints every demonstration that did not succeed again, then the counts."""
    total = len(list(args.folder.glob("*.npz")))
    repeated = []
    for result in tqdm(repeat_all(args.folder), total=total, desc="demonstrations", unit="ep", disable=None):
        repeated.append(result)
        if not result.success:
            print(f"{result.path.name}: no success; at most {1000 * result.apart_m:.1f} mm from the recording")
    succeeded = sum(result.success for result in repeated)
    apart_m = max((result.apart_m for result in repeated), default=0.0)
    print(json.dumps({"repeated": len(repeated), "success_again": succeeded, "gripper_apart_m": apart_m}))
    return succeeded == len(repeated)


if __name__ == "__main__":
    try:
        raise SystemExit(0 if main(tyro.cli(Args)) else 1)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
