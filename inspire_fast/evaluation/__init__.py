"""Evaluation in simulators: `run` runs episodes, `records` stores them, `report` makes tables and an HTML page."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.evaluation.records.records import EpisodeRecord as EpisodeRecord
    from inspire_fast.evaluation.report.page import write_page as write_page
    from inspire_fast.evaluation.report.statistics import episodes_needed as episodes_needed
    from inspire_fast.evaluation.run.failures import InfrastructureError as InfrastructureError
    from inspire_fast.evaluation.run.failures import StoppedError as StoppedError
    from inspire_fast.evaluation.run.protocol import Protocol as Protocol
    from inspire_fast.evaluation.run.protocols import PROTOCOLS as PROTOCOLS
    from inspire_fast.evaluation.run.runner import Address as Address

__getattr__, __dir__ = lazy_exports(__name__)
