"""Parameter trees of openpi's networks: paths, shapes, dtypes, counts, frozen leaves of LoRA training."""

import json
from pathlib import Path

from flax import nnx
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS, GemmaConfig, LoraConfig, ModelConfig, SiglipConfig
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.models.openpi.params import TABLE, flat_params
from inspire_fast.models.pi0_fast import Pi0Fast
from tests.golden.cases import cases

Shapes = dict[str, tuple[int, ...]]
TREES = cases("a_params/param_tree_*.json", "{0.stem}")
BLOCK, LAYERS = "PaliGemma/img/Transformer/encoderblock", "PaliGemma/llm/layers"


def rank(shapes: Shapes, path: str) -> LoraConfig | None:
    """A low-rank update of the rank that the tree shows; its strength leaves no trace in a tree."""
    return LoraConfig(rank=shapes[path][-1]) if path in shapes else None


def architecture(shapes: Shapes) -> ModelConfig:
    """The network that has these leaves."""
    patch, _, _, vision_width = shapes["PaliGemma/img/embedding/kernel"]
    vision_depth, _, vision_mlp = shapes[f"{BLOCK}/MlpBlock_0/Dense_0/kernel"]
    side = round(shapes["PaliGemma/img/pos_embedding"][1] ** 0.5) * patch
    vocab_size, width = shapes["PaliGemma/llm/embedder/input_embedding"]
    depth, heads, head_dim, _ = shapes[f"{LAYERS}/attn/attn_vec_einsum/w"]
    kv = shapes.get(f"{LAYERS}/attn/kv_einsum/w")
    return ModelConfig(
        vision=SiglipConfig(
            patch=patch,
            width=vision_width,
            depth=vision_depth,
            mlp_dim=vision_mlp,
            heads=shapes[f"{BLOCK}/MultiHeadDotProductAttention_0/query/kernel"][2],
        ),
        language=GemmaConfig(
            width=width,
            depth=depth,
            mlp_dim=shapes[f"{LAYERS}/mlp/linear"][1],
            heads=heads,
            kv_heads=kv[2] if kv else heads,
            head_dim=head_dim,
            lora_attention=rank(shapes, f"{LAYERS}/attn/attn_vec_einsum/lora_a"),
            lora_mlp=rank(shapes, f"{LAYERS}/mlp/linear_lora_a"),
        ),
        vocab_size=vocab_size,
        image_hw=(side, side),
    )


@pytest.mark.parametrize("path", TREES)
def test_the_tree_is_upstreams(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    expected = {leaf["path"]: (tuple(leaf["shape"]), leaf["dtype"]) for leaf in stored["leaves"]}
    shapes = {name: shape for name, (shape, _) in expected.items()}
    known = [PRESETS[name] for name in PRESETS if name == stored["variant"]]
    for config in (architecture(shapes), *known):
        leaves = flat_params(nnx.eval_shape(lambda config=config: Pi0Fast(config, rngs=nnx.Rngs(0))))
        ours = {TABLE[name]: (leaf.shape, leaf.dtype.name) for name, leaf in leaves.items()}
        assert ours == expected
        assert len(ours) == stored["num_leaves"]
        assert sum(int(np.prod(shape)) for shape, _ in ours.values()) == stored["num_params"]
        rule = FreezeConfig(what="language" if config.language.has_lora else "nothing")
        frozen = {TABLE[name] for name in leaves if rule.freezes(name)}
        assert frozen == set(stored["frozen_by_get_freeze_filter"])
