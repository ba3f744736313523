"""Small checkpoints to write, damage and read."""

from dataclasses import replace

import numpy as np

from inspire_fast.models.config import PRESETS, LoraConfig

TEST = PRESETS["test"]
LORA = replace(
    TEST,
    language=replace(
        TEST.language, lora_attention=LoraConfig(rank=2, alpha=3.0), lora_mlp=LoraConfig(rank=2, alpha=1.0)
    ),
)


def assert_equal(found: dict, expected: dict) -> None:
    """The same paths, dtypes and bits."""
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path].dtype == value.dtype, path
        np.testing.assert_array_equal(np.asarray(found[path]), value, err_msg=path)
