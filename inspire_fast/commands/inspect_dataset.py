"""Inspection of a config's training samples: an HTML page, and a recording for the Rerun viewer."""

from functools import partial

from tqdm import tqdm

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.training.datasets.sources import open_source
from inspire_fast.training.inspection.page import write_page
from inspire_fast.training.inspection.rerun_view import need_rerun, write_rrd
from inspire_fast.training.inspection.samples import inspect


def inspect_dataset(config: ConfigArgument, *, rerun: bool = False) -> None:
    """Writes a page of training samples as the network gets them.

    Shows images, the dialogue coloured by segment, ids, labels drawn into the image and histograms of the answers.
    The page is written to `inspection/` in the folder of the run's statistics.

    Args:
        config: the config, changed by the other options.
        rerun: also write a recording for the Rerun viewer (.rrd).
    """
    if rerun:
        need_rerun()
    folder = config.assets_dir / "inspection"  # a folder of its own: checkpoints carry the files of `assets_dir`
    with tqdm(total=len(open_source(config, "train")), desc="labels", unit="sample", disable=None) as bar:
        inspection = inspect(config, progress=bar.update)
    print(write_page(inspection, folder / "page.html"))
    if rerun:
        print(write_rrd(inspection, folder / "samples.rrd"))


main = partial(run_with_config, inspect_dataset)
