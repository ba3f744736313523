"""Small checkpoints to write, damage and read."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from inspire_fast.checkpoints.assets import write_assets
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.models.config import PRESETS, LoraConfig, ModelConfig
from inspire_fast.models.openpi.params import to_openpi
from inspire_fast.models.testing import random_model
from inspire_fast.policy.policy import InspirePolicy

TEST = PRESETS["test"]
LORA = replace(
    TEST,
    language=replace(
        TEST.language, lora_attention=LoraConfig(rank=2, alpha=3.0), lora_mlp=LoraConfig(rank=2, alpha=1.0)
    ),
)


def random_params(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Every parameter of a network, random, under openpi's paths."""
    return {path: np.asarray(value) for path, value in to_openpi(random_model(config, seed)).items()}


def write_checkpoint(policy: InspirePolicy, step: Path) -> Path:
    """A policy as the checkpoint that it could have been loaded from."""
    write_params(step, random_params(policy.contract.model))
    write_assets(step / "assets", policy.contract, policy.vocabulary)
    return step


def assert_equal(found: dict, expected: dict) -> None:
    """The same paths, dtypes and bits."""
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path].dtype == value.dtype, path
        np.testing.assert_array_equal(np.asarray(found[path]), value, err_msg=path)
