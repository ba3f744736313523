"""The count against XLA's own, and what is known of a step."""

from dataclasses import replace
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import pytest

from inspire_fast.core.batch import Batch
from inspire_fast.models.config import GEMMA_2B, GEMMA_2B_LORA, TEST
from inspire_fast.models.freeze import FreezeConfig, Frozen
from inspire_fast.models.loss import loss
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.training.reporting.flops import forward_flops, peak_flops, training_flops
from inspire_fast.training.state import join, split

ALL = FreezeConfig()
SHALLOW = replace(
    TEST,
    remat="none",
    image_hw=(64, 64),  # of which patches make the tower's share large enough to be noticed
    vision=replace(TEST.vision, depth=1, width=192, mlp_dim=768),
    language=replace(TEST.language, depth=1, width=128, mlp_dim=512, head_dim=32),
)


@pytest.mark.parametrize("frozen", ["nothing", "language", "vision"])
def test_the_count_is_xlas(frozen: Frozen) -> None:
    """Of the gradient by what trains, at depth 1: XLA counts the body of a loop once, however often it runs."""
    model, freeze = SHALLOW, FreezeConfig(what=frozen)
    rows, text, supervised = 2, 64, 8
    ids, targets = jax.ShapeDtypeStruct((rows, text), jnp.int32), jax.ShapeDtypeStruct((rows, supervised), jnp.int32)
    batch = Batch(
        images={c: jax.ShapeDtypeStruct((rows, *model.image_hw, 3), jnp.uint8) for c in model.cameras},
        image_mask={c: jax.ShapeDtypeStruct((rows,), jnp.bool_) for c in model.cameras},
        ids=ids,
        valid=jax.ShapeDtypeStruct((rows, text), jnp.bool_),
        block=ids,
        target_at=targets,
        target_weight=jax.ShapeDtypeStruct((rows, supervised), jnp.float32),
        target_kind=targets,
    )
    graph, state = nnx.split(nnx.eval_shape(lambda: Pi0Fast(model, rngs=nnx.Rngs(0))))

    def of_trained(trained: dict[str, Any], rest: dict[str, Any], batch: Batch) -> jax.Array:
        whole = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(whole, join(trained, rest))
        return loss(nnx.merge(graph, whole), batch)[0]

    lowered = jax.jit(jax.grad(of_trained)).lower(*split(nnx.to_pure_dict(state), freeze), batch)
    counted = lowered.cost_analysis() or {}  # before compilation
    ours = rows * training_flops(model, freeze, text_tokens=text, supervised=supervised)
    assert 0.94 < ours / counted["flops"] < 1.02  # ours has products only


def test_layers_count_alike() -> None:
    deep = replace(SHALLOW, language=replace(SHALLOW.language, depth=3))
    one, three = (forward_flops(m, text_tokens=64, supervised=0).language for m in (SHALLOW, deep))
    assert three == 3 * one


def test_a_step_of_the_2b_network_is_six_times_its_parameters_and_tokens() -> None:
    """The rule of thumb 6 N per token, for the language model without its embedding, which is a look-up."""
    whole = training_flops(GEMMA_2B, ALL, text_tokens=180, supervised=0)
    vision = 3 * forward_flops(GEMMA_2B, text_tokens=180, supervised=0).vision
    tokens, parameters = GEMMA_2B.image_tokens + 180, 2_508_531_712 - 257_152 * 2048
    assert 1.0 < (whole - vision) / (6 * parameters * tokens) < 1.05  # the rest is attention


def test_low_rank_updates_alone_need_a_forward_pass_and_gradients_by_inputs() -> None:
    """PaLM's 6 N becomes 4 N for weights that only pass a gradient on, and 2 N for a tower that passes none on."""
    freeze, tokens = FreezeConfig(what="all_but_lora"), GEMMA_2B_LORA.image_tokens + 100
    parameters, vision = 2_508_531_712 - 257_152 * 2048, 412_442_352
    counted = training_flops(GEMMA_2B_LORA, freeze, text_tokens=100, supervised=0)
    rule = 4 * parameters * tokens + 2 * vision * GEMMA_2B_LORA.image_tokens
    assert 1.0 < counted / rule < 1.06  # the rest is attention


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v6 lite", 918e12),
        ("cpu", None),
    ],
)
def test_peaks_by_the_names_that_jax_gives(kind: str, peak: float | None) -> None:
    class Device:
        device_kind = kind

    assert peak_flops(Device()) == peak
