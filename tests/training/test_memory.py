"""Memory estimate: exact where it can be, close to XLA's numbers elsewhere, and what is refused."""

from dataclasses import replace
from pathlib import Path

import jax
from jax.sharding import Mesh
import numpy as np
import pytest

from inspire_fast.models.config import GEMMA_2B, GEMMA_2B_LORA, TEST, TINY, Remat
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.training.config import DataConfig, MeshConfig, OptimizerConfig, TrainConfig
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.preflight.memory import MemoryEstimate, device_memory, estimate_memory, require_memory
from inspire_fast.training.prepare import to_batch
from inspire_fast.training.sharding import AXES, batch_sharding, make_mesh
from inspire_fast.training.state import init_state, make_step

FULL = TrainConfig(name="full", data=DataConfig(root=Path("x"), max_token_len=220), model=GEMMA_2B)


def mesh(fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh of devices that need not exist: plans only read its shape."""
    device = np.empty((1, fsdp, tensor), object)
    device[...] = jax.devices()[0]
    return Mesh(device, AXES)


def test_the_state_is_exactly_what_it_takes() -> None:
    config = replace(FULL, model=TEST)
    state = jax.eval_shape(lambda: init_state(config))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.params, state.ema, state.opt_state)))
    assert estimate_memory(config, make_mesh(MeshConfig())).state == size


def test_full_fine_tuning_of_gemma_2b_takes_what_the_guide_says() -> None:
    whole = estimate_memory(FULL, mesh())
    assert whole.parameters == whole.ema
    # On one device, gradients of matrices are bfloat16; that of the embedding, 0.53B of 2.92B, is float32.
    assert whole.gradients / 2**30 == pytest.approx((2 * (2.92 - 0.53) + 4 * 0.53) / 1.0737, rel=0.02)
    assert whole.state / 1e9 == pytest.approx(4 * 4 * 2.92, rel=0.02)
    sharded = estimate_memory(replace(FULL, mesh=MeshConfig(fsdp=8)), mesh(fsdp=8))
    assert sharded.state == pytest.approx(whole.state / 8, rel=0.01)


@pytest.mark.parametrize(
    ("config", "shape", "rows", "compiled"),
    [
        ("inspire_libero", (1, 1, 1), 32, 56.9),
        ("inspire_libero_low_mem", (1, 1, 1), 32, 16.07),
        ("inspire_libero", (1, 8, 1), 32, 10.63),
        ("inspire_libero", (1, 8, 1), 256, 20.82),
    ],
)
def test_the_formula_is_near_the_compilers_figures(config: str, shape: tuple, rows: int, compiled: float) -> None:
    """Figures in GiB of one H200 and of eight, from `benchmarks/compiled_programs.py`."""
    run = replace(load_config(config), batch_size=rows)
    estimate = estimate_memory(run, jax.sharding.AbstractMesh(shape, AXES))
    assert 0.8 < estimate.total / 2**30 / compiled < 1.25


def test_microbatches_and_lora_need_less() -> None:
    whole = estimate_memory(FULL, mesh())
    accumulated = estimate_memory(replace(FULL, grad_accum_steps=4), mesh())
    assert accumulated.activations < whole.activations / 2
    assert accumulated.gradients == whole.gradients + whole.parameters  # and their float32 sum
    low_mem = replace(FULL, model=GEMMA_2B_LORA, freeze=FreezeConfig(what="language"))
    lora = estimate_memory(replace(low_mem, optimizer=OptimizerConfig(ema_decay=None)), mesh())
    assert lora.ema == 0
    assert lora.state < 0.3 * whole.state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {},
            r"needs about 5\d\.\d+ GiB.*8.00 GiB.*--mesh.fsdp \(now 1\).*--optimizer.ema-decay None saves.*LoRA preset",
        ),
        ({"batch_size": 4096}, r"--grad-accum-steps \(now 1\) divides.*--memory warn"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_helps(change: dict, words: str) -> None:
    config = replace(FULL, **change)
    with pytest.raises(ValueError, match=words):
        require_memory(config, estimate_memory(config, mesh()), 8 * 2**30)


def test_what_fits_or_cannot_be_known_is_begun() -> None:
    small = MemoryEstimate(parameters=1, ema=1, optimizer=2, gradients=1, activations=1, logits=1, batch=1)
    assert small.total == 8
    require_memory(FULL, small, 8)
    require_memory(FULL, small, None)
    assert (device_memory() or 2**31) > 2**30


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["none", "nothing_saveable"])
@pytest.mark.parametrize("rows", [2, 16])
def test_the_plan_is_near_what_xla_says(remat: Remat, rows: int) -> None:
    config = replace(FULL, model=replace(TINY, remat=remat), batch_size=rows)
    data = replace(config.data, max_token_len=160, max_supervised=96, augmentation="none")
    config = replace(config, data=data)
    text, supervised = config.data.max_token_len, config.data.max_supervised
    arrays = {
        **{f"image:{c}": np.zeros((rows, *config.model.image_hw, 3), np.uint8) for c in config.model.cameras},
        "ids": np.zeros((rows, text), np.int32),
        "valid": np.ones((rows, text), bool),
        "block": np.zeros((rows, text), np.int32),
        "target_at": np.zeros((rows, supervised), np.int32),
        "target_weight": np.ones((rows, supervised), np.float32),
        "target_kind": np.full((rows, supervised), 2, np.int8),
    }
    one = make_mesh(config.mesh)
    shapes = jax.eval_shape(lambda: init_state(config))
    step = jax.jit(make_step(config), donate_argnums=0).lower(shapes, to_batch(arrays, batch_sharding(one)))
    said = step.compile().memory_analysis()
    taken = said.argument_size_in_bytes + said.temp_size_in_bytes + said.output_size_in_bytes - said.alias_size_in_bytes
    assert 0.75 < estimate_memory(config, one).total / taken < 1.4
