"""Networks with random weights and random images, for tests and benchmarks."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.openpi.params import flat_params
from inspire_fast.models.pi0_fast import Pi0Fast, abstract_model


def random_model(config: ModelConfig, seed: int = 0) -> Pi0Fast:
    """A network with every parameter random, also those that start at zero, so that each one matters to the output.

    Drawn with NumPy, so that nothing is compiled.
    """
    rng = np.random.default_rng(seed)
    model = abstract_model(config)
    for variable in flat_params(model).values():
        shape = variable.shape
        fan_in = shape[-2] if len(shape) > 2 else 4
        pieces = shape[:1] if len(shape) > 2 else (1,)  # a whole stack of layers in float64 is too much at full size
        value = np.empty(shape, np.float32)
        for piece in value.reshape(*pieces, -1):
            piece[...] = rng.normal(scale=0.7 * fan_in**-0.5, size=piece.shape)
        variable.set_value(jnp.asarray(value))
    return model


def random_images(config: ModelConfig, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """uint8 images for every camera of a network."""
    rng = np.random.default_rng(seed)
    return {c: rng.integers(0, 256, (rows, *config.image_hw, 3), dtype=np.uint8) for c in config.cameras}
