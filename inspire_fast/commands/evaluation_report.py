"""The report page of an evaluation, written again or compared with another evaluation."""

from functools import partial
from pathlib import Path

import tyro

from inspire_fast.core.cli import run_command
from inspire_fast.evaluation.report.page import write_page
from inspire_fast.evaluation.report.statistics import episodes_needed as needed


def evaluation_report(
    folder: tyro.conf.Positional[Path] = Path("runs/libero"),
    *,
    compare: Path | None = None,
    link_videos: bool = False,
    episodes_needed: tuple[float, float] | None = None,
) -> None:
    """Writes the page of an evaluation's folder again.

    Args:
        folder: of the evaluation, which may be unfinished.
        compare: folder of another evaluation under the same protocol.
        link_videos: link the videos instead of embedding them.
        episodes_needed: a success rate and a difference: only prints how many episodes each of two policies needs for
            that difference to be found with 80 % probability.
    """
    if episodes_needed is not None:
        print(f"{needed(*episodes_needed)} episodes per policy")
        return
    page = write_page(folder, compare=compare, embed=False if link_videos else None)
    print(f"{page} ({page.resolve().as_uri()})")


main = partial(run_command, evaluation_report)
