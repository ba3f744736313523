"""Recorded data: LeRobot datasets read and written, facts, normalisation, samples and batches."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.data.errors import DatasetError as DatasetError
    from inspire_fast.data.facts import FactsTable as FactsTable
    from inspire_fast.data.facts import write_facts as write_facts
    from inspire_fast.data.lerobot.dataset import LeRobotDataset as LeRobotDataset
    from inspire_fast.data.lerobot.writer import DatasetWriter as DatasetWriter
    from inspire_fast.data.loader import Loader as Loader
    from inspire_fast.data.normalization.normalizer import Normalizer as Normalizer
    from inspire_fast.data.normalization.stats import load_norm_stats as load_norm_stats

__getattr__, __dir__ = lazy_exports(__name__)
