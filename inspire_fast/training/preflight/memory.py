"""What a run needs of each device's memory, estimated before anything is allocated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from inspire_fast.training.config import TrainConfig
from inspire_fast.training.sharding import state_shardings
from inspire_fast.training.state import init_state, split

_MIB, _GIB = 2**20, 2**30
_KEPT = 1.6  # without remat: softmax and GELU keep more than one array each; held against XLA's figures


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes per device.

    Attributes:
        parameters: in the dtypes that they are kept in.
        average: of the parameters.
        optimizer: AdamW's two moments.
        gradients: of those that train; and their float32 sum where pieces of a batch are added up.
        activations: what the backward pass keeps, and the working set of the largest layer.
        logits: of supervised positions, with their gradients.
        batch: ids and pictures.
        decoding: the parameters once more, whole, on the device that decodes held-out samples; between steps, when there are no
            gradients, activations and logits.
    """

    parameters: int
    average: int
    optimizer: int
    gradients: int
    activations: int
    logits: int
    batch: int
    decoding: int = 0

    @property
    def total(self) -> int:
        """At the worst moment, of a step or of decoding."""
        return self.state + self.batch + max(self.gradients + self.activations + self.logits, self.decoding)

    @property
    def state(self) -> int:
        """What stays from step to step."""
        return self.parameters + self.average + self.optimizer

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_shown(size)}" for name, size in asdict(self).items() if size)
        return f"{_shown(self.total)} per device ({parts})"


def _shown(size: float) -> str:
    return f"{size / _GIB:.2f} GiB" if size >= _GIB / 10 else f"{size / _MIB:.1f} MiB"


def plan_memory(config: TrainConfig, mesh: Mesh) -> MemoryPlan:
    """The estimate; exact for what is in the train state, by formula for the rest."""
    shapes = jax.eval_shape(lambda: init_state(config))
    shardings = state_shardings(shapes, mesh)

    def held(part: Any, placed: Any) -> int:
        sizes = jax.tree.map(lambda x, s: math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize, part, placed)
        return sum(jax.tree.leaves(sizes))

    trainable, _ = split(shapes.params, config.freeze)
    placed, _ = split(shardings.params, config.freeze)
    gradients = held(trainable, placed)
    rows = math.ceil(config.batch_size / config.grad_accum_steps / (mesh.shape["data"] * mesh.shape["fsdp"]))
    width = jnp.dtype(config.model.dtype).itemsize
    pixels = len(config.model.cameras) * math.prod(config.model.image_hw) * 3
    return MemoryPlan(
        parameters=held(shapes.params, shardings.params),
        average=held(shapes.ema, shardings.ema) if shapes.ema is not None else 0,
        optimizer=held(shapes.opt_state, shardings.opt_state),
        gradients=gradients
        + (0 if config.grad_accum_steps == 1 else gradients * 4 // jnp.dtype(config.trained_dtype).itemsize),
        activations=rows * _activations_of_a_row(config, mesh.shape["tensor"]),
        logits=3 * rows * config.data.max_supervised * config.model.vocab_size * 4 // mesh.shape["tensor"],
        batch=rows * config.grad_accum_steps * (pixels + 32 * config.data.max_token_len) + rows * pixels * 4,
        decoding=width * sum(x.size for x in jax.tree.leaves(shapes.params)) if config.evaluation.decode_every else 0,
    )


def _activations_of_a_row(config: TrainConfig, tensor: int) -> int:
    """Of one sample: what layers keep, and the larger of both towers' working sets in a backward pass."""
    model, width = config.model, jnp.dtype(config.model.dtype).itemsize
    language, vision = model.language, model.vision
    positions, patches = model.image_tokens + config.data.max_token_len, model.image_tokens
    keeps_all = model.remat == "none"

    def block(tokens: int, span: int, size: int, heads: int, head_dim: int, hidden: int) -> int:
        """One layer with everything that its backward pass reads: inputs, projections, scores and weights, hidden units."""
        projected = tokens * heads * head_dim * 3 * width // tensor
        scores = heads * tokens * span * (4 + width) // tensor
        return tokens * size * 4 * width + projected + scores + tokens * hidden * 3 * width // tensor

    gemma = block(positions, positions, language.width, language.heads, language.head_dim, 2 * language.mlp_dim)
    per_camera = patches // max(len(model.cameras), 1)
    siglip = block(patches, per_camera, vision.width, vision.heads, vision.width // vision.heads, vision.mlp_dim)
    if keeps_all:
        return int(_KEPT * (language.depth * gemma + vision.depth * siglip))
    inputs = language.depth * positions * language.width * width + vision.depth * patches * vision.width * width
    if model.remat.startswith("dots"):
        products = language.depth * positions * (2 * language.mlp_dim + 3 * language.width) * width // tensor
        inputs += products + vision.depth * patches * (vision.mlp_dim + 4 * vision.width) * width // tensor
    return inputs + 2 * max(gemma, siglip)


def device_memory() -> int | None:
    """Bytes that one device offers; None where nobody says. On a CPU, its share of what is free now."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024 // jax.local_device_count()


def require_memory(config: TrainConfig, plan: MemoryPlan, available: int | None) -> None:
    """Refuses a run that cannot fit.

    Raises:
        ValueError: gives the numbers, and what would help most.
    """
    if available is None or plan.total <= available:
        return
    advice = []
    if plan.state + plan.gradients > available / 2:
        advice.append(f"--mesh.fsdp (now {config.mesh.fsdp}) divides {_shown(plan.state + plan.gradients)}")
        if plan.average:
            advice.append(f"--optimizer.ema-decay None saves {_shown(plan.average)}")
        if config.precision == "mixed":
            advice.append("--precision bfloat16 halves parameters, moments and the average")
        if not config.model.language.has_lora:
            advice.append("a LoRA preset (gemma_2b_lora) with --freeze.what language keeps moments of what trains only")
    if plan.decoding > plan.gradients + plan.activations + plan.logits:
        advice.append(f"--evaluation.decode-every 0 saves {_shown(plan.decoding)}")
    if (passing := plan.activations + plan.logits) > available / 4:
        advice.append(f"--grad-accum-steps (now {config.grad_accum_steps}) divides {_shown(passing)}")
        if config.model.remat == "none":
            advice.append("--model.remat nothing_saveable keeps only the inputs of layers")
    raise ValueError(
        f"This run needs about {plan}, and a device has {_shown(available)}. What helps: {'; '.join(advice) or 'a smaller batch'}. "
        "--memory warn goes on all the same."
    )
