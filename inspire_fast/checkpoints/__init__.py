"""Checkpoints: their contract, reading, importing from and exporting to openpi, download from remote storage."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.checkpoints.contract import Contract as Contract
    from inspire_fast.checkpoints.exporting import export_checkpoint as export_checkpoint
    from inspire_fast.checkpoints.exporting import export_safetensors as export_safetensors
    from inspire_fast.checkpoints.importing import import_checkpoint as import_checkpoint
    from inspire_fast.checkpoints.importing import import_safetensors as import_safetensors
    from inspire_fast.checkpoints.openpi_configs import OPENPI_CONFIGS as OPENPI_CONFIGS
    from inspire_fast.checkpoints.reading import find_step as find_step
    from inspire_fast.checkpoints.reading import load_model as load_model

__getattr__, __dir__ = lazy_exports(__name__)
