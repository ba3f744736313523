"""Benchmark of a training step: `uv run python benchmarks/training.py [--quick]`.

Measured are the throughput of the demo's config with its real loader, our loss against one-hot targets over PaliGemma's
whole vocabulary, and the memory estimate against XLA's number. The last line is one JSON object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import json
from pathlib import Path
import statistics
import sys
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from inspire_fast.core.batch import Batch
from inspire_fast.data.loader import Loader, LoaderConfig
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.models.config import PRESETS
from inspire_fast.models.loss import loss
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.training.config import CheckpointConfig, TrainConfig
from inspire_fast.training.datasets.assets import compute_stats, fit_tokenizers
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.preflight.memory import estimate_memory
from inspire_fast.training.prepare import prepare, to_batch
from inspire_fast.training.sharding import batch_sharding, make_mesh
from inspire_fast.training.state import TrainState, init_state, make_step, with_params

PALIGEMMA_IDS = 257_152


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options.

    Attributes:
        quick: fewer steps, and losses on a smaller batch.
        preset: network of the losses and of the memory estimate; `gemma_2b` needs a GPU.
    """

    quick: bool = False
    preset: str = "small"


def one_hot_loss(model: Pi0Fast, batch: Batch) -> jax.Array:
    """The same loss as in openpi: logits of every position, one-hot targets over the whole vocabulary."""
    hidden = model(batch.images, batch.image_mask, batch.ids, batch.valid, batch.block)
    logits = model.logits(hidden[:, :-1])
    targets = jax.nn.one_hot(batch.ids[:, 1:], logits.shape[-1])
    nll = -jnp.sum(targets * jax.nn.log_softmax(logits, axis=-1), axis=-1)
    weight = jnp.zeros(batch.ids.shape)
    rows = jnp.arange(len(batch.ids))[:, None]
    weight = weight.at[rows, batch.target_at].add(batch.target_weight)[:, 1:]
    return jnp.mean(jnp.sum(nll * weight, axis=1) / jnp.maximum((weight > 0).sum(axis=1), 1))


def throughput(config: TrainConfig, steps: int) -> dict[str, float]:
    """Training steps with the loader, and the share of time that they wait for data."""
    run = prepare(config)
    loader = Loader(
        run.source,
        run.transform,
        LoaderConfig(batch_size=config.batch_size, seed=0, shuffle=True, num_threads=config.data.loader_threads),
    )
    step = jax.jit(make_step(config), donate_argnums=0)
    state, sharding = init_state(config), batch_sharding(run.mesh)
    tokens = waited = 0.0
    state, metrics = step(state, to_batch(next(loader), sharding))
    jax.block_until_ready(metrics)
    begun = time.perf_counter()
    for number in range(steps):
        before = time.perf_counter()
        arrays = next(loader)
        waited += time.perf_counter() - before
        tokens += float(arrays["valid"].sum())
        state, metrics = step(state, to_batch(arrays, sharding))
        jax.block_until_ready(metrics)
        sys.stderr.write(f"\rstep {number + 1}/{steps} ")
    seconds = time.perf_counter() - begun
    sys.stderr.write("\n")
    samples = steps * config.batch_size / seconds
    print(
        f"{config.name}: {samples:.1f} samples/s, {tokens / seconds:.0f} text tokens/s, "
        f"{waited / seconds:.1%} waiting for data"
    )
    return {"samples_per_s": samples, "text_tokens_per_s": tokens / seconds, "data_wait_fraction": waited / seconds}


def made_up_batch(config: TrainConfig, rows: int, text: int, supervised: int) -> Batch:
    """Random rows of full length; their last ids are supervised."""
    rng, model = np.random.default_rng(0), config.model
    images = {c: rng.integers(0, 256, (rows, *model.image_hw, 3), np.uint8) for c in model.cameras}
    at = np.tile(np.arange(text - supervised, text, dtype=np.int32), (rows, 1))
    arrays = {
        **{f"image:{camera}": image for camera, image in images.items()},
        "ids": rng.integers(0, model.vocab_size, (rows, text), np.int32),
        "valid": np.ones((rows, text), bool),
        "block": np.tile(np.maximum(np.arange(text) - (text - supervised), 0), (rows, 1)).astype(np.int32),
        "target_at": at,
        "target_weight": np.ones(at.shape, np.float32),
        "target_kind": np.full(at.shape, 2, np.int8),
    }
    return to_batch(arrays, batch_sharding(make_mesh(config.mesh)))


def losses(config: TrainConfig, rounds: int, rows: int) -> dict[str, float]:
    """Gradients of our loss and of the one-hot loss: seconds, and bytes besides arguments and results."""
    batch = made_up_batch(config, rows, text=180, supervised=60)
    params = init_state(replace(config, optimizer=replace(config.optimizer, ema_decay=None))).params
    ways: dict[str, Callable[[Pi0Fast, Batch], jax.Array]] = {
        "ours": lambda model, batch: loss(model, batch)[0],
        "one-hot": one_hot_loss,
    }
    compiled: dict[str, Any] = {}
    for name, way in ways.items():
        gradient = jax.jit(
            jax.value_and_grad(lambda params, batch, way=way: way(with_params(config.model, params), batch))
        )
        compiled[name] = gradient.lower(params, batch).compile()
    values = {name: float(program(params, batch)[0]) for name, program in compiled.items()}
    np.testing.assert_allclose(values["ours"], values["one-hot"], rtol=1e-4)
    times: dict[str, list[float]] = {name: [] for name in compiled}
    for number in range(rounds):
        for name, program in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(program(params, batch))
            times[name].append(time.perf_counter() - start)
        sys.stderr.write(f"\rround {number + 1}/{rounds} ")
    sys.stderr.write("\n")
    temporary = {name: program.memory_analysis().temp_size_in_bytes for name, program in compiled.items()}
    for name in compiled:
        print(
            f"{name:8} {statistics.median(times[name]):7.2f} s  {temporary[name] / 2**20:8.0f} MiB of temporaries  "
            f"loss {values[name]:.4f}"
        )
    ratios = [slow / fast for slow, fast in zip(times["one-hot"], times["ours"], strict=True)]
    return {"loss_time_ratio": statistics.median(ratios), "loss_memory_ratio": temporary["one-hot"] / temporary["ours"]}


def estimated(config: TrainConfig) -> dict[str, float]:
    """The memory estimate divided by the memory of XLA's compiled step."""
    batch = made_up_batch(config, config.batch_size, config.data.max_token_len, config.data.max_supervised)
    state: TrainState = jax.eval_shape(lambda: init_state(config))
    analysis = jax.jit(make_step(config), donate_argnums=0).lower(state, batch).compile().memory_analysis()
    if analysis is None:
        raise RuntimeError("This backend does not report the memory of compiled programs.")
    measured = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes
    measured += analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    estimate = estimate_memory(config, make_mesh(config.mesh))
    print(f"estimate: {estimate}")
    print(f"XLA: {measured / 2**20:.0f} MiB; estimate over XLA {estimate.total / measured:.2f}")
    return {"estimate_over_measured_memory": estimate.total / measured}


def main(args: Args) -> None:
    """Prints the results, then the JSON line."""
    config = load_config("demo")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_fake_dataset(root / "data", episodes=12, frames=60)
        config = replace(config, data=replace(config.data, root=root / "data", max_token_len=160, max_supervised=96))
        config = replace(config, assets=root / "assets", checkpoint=CheckpointConfig(root=root / "runs"))
        compute_stats(config)
        fit_tokenizers(config)
        results = throughput(config, 10 if args.quick else 100)
    network = replace(PRESETS[args.preset], vocab_size=PALIGEMMA_IDS)
    if jax.default_backend() == "cpu":
        network = replace(network, dtype="float32")
    large = replace(config, model=network, batch_size=2)
    results |= losses(large, rounds=2 if args.quick else 5, rows=1 if args.quick else 2)
    results |= estimated(replace(large, model=replace(PRESETS[args.preset], dtype=network.dtype), batch_size=8))
    print(json.dumps({"device": jax.devices()[0].device_kind, **{k: round(v, 4) for k, v in results.items()}}))


if __name__ == "__main__":
    main(tyro.cli(Args))
