"""A small network overfits one batch, in either precision: the training targets are those of the dataset."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.models.config import TEST
from inspire_fast.training.config import EvaluationConfig, OptimizerConfig
from inspire_fast.training.datasets.assets import compute_stats, fit_tokenizers
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.prepare import prepare, to_batch
from inspire_fast.training.sharding import batch_sharding
from inspire_fast.training.state import init_state, make_step
from inspire_fast.training.stochastic_rounding import Precision


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_a_batch_is_learnt_by_heart(tmp_path: Path, precision: Precision) -> None:
    demo = load_config("demo")
    config = replace(
        demo,
        model=replace(TEST, vocab_size=demo.model.vocab_size),
        data=replace(
            demo.data, root=write_fake_dataset(tmp_path / "data", episodes=4), held_out_every=4, augmentation="none"
        ),
        optimizer=OptimizerConfig(peak_lr=1e-2, end_lr=1e-3, warmup_steps=10, decay_steps=400, ema_decay=0.98),
        precision=precision,
        assets=tmp_path / "assets",
        batch_size=8,
        evaluation=EvaluationConfig(samples=0),
    )
    compute_stats(config)
    fit_tokenizers(config)
    run = prepare(config)
    arrays = [run.transform(run.source[8 * n], np.random.default_rng(n)) for n in range(8)]
    batch = to_batch({k: np.stack([a[k] for a in arrays]) for k in arrays[0]}, batch_sharding(run.mesh))
    state, step, metrics = jax.jit(lambda: init_state(config))(), jax.jit(make_step(config), donate_argnums=0), {}
    for _ in range(75):
        state, metrics = step(state, batch)
    assert metrics["action_token_accuracy"] >= 0.99
    assert metrics["answer_token_accuracy"] >= 0.99
    assert metrics["loss"] < 0.05
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((state.params, state.ema))}
    assert dtypes == {np.dtype(config.trained_dtype)}
