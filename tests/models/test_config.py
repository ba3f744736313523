from dataclasses import asdict, replace
import json

import pytest

from inspire_fast.models.config import PRESETS, GemmaConfig, LoraConfig, ModelConfig
from inspire_fast.models.freeze import FreezeConfig

TEST = PRESETS["test"]


@pytest.mark.parametrize("name", list(PRESETS))
def test_configs_survive_json(name: str) -> None:
    config = PRESETS[name]
    assert ModelConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_a_dictionary_from_before_lora_has_none() -> None:
    stored = asdict(TEST)
    for name in ("lora_attention", "lora_mlp", "norm_eps"):
        del stored["language"][name]
    assert ModelConfig.from_dict(stored) == TEST


def test_a_field_of_another_version_is_named() -> None:
    stored = asdict(PRESETS["gemma_2b_lora"])
    stored["language"]["lora_mlp"]["rnak"] = 3
    with pytest.raises(ValueError, match=r"Unknown LoraConfig field 'rnak'\. Did you mean 'rank'"):
        ModelConfig.from_dict(stored)


def test_lora_scales() -> None:
    assert LoraConfig(rank=4, alpha=6.0).scale == 1.5
    assert LoraConfig(rank=4, alpha=6.0, rank_stabilised=True).scale == 3.0
    assert LoraConfig(rank=4, alpha=6.0, unscaled=True).scale == 1.0


LANGUAGE = TEST.language


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: replace(TEST, remat="nothing_savable"), r"remat policy.*Did you mean 'nothing_saveable'"),
        (lambda: replace(TEST, dtype="bfloat"), r"dtype 'bfloat'\. Did you mean 'bfloat16'"),
        (lambda: replace(TEST, image_hw=(15, 16)), "multiple of the patch"),
        (lambda: replace(TEST, vocab_size=0), "vocab_size"),
        (lambda: replace(TEST, cameras=("a", "a")), "named once"),
        (lambda: replace(TEST, cameras=()), "there must be a camera"),
        (lambda: replace(LANGUAGE, kv_heads=3), "multiple of kv_heads"),
        (lambda: replace(LANGUAGE, head_dim=7), "even head_dim"),
        (lambda: replace(LANGUAGE, depth=0), "depth must be a whole number, at least 1"),
        (lambda: replace(TEST.vision, heads=3), "not a multiple of its 3 heads"),
        (lambda: LoraConfig(rank=0), "rank must be a whole number, at least 1"),
        (lambda: FreezeConfig(what="langauge"), "Did you mean 'language'"),
        (lambda: FreezeConfig(dtype="float16"), "dtype"),
        (lambda: FreezeConfig(what="all_but_lora").check(TEST), "has no LoRA"),
    ],
)
def test_what_cannot_be_is_refused(build, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()


def test_without_lora_is_the_base() -> None:
    language: GemmaConfig = PRESETS["gemma_2b_lora"].language
    assert language.has_lora
    assert language.without_lora() == PRESETS["gemma_2b"].language
