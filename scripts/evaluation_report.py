"""Writes the page of an evaluation's folder again, perhaps compared with another one's.

uv run scripts/evaluation_report.py runs/libero
uv run scripts/evaluation_report.py runs/own --compare runs/oracle
uv run scripts/evaluation_report.py --episodes-needed 0.6 0.1
"""

from dataclasses import dataclass
from pathlib import Path
import sys

import tyro

from inspire_fast.evaluation.report.page import write_page
from inspire_fast.evaluation.report.statistics import episodes_needed


@dataclass(frozen=True, kw_only=True)
class Args:
    """Which evaluation.

    Attributes:
        folder: of the evaluation; may be unfinished.
        compare: folder of another one under the same protocol.
        link_videos: videos lie beside the page instead of inside it.
        episodes_needed: a success rate and a difference: prints how many episodes each of two policies needs for it to be
            found with 80 % probability, and stops.
    """

    folder: tyro.conf.Positional[Path] = Path("runs/libero")
    compare: Path | None = None
    link_videos: bool = False
    episodes_needed: tuple[float, float] | None = None


def main(args: Args) -> None:
    """Writes the page, or answers how many episodes."""
    if args.episodes_needed is not None:
        print(f"{episodes_needed(*args.episodes_needed)} episodes per policy")
        return
    page = write_page(args.folder, compare=args.compare, embed=False if args.link_videos else None)
    print(f"{page} ({page.resolve().as_uri()})")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
