"""The training step compiled from shapes: nothing is allocated, and the devices need not exist."""

from __future__ import annotations

from dataclasses import dataclass
import logging
import math
from typing import Any

import jax
from jax.sharding import Mesh
import numpy as np

from inspire_fast.core.batch import Batch
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.preflight.memory import device_memory, estimate_memory, require_memory, shown
from inspire_fast.training.sharding import batch_sharding, state_shardings
from inspire_fast.training.state import init_state, make_step

logger = logging.getLogger(__name__)


def batch_shapes(config: TrainConfig, mesh: Mesh) -> Batch:
    """Shapes of a batch of the run, with their shardings."""
    data, rows, sharding = config.data, config.batch_size, batch_sharding(mesh)

    def shape(dtype: Any, *axes: int) -> Any:
        return jax.ShapeDtypeStruct((rows, *axes), dtype, sharding=sharding)

    text, supervised = data.max_token_len, data.max_supervised
    return Batch(
        images={camera: shape(np.uint8, *config.model.image_hw, 3) for camera in config.model.cameras},
        image_mask={camera: shape(bool) for camera in config.model.cameras},
        ids=shape(np.int32, text),
        valid=shape(bool, text),
        block=shape(np.int32, text),
        target_at=shape(np.int32, supervised),
        target_weight=shape(np.float32, supervised),
        target_kind=shape(np.int8, supervised),
        placement=shape(np.float32, 3) if config.placement else None,
    )


def compile_step(config: TrainConfig, mesh: Mesh, options: dict[str, Any] | None = None) -> jax.stages.Compiled:
    """The run's training step as it is compiled on a mesh.

    Args:
        config: the run.
        mesh: of devices that exist, or of described ones (`compile_lab`).
        options: of the compiler.
    """
    shapes = jax.eval_shape(lambda: init_state(config))
    placed = state_shardings(shapes, mesh)
    state = jax.tree.map(lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d), shapes, placed)
    step = jax.jit(make_step(config, mesh), donate_argnums=0, out_shardings=(placed, None))
    return step.lower(state, batch_shapes(config, mesh)).compile(compiler_options=options)


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a compiled program says of itself, per device.

    Attributes:
        temporary: bytes of temporaries.
        needed: bytes of arguments, results and temporaries together.
        text: XLA's, see `program_text`.
    """

    temporary: int
    needed: int
    text: str


def described(compiled: jax.stages.Compiled) -> Program:
    """Memory and text of a compiled program.

    Raises:
        ValueError: the backend does not report them.
    """
    said, text = compiled.memory_analysis(), compiled.as_text()
    if said is None or text is None:
        raise ValueError("This compiler reports neither the memory nor the text of its programs.")
    kept = said.argument_size_in_bytes + said.output_size_in_bytes - said.alias_size_in_bytes
    return Program(temporary=said.temp_size_in_bytes, needed=kept + said.temp_size_in_bytes, text=text)


def check_memory(config: TrainConfig, mesh: Mesh, compiled: jax.stages.Compiled) -> None:
    """Compares the compiled step's memory with the device's, before anything is allocated.

    Raises:
        ValueError: it does not fit, and `config.memory` does not say to try anyway.
    """
    try:
        needed = described(compiled).needed
    except ValueError:  # then the formula decides
        needed = None
    else:
        logger.info("The compiled step needs %s per device.", shown(needed))
    try:
        require_memory(config, estimate_memory(config, mesh), device_memory(), needed)
    except ValueError as error:
        if config.memory == "refuse":
            raise
        logger.warning("%s", error)


def state_bytes(config: TrainConfig, mesh: Mesh) -> int:
    """Bytes of the train state on one device."""
    shapes = jax.eval_shape(lambda: init_state(config))
    pairs = zip(jax.tree.leaves(shapes), jax.tree.leaves(state_shardings(shapes, mesh)), strict=True)
    return sum(math.prod(placed.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf, placed in pairs)
