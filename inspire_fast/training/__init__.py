"""Training: named configs, the SPMD step, the loop, checkpoints, evaluation on held-out samples."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.training.config import TrainConfig as TrainConfig
    from inspire_fast.training.config_dict import to_config_dict as to_config_dict
    from inspire_fast.training.dataset_config import DataConfig as DataConfig
    from inspire_fast.training.loop import TrainResult as TrainResult
    from inspire_fast.training.loop import train as train
    from inspire_fast.training.named_configs import config_names as config_names
    from inspire_fast.training.named_configs import load_config as load_config
    from inspire_fast.training.optimizer import OptimizerConfig as OptimizerConfig

__getattr__, __dir__ = lazy_exports(__name__)
