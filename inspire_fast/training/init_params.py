"""Where a new run's parameters come from: drawn, or read from a checkpoint, one leaf at a time and straight onto the mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any
import zlib

from flax import nnx, traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import StoredParams, is_lora, require_finite, require_fit, wanted_by
from inspire_fast.checkpoints.reading import open_params
from inspire_fast.checkpoints.remote import local_path
from inspire_fast.models.lora import A_STD
from inspire_fast.models.openpi.params import TABLE
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.state import TrainState, build_model, init_state

_OURS = {theirs: ours for ours, theirs in TABLE.items()}


def check_initial(config: TrainConfig) -> None:
    """Finds out, without reading an array, whether `config.init_from` can be started from; an address is downloaded first.

    Raises:
        FileNotFoundError: there is nothing, or it cannot be downloaded.
        ValueError: not the network's parameters (lists every difference), or an incomplete copy.
    """
    if config.init_from is not None:
        _open(config, config.init_from)


def initial_state(config: TrainConfig, shardings: TrainState) -> TrainState:
    """The state before the first step: fresh parameters, or those of `config.init_from`; see `check_initial`.

    Low-rank halves that the checkpoint lacks are fresh, and leave its function as it is. Frozen leaves are read in the
    dtype that they are kept in.

    Args:
        config: the run.
        shardings: where every leaf of the state goes.
    """
    if config.init_from is None:
        return jax.jit(lambda: init_state(config), out_shardings=shardings)()
    placed: Any = traverse_util.flatten_dict(shardings.params, sep="/")
    params = _read(config, _open(config, config.init_from), placed)
    nested = traverse_util.unflatten_dict(params, sep="/")
    return jax.jit(lambda p: init_state(config, p), out_shardings=shardings, donate_argnums=0)(nested)


def _open(config: TrainConfig, source: str | Path) -> StoredParams:
    stored = open_params(local_path(source))
    wanted = wanted_by(nnx.eval_shape(lambda: build_model(config)))
    begun = any(is_lora(path) for path in stored.leaves)
    require_fit(stored, wanted, may_lack=() if begun else [path for path in wanted if is_lora(path)])
    return stored


def _read(
    config: TrainConfig, stored: StoredParams, shardings: dict[str, jax.sharding.Sharding]
) -> dict[str, jax.Array]:
    """Every parameter by our path, where it belongs and in the dtype that it is kept in."""
    frozen = [path for path in stored.leaves if config.freeze.freezes(_OURS[path])]
    trained = [path for path in stored.leaves if path not in frozen]
    params: dict[str, jax.Array] = {}
    for paths, dtype in ((trained, config.trained_dtype), (frozen, config.freeze.dtype)):
        for path, array in stored.stream(jnp.dtype(dtype), paths):
            require_finite(stored, path, array)
            params[_OURS[path]] = _place(array, shardings[_OURS[path]])
            del array  # not to be kept while the next one is read
    shapes = wanted_by(nnx.eval_shape(lambda: build_model(config)))
    for path in [path for path in shardings if path not in params]:
        params[path] = _place(_fresh_half(path, shapes[TABLE[path]].shape, config.seed), shardings[path])
    return params


def _fresh_half(path: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """As `models.lora.initial_half`, A random and B zero, but without a compiled program per shape."""
    rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
    half = rng.normal(scale=A_STD, size=shape) if path.endswith("_a") else np.zeros(shape)
    return half.astype(np.float32)


def _place(array: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    """Each process hands over the parts that its own devices hold."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
