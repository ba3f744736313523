"""Networks from parameters in memory, filled by the code that fills them from checkpoints."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import StoredParams, fill
from inspire_fast.models.config import DType, ModelConfig
from inspire_fast.models.pi0_fast import Pi0Fast, abstract_model

Arrays = Mapping[str, np.ndarray | jax.Array]


def network_of(config: ModelConfig, arrays: Arrays, dtype: DType | None = None) -> Pi0Fast:
    """A network that holds the arrays under openpi's paths, as float32 or in `dtype`."""
    leaves = {path: jax.ShapeDtypeStruct(a.shape, a.dtype) for path, a in arrays.items()}
    stored = StoredParams(origin="memory", leaves=leaves, read=lambda path, dtype: np.asarray(arrays[path], dtype))
    model = abstract_model(config)
    fill(model, stored, None if dtype is None else jnp.dtype(dtype))
    return model
