"""The count against XLA's own, and what is known of a step."""

from dataclasses import replace

from flax import nnx
import jax
import jax.numpy as jnp
import pytest

from inspire_fast.core.batch import Batch
from inspire_fast.models.config import GEMMA_2B, GEMMA_2B_LORA, TEST
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.models.loss import loss
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import quick_jit
from inspire_fast.training.reporting.flops import forward_flops, peak_flops, training_flops

ALL = FreezeConfig()


def test_the_count_is_xlas() -> None:
    """At depth 1: XLA counts the body of a loop once, however often it runs."""
    model = replace(
        TEST,
        remat="none",
        vision=replace(TEST.vision, depth=1, width=64, mlp_dim=256),
        language=replace(TEST.language, depth=1, width=128, mlp_dim=512, head_dim=32),
    )
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
    gradient = quick_jit(jax.grad(lambda state, batch: loss(nnx.merge(graph, state), batch)[0]))
    counted = gradient.lower(state, batch).compile().cost_analysis() or {}
    ours = rows * training_flops(model, ALL, text_tokens=text, supervised=supervised)
    assert 0.94 < ours / counted["flops"] < 1.02  # ours has products only
    deep = replace(model, language=replace(model.language, depth=3))
    one, three = (forward_flops(m, text_tokens=text, supervised=0).language for m in (model, deep))
    assert three == 3 * one


def test_a_step_of_the_2b_network_is_six_times_its_parameters_and_tokens() -> None:
    """The rule of thumb 6 N per token, for the language model without its embedding, which is a look-up."""
    whole = training_flops(GEMMA_2B, ALL, text_tokens=180, supervised=0)
    vision = 3 * forward_flops(GEMMA_2B, text_tokens=180, supervised=0).vision
    tokens, parameters = GEMMA_2B.image_tokens + 180, 2_508_531_712 - 257_152 * 2048
    assert 1.0 < (whole - vision) / (6 * parameters * tokens) < 1.05  # the rest is attention


@pytest.mark.parametrize(
    ("freeze", "vision", "language", "head"),
    [
        (FreezeConfig(), 3, 3, 3),
        (FreezeConfig(what="language"), 3, 2, 2),
        (FreezeConfig(what="vision"), 1, 3, 3),
        (FreezeConfig(what="all_but_lora"), 1, 2, 2),
    ],
)
def test_frozen_weights_need_no_gradient(freeze: FreezeConfig, vision: int, language: int, head: int) -> None:
    forward = forward_flops(GEMMA_2B_LORA, text_tokens=100, supervised=40)
    assert training_flops(GEMMA_2B_LORA, freeze, text_tokens=100, supervised=40) == pytest.approx(
        vision * forward.vision + language * forward.language + head * forward.head
    )


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
