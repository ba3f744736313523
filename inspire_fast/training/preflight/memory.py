"""Memory estimate of a run, per device, before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.head import PIECE
from inspire_fast.models.row_pieces import pieces_of
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.sharding import state_shardings
from inspire_fast.training.state import init_state, narrowed, split

_MIB, _GIB = 2**20, 2**30
_KEPT = 1.6  # without remat, softmax and GELU keep more than one array each; fitted to XLA's numbers


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes per device.

    Attributes:
        parameters: in their storage types.
        ema: moving average of the parameters.
        optimizer: AdamW's two moments.
        gradients: of those that train, and their float32 sum with several microbatches.
        activations: values kept for the backward pass, and the working set of the largest layer.
        logits: of as many supervised positions as are computed at once, with their gradients.
        batch: ids and images.
        gathered: on several devices, what is whole on each for a while: a layer's weights and gradients, and the
            embedding's. On one device, the embedding in the network's dtype.
        decoding: a second, whole copy of the parameters on the device that decodes held-out samples. It exists between
            steps, when there are no gradients, activations and logits.
    """

    parameters: int
    ema: int
    optimizer: int
    gradients: int
    activations: int
    logits: int
    batch: int
    gathered: int = 0
    decoding: int = 0

    @property
    def total(self) -> int:
        """The largest need, during a step or while decoding."""
        return (
            self.state
            + self.batch
            + max(self.gradients + self.activations + self.logits + self.gathered, self.decoding)
        )

    @property
    def state(self) -> int:
        """The need between steps."""
        return self.parameters + self.ema + self.optimizer

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {shown(size)}" for name, size in asdict(self).items() if size)
        return f"{shown(self.total)} per device ({sizes})"


def shown(size: float) -> str:
    """Bytes in GiB, or in MiB below a tenth of one."""
    return f"{size / _GIB:.2f} GiB" if size >= _GIB / 10 else f"{size / _MIB:.1f} MiB"


def estimate_memory(config: TrainConfig, mesh: Mesh | AbstractMesh) -> MemoryEstimate:
    """The estimate: exact for the train state, by formula for the rest."""
    shapes = jax.eval_shape(lambda: init_state(config))
    shardings = state_shardings(shapes, mesh)
    model, data, microbatches = config.model, config.data, config.grad_accum_steps
    trainable, _ = split(shapes.params, config.freeze)
    trainable_shardings, _ = split(shardings.params, config.freeze)
    wide = sum(math.prod(s.shard_shape(x.shape)) * 4 for x, s in _pairs(trainable, trainable_shardings))
    made = jax.eval_shape(partial(narrowed, config), trainable) if mesh.size == 1 else trainable
    gradients = _bytes_per_device(made, trainable_shardings) + (wide if microbatches > 1 else 0)
    rows = math.ceil(config.batch_size / microbatches / (mesh.shape["data"] * mesh.shape["fsdp"]))
    pixels = len(model.cameras) * math.prod(model.image_hw) * 3
    decoded = sum(x.size for x in jax.tree.leaves(shapes.params)) if config.evaluation.decode_every else 0
    return MemoryEstimate(
        parameters=_bytes_per_device(shapes.params, shardings.params),
        ema=_bytes_per_device(shapes.ema, shardings.ema),
        optimizer=_bytes_per_device(shapes.opt_state, shardings.opt_state),
        gradients=gradients,
        activations=_activations(model, rows, data.max_token_len, mesh),
        logits=2 * min(rows * data.max_supervised * model.vocab_size * 4 // mesh.shape["tensor"], PIECE),
        gathered=_gathered(model, mesh),
        batch=rows * microbatches * (pixels + 32 * data.max_token_len) + rows * pixels * 4,
        decoding=jnp.dtype(model.dtype).itemsize * decoded,
    )


def _bytes_per_device(tree: Any, shardings: Any) -> int:
    """Bytes of a tree of shapes on one device."""
    return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in _pairs(tree, shardings))


def _pairs(tree: Any, shardings: Any) -> Iterator[tuple[Any, Any]]:
    return zip(jax.tree.leaves(tree), jax.tree.leaves(shardings), strict=True)


def _gathered(model: ModelConfig, mesh: Mesh | AbstractMesh) -> int:
    """See `MemoryEstimate.gathered`. Gathered weights have the network's dtype, their gradients are float32."""
    width, language = jnp.dtype(model.dtype).itemsize, model.language
    table = model.vocab_size * language.width // mesh.shape["tensor"]
    if mesh.size == 1:
        return table * width if width < 4 else 0
    attention = language.width * language.head_dim * 2 * (language.heads + language.kv_heads)
    layer = (attention + 3 * language.width * language.mlp_dim) // mesh.shape["tensor"]
    return (table + layer) * (width + 4)


def _activations(model: ModelConfig, rows: int, text_tokens: int, mesh: Mesh | AbstractMesh) -> int:
    """Activations on one device: what layers keep, and the larger of both towers' working sets in a backward pass."""
    tensor = mesh.shape["tensor"]
    if model.remat != "nothing_saveable":
        return rows * _kept_by_a_row(model, text_tokens, tensor)
    width = jnp.dtype(model.dtype).itemsize
    language, vision = model.language, model.vision
    positions, patches = model.image_tokens + text_tokens, model.image_tokens

    def block(tokens: int, span: int, size: int, heads: int, hidden: int) -> int:
        """The larger of feed-forward and attention in their backward passes, and what surrounds both."""
        units = 6 * tokens * hidden * width  # gate, up, their product, and the gradients of the three
        scores = heads * tokens * span * (3 * 4 + 3 * width)  # logits, probabilities and gradients, in both orders
        return 8 * tokens * size * width + max(units, scores) // tensor

    at_once = rows // pieces_of(rows, positions) if mesh.size == 1 else rows
    gemma = block(at_once * positions, positions, language.width, language.heads, language.mlp_dim)
    siglip = block(rows * patches, model.tokens_per_image, vision.width, vision.heads, vision.mlp_dim)
    inputs = language.depth * positions * language.width + vision.depth * patches * vision.width
    return rows * inputs * width + max(gemma, siglip)


def _kept_by_a_row(model: ModelConfig, text_tokens: int, tensor: int) -> int:
    """Activations of one sample where layers keep more than their inputs."""
    width = jnp.dtype(model.dtype).itemsize
    language, vision = model.language, model.vision
    positions, patches = model.image_tokens + text_tokens, model.image_tokens

    def block(tokens: int, span: int, size: int, heads: int, head_dim: int, hidden: int) -> int:
        """One layer's inputs, projections, attention scores and weights, and hidden units, for its backward pass."""
        projected = tokens * heads * head_dim * 3 * width // tensor
        scores = heads * tokens * span * (4 + width) // tensor
        return tokens * size * 4 * width + projected + scores + tokens * hidden * 3 * width // tensor

    gemma = block(positions, positions, language.width, language.heads, language.head_dim, 2 * language.mlp_dim)
    per_camera = patches // max(len(model.cameras), 1)
    siglip = block(patches, per_camera, vision.width, vision.heads, vision.width // vision.heads, vision.mlp_dim)
    if model.remat == "none":
        return int(_KEPT * (language.depth * gemma + vision.depth * siglip))
    inputs = language.depth * positions * language.width * width + vision.depth * patches * vision.width * width
    if model.remat.startswith("dots"):
        products = language.depth * positions * (2 * language.mlp_dim + 3 * language.width) * width // tensor
        inputs += products + vision.depth * patches * (vision.mlp_dim + 4 * vision.width) * width // tensor
    return inputs + 2 * max(gemma, siglip)


def device_memory() -> int | None:
    """Bytes that one device offers; None if unknown. On a CPU, its share of the free main memory."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    free = free_memory()
    return None if free is None else free // jax.local_device_count()


def free_memory() -> int | None:
    """Bytes of main memory that are free; None if unknown (not Linux)."""
    meminfo = Path("/proc/meminfo")
    fields = (
        dict(line.split(":") for line in meminfo.read_text(encoding="utf-8").splitlines()) if meminfo.is_file() else {}
    )
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def require_memory(config: TrainConfig, need: MemoryEstimate, available: int | None, step: int | None = None) -> None:
    """Refuses a run that cannot fit.

    Args:
        config: the run.
        need: the estimate, by formula.
        available: bytes of a device; None if unknown.
        step: bytes that the compiled step needs, which decide instead of the formula's; None if unknown.

    Raises:
        ValueError: gives the numbers and the most helpful options.
    """
    total = need.total if step is None else max(step, need.state + need.batch + need.decoding)
    if available is None or total <= available:
        return
    needs = f"about {need}" if step is None else f"{shown(total)} per device by its compiler (by formula {need})"
    raise ValueError(
        f"This run needs {needs}, and a device has {shown(available)}. What helps: "
        f"{'; '.join(remedies(config, need, available)) or 'a smaller batch'}. --memory warn starts it anyway."
    )


def remedies(config: TrainConfig, need: MemoryEstimate, available: int) -> list[str]:
    """Options that help a run whose need exceeds what a device has, the most helpful first."""
    advice = []
    if need.state + need.gradients > available / 2:
        advice.append(f"--mesh.fsdp (now {config.mesh.fsdp}) divides {shown(need.state + need.gradients)}")
        if need.ema:
            advice.append(f"--optimizer.ema-decay None saves {shown(need.ema)}")
        if config.precision == "mixed":
            advice.append("--precision bfloat16 halves parameters, moments and EMA")
        if not config.model.language.has_lora:
            advice.append("a LoRA preset (gemma_2b_lora) with --freeze.what language keeps fewer moments")
    if need.decoding > need.gradients + need.activations + need.logits + need.gathered:
        advice.append(f"--evaluation.decode-every 0 saves {shown(need.decoding)}")
    if (passing := need.activations + need.logits) > available / 4:
        advice.append(f"--grad-accum-steps (now {config.grad_accum_steps}) divides {shown(passing)}")
        if config.model.remat == "none":
            advice.append("--model.remat nothing_saveable keeps only the inputs of layers")
    return advice
