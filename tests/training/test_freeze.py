"""Frozen parameters: no gradient, no optimiser state, no EMA, bit-equal values; and the run can be continued."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.core.batch import TARGET_ACTION, Batch
from inspire_fast.models.config import PRESETS, LoraConfig, ModelConfig
from inspire_fast.models.freeze import FreezeConfig, Frozen
from inspire_fast.models.openpi.params import flat_params
from inspire_fast.models.testing import random_images, random_model
from inspire_fast.training.checkpoint_writer import Checkpoints
from inspire_fast.training.config import CheckpointConfig, DataConfig, MeshConfig, OptimizerConfig, TrainConfig
from inspire_fast.training.sharding import make_mesh, state_shardings
from inspire_fast.training.state import init_state, make_gradient, make_update

LORA = LoraConfig(rank=2, alpha=4.0)
BASE = PRESETS["test"]
MODEL: ModelConfig = replace(BASE, language=replace(BASE.language, lora_attention=LORA, lora_mlp=LORA))
PRESENT: dict[Frozen, set[str]] = {
    "nothing": {"vision", "language", "lora"},
    "language": {"vision", "lora"},
    "vision": {"language", "lora"},
    "all_but_lora": {"lora"},
}


def config(what: Frozen, *, ema_decay: float | None = 0.99, **changes: object) -> TrainConfig:
    return TrainConfig(
        name="frozen",
        data=DataConfig(root=Path("unused"), augmentation="none"),
        model=MODEL,
        freeze=FreezeConfig(what=what),
        optimizer=OptimizerConfig(peak_lr=1e-2, warmup_steps=1, decay_steps=10, ema_decay=ema_decay),
        **changes,
    )


def batch() -> Batch:
    images = random_images(MODEL, 2)
    return Batch(
        images=images,
        image_mask=dict.fromkeys(images, np.ones(2, bool)),
        ids=np.array([[2, 5, 9, 7], [2, 6, 9, 3]], np.int32),
        valid=np.ones((2, 4), bool),
        block=np.array([[0, 0, 1, 2], [0, 0, 1, 2]], np.int32),
        target_at=np.array([[2, 3], [2, 3]], np.int32),
        target_weight=np.ones((2, 2), np.float32),
        target_kind=np.full((2, 2), TARGET_ACTION, np.int8),
    )


def flat(params: Any) -> dict[str, Any]:
    return dict(traverse_util.flatten_dict(params, sep="/"))


def kinds(paths: Iterable[str]) -> set[str]:
    return {"lora" if "/lora/" in path else path.split("/")[0] for path in paths}


@pytest.mark.parametrize("what", list(PRESENT))
def test_nothing_is_kept_for_what_is_frozen(what: Frozen) -> None:
    run = config(what)
    state = jax.eval_shape(lambda: init_state(run))
    trained = set(flat(jax.eval_shape(make_gradient(run), state.params, batch())[0]))
    assert kinds(trained) == PRESENT[what]
    assert set(flat(state.ema)) == trained
    moments = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
    assert len(moments) == 2 * len(trained)
    dtypes = {path: value.dtype for path, value in flat(state.params).items()}
    assert {path for path, dtype in dtypes.items() if dtype == jnp.float32} == trained
    assert {path for path, dtype in dtypes.items() if dtype == jnp.bfloat16} == set(dtypes) - trained
    assert set(flat(state.serving_params)) == set(dtypes)


def test_an_update_changes_what_trains_and_the_run_continues(tmp_path: Path) -> None:
    run = config("language", checkpoint=CheckpointConfig(root=tmp_path), ema_decay=0.5)
    params = {path: variable.get_value() for path, variable in flat_params(random_model(MODEL)).items()}
    before = jax.jit(partial(init_state, run))(traverse_util.unflatten_dict(params, sep="/"))
    rng = np.random.default_rng(1)
    shapes, _ = jax.eval_shape(make_gradient(run), before.params, batch())
    gradients = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)
    after = jax.jit(make_update(run))(before, gradients)
    served, ema = flat(after.serving_params), flat(after.ema)
    for path, value in flat(after.params).items():
        old = np.asarray(flat(before.params)[path])
        assert np.array_equal(value, old) == run.freeze.freezes(path), path
        if path in ema:
            np.testing.assert_allclose(ema[path], (old + value) / 2, rtol=1e-5, atol=1e-8)
        np.testing.assert_array_equal(served[path], ema.get(path, value))
    checkpoints = Checkpoints(run.checkpoint_dir, keep=2)
    checkpoints.save(after, {"position": 3}, {})
    checkpoints.wait()
    shardings = state_shardings(after, make_mesh(MeshConfig()))
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), after, shardings)
    again = checkpoints.restore(like)
    checkpoints.close()
    assert jax.tree.structure(again) == jax.tree.structure(after)
    for ours, stored in zip(jax.tree.leaves(after), jax.tree.leaves(again), strict=True):
        assert ours.dtype == stored.dtype
        np.testing.assert_array_equal(ours, stored)


def test_a_rule_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing to train"):
        replace(config("all_but_lora"), model=BASE)
