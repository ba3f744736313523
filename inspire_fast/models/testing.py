"""Networks with random weights and images to show them, for tests and benchmarks."""

from __future__ import annotations

from flax import nnx
import jax
import numpy as np

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.pi0_fast import Pi0Fast


def random_model(config: ModelConfig, seed: int = 0, *, scale: float = 0.3) -> Pi0Fast:
    """A network with every parameter random, also those that start at zero, so that each one matters to the output."""
    model = Pi0Fast(config, rngs=nnx.Rngs(seed))
    leaves, tree = jax.tree.flatten(nnx.state(model, nnx.Param))
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    noisy = [x + scale * x.std() * jax.random.normal(k, x.shape) + 0.01 for x, k in zip(leaves, keys, strict=True)]
    nnx.update(model, jax.tree.unflatten(tree, noisy))
    return model


def random_images(config: ModelConfig, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """uint8 images for every camera of a network."""
    rng = np.random.default_rng(seed)
    return {c: rng.integers(0, 256, (rows, *config.image_hw, 3), dtype=np.uint8) for c in config.cameras}
