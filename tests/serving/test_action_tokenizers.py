"""Training, decoding and serving with each action tokenizer: InSpire's claim to fit every autoregressive policy."""

from collections.abc import Iterator
from dataclasses import replace

import jax
from jax.experimental.compilation_cache import compilation_cache
import numpy as np
import pytest

from inspire_fast.client import PolicyClient
from inspire_fast.core.files import read_json_lines
from inspire_fast.core.types import Status
from inspire_fast.data.testing import TASK, write_fake_dataset
from inspire_fast.models.config import TEST
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.serving import PolicyServer, serve_in_background
from inspire_fast.tokenizers.registry import ACTION_TOKENIZERS
from inspire_fast.training.config import CheckpointConfig, OptimizerConfig, TokenizersConfig, TrainConfig
from inspire_fast.training.datasets.assets import compute_stats, fit_tokenizers
from inspire_fast.training.loop import train
from inspire_fast.training.named_configs import load_config

HORIZON = 2
PARAMETERS = {"vq": {"stages": 4}}


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The three runs share their network and training step; each is compiled once."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: jax.config.values[name] for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    root = tmp_path_factory.mktemp("run")
    debug = load_config("debug")
    return replace(
        debug,
        data=replace(debug.data, root=write_fake_dataset(root / "dataset", episodes=4), horizon=HORIZON),
        model=replace(TEST, vocab_size=debug.model.vocab_size),
        optimizer=OptimizerConfig(peak_lr=3e-3, end_lr=1e-3, warmup_steps=1, ema_decay=None),
        checkpoint=CheckpointConfig(root=root / "checkpoints", every=0),
        assets=root / "assets",
        evaluation=replace(debug.evaluation, every=0, decode_every=0),
    )


@pytest.mark.parametrize("name", list(ACTION_TOKENIZERS))
def test_trained_decoded_and_served(config: TrainConfig, name: str) -> None:
    run = replace(
        config,
        exp_name=name,
        tokenizers=TokenizersConfig(action=name, action_parameters=PARAMETERS.get(name, {}), action_vocab_size=128),
        assets=config.assets / name,
    )
    compute_stats(run)
    fit_tokenizers(run)
    train(run)
    assert all(np.isfinite(row["action_loss"]) for row in read_json_lines(run.checkpoint_dir / "metrics.jsonl"))
    policy = InspirePolicy.load(run.checkpoint_dir)
    assert policy.contract.action_tokenizer == name
    observation = {**policy.robot.fake_native(), "prompt": TASK}
    with (
        serve_in_background(PolicyServer(policy)) as server,
        PolicyClient("127.0.0.1", server.port, connect_timeout_s=60, request_timeout_s=120) as client,
    ):
        chunk = client.infer(observation)
    assert chunk.status is Status.OK
    assert chunk.actions.shape == (HORIZON, policy.robot.action_dim)
    assert np.isfinite(chunk.actions).all()
    assert [answer.target for answer in chunk.answers] == ["the red block", "the plate"]
