"""What a config will be taught: `uv run scripts/inspect_dataset.py <config>` writes an HTML page; `--rerun` a .rrd, too.

Looks at the training split as the network gets it: pictures, the dialogue coloured by segment, ids, labels drawn into the
picture, histograms of the answers. The page lies in `inspection/` beside the run's statistics.
"""

import sys

from tqdm import tqdm

from inspire_fast.training.cli import run_with_config
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.sources import open_source
from inspire_fast.training.inspection.page import write_page
from inspire_fast.training.inspection.rerun_view import need_rerun, write_rrd
from inspire_fast.training.inspection.samples import inspect


def main(config: TrainConfig, *, rerun: bool) -> None:
    """Inspects, writes, and says where."""
    if rerun:
        need_rerun()
    folder = config.assets_dir / "inspection"  # a folder: checkpoints carry the files beside it
    with tqdm(total=len(open_source(config, "train")), desc="labels", unit="sample", disable=None) as bar:
        inspection = inspect(config, progress=bar.update)
    print(write_page(inspection, folder / "page.html"))
    if rerun:
        print(write_rrd(inspection, folder / "samples.rrd"))


if __name__ == "__main__":
    asked = "--rerun" in sys.argv
    args = [a for a in sys.argv[1:] if a != "--rerun"]
    run_with_config(lambda config: main(config, rerun=asked), __doc__ or "", args)
