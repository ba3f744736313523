"""The network: SigLIP tower, Gemma language model, loss; `inference` decodes, `openpi` maps parameters to openpi.

Names load when they are first used: configs need no JAX.
"""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.models.config import PRESETS as PRESETS
    from inspire_fast.models.config import ModelConfig as ModelConfig
    from inspire_fast.models.freeze import FreezeConfig as FreezeConfig
    from inspire_fast.models.inference.model import InferenceModel as InferenceModel
    from inspire_fast.models.loss import Objective as Objective
    from inspire_fast.models.pi0_fast import Pi0Fast as Pi0Fast

__getattr__, __dir__ = lazy_exports(__name__)
