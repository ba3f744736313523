"""Recorded data: LeRobot datasets read and written, labelled with facts, normalised, cut into samples, batched."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.data.chunks import ChunkConfig as ChunkConfig
    from inspire_fast.data.chunks import ChunkSource as ChunkSource
    from inspire_fast.data.errors import DatasetError as DatasetError
    from inspire_fast.data.facts import FactsTable as FactsTable
    from inspire_fast.data.lerobot.dataset import LeRobotDataset as LeRobotDataset
    from inspire_fast.data.lerobot.writer import DatasetWriter as DatasetWriter
    from inspire_fast.data.loader import Loader as Loader
    from inspire_fast.data.loader import LoaderConfig as LoaderConfig

__getattr__, __dir__ = lazy_exports(__name__)
