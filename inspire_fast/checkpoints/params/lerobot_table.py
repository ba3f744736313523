"""LeRobot's `pi0_fast` parameters as a table: PyTorch's names and layouts of every array of openpi's.

Layouts are einsum letters, grouped as PyTorch keeps them: `nh,w->n,w,h` is a matrix `[heads * head_dim, width]` that
becomes `[heads, width, head_dim]`. `tests/external/check_lerobot_network.py` holds the table to LeRobot's own network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math

import numpy as np

HEAD, EMBEDDING = "lm_head.weight", "model.language_model.embed_tokens.weight"
EMBEDDING_PATH = "PaliGemma/llm/embedder/input_embedding"
TOWER = "model.vision_tower.vision_model"
VISION, LANGUAGE = f"{TOWER}.encoder.layers.{{}}", "model.language_model.layers.{}"
LLM = "PaliGemma/llm/layers"
_BLOCK = "PaliGemma/img/Transformer/encoderblock"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_0"


@dataclass(frozen=True)
class Leaf:
    """One array of ours, made of one or more of PyTorch's for every layer.

    Attributes:
        names: PyTorch's, without prefix; `{}` is the layer. Several are stacked before the array's own axes.
        layout: PyTorch's axes, grouped, then ours. Letters: `n` and `g` heads and key heads, `h` a head's dimension,
            `o` an axis of one.
    """

    names: tuple[str, ...]
    layout: str

    @property
    def stacked(self) -> bool:
        """Whether there is one per layer."""
        return "{}" in self.names[0]

    @property
    def leading(self) -> int:
        """Axes of ours before those of the layout: the layers, the parts."""
        return self.stacked + (len(self.names) > 1)

    def expected(self, depth: int) -> np.ndarray:
        """PyTorch's names without prefix, in the shape of our leading axes."""
        layers = [[name.format(layer) for name in self.names] for layer in range(depth if self.stacked else 1)]
        names = np.array(layers, object)
        return names.reshape(
            [n for n, kept in zip(names.shape, (self.stacked, len(self.names) > 1), strict=True) if kept]
        )

    def sizes(self, shape: tuple[int, ...], counts: Mapping[str, int]) -> dict[str, int]:
        """Length of every letter for an array of PyTorch's; at most one letter of a group is not in `counts`."""
        sizes = dict(counts)
        for group, size in zip(self.theirs, shape, strict=True):
            open_letters = [letter for letter in group if letter not in counts]
            known = math.prod(counts[letter] for letter in group if letter in counts)
            if len(group) > 1 and size % known:
                raise ValueError(f"an axis of {size} is no multiple of {known} heads")
            sizes |= dict.fromkeys(open_letters, size // known)
        return sizes

    @property
    def theirs(self) -> list[str]:
        """PyTorch's axes, each a group of letters."""
        return self.layout.partition("->")[0].split(",")

    @property
    def ours(self) -> list[str]:
        """Our axes, a letter each."""
        return self.layout.partition("->")[2].split(",")

    def read(self, array: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
        """Our array from PyTorch's."""
        sizes = self.sizes(array.shape, counts)
        letters = "".join(self.theirs)
        return _transpose(array.reshape([sizes[letter] for letter in letters]), letters, "".join(self.ours))

    def write(self, array: np.ndarray) -> np.ndarray:
        """PyTorch's array from ours."""
        sizes = dict(zip(self.ours, array.shape, strict=True))
        whole = _transpose(array, "".join(self.ours), "".join(self.theirs))
        return whole.reshape([math.prod(sizes[letter] for letter in group) for group in self.theirs])


def _transpose(array: np.ndarray, before: str, after: str) -> np.ndarray:
    return array.transpose([before.index(letter) for letter in after])


def _dense(path: str, name: str, layout: str, bias: str = "w->w") -> dict[str, Leaf]:
    """A weight with its bias."""
    return {f"{path}/kernel": Leaf((f"{name}.weight",), layout), f"{path}/bias": Leaf((f"{name}.bias",), bias)}


def _norm(path: str, name: str) -> dict[str, Leaf]:
    return {f"{path}/scale": Leaf((f"{name}.weight",), "w->w"), f"{path}/bias": Leaf((f"{name}.bias",), "w->w")}


def projections(*letters: str) -> tuple[str, ...]:
    """Names of a layer's attention matrices: `q`, `k`, `v`, `o`."""
    return tuple(f"{LANGUAGE}.self_attn.{letter}_proj.weight" for letter in letters)


TABLE: dict[str, Leaf] = {
    **_dense("PaliGemma/img/embedding", f"{TOWER}.embeddings.patch_embedding", "w,c,i,j->i,j,c,w"),
    "PaliGemma/img/pos_embedding": Leaf((f"{TOWER}.embeddings.position_embedding.weight",), "os,w->o,s,w"),
    **_norm(f"{_BLOCK}/LayerNorm_0", f"{VISION}.layer_norm1"),
    **_dense(f"{_ATTENTION}/query", f"{VISION}.self_attn.q_proj", "nh,w->w,n,h", "nh->n,h"),
    **_dense(f"{_ATTENTION}/key", f"{VISION}.self_attn.k_proj", "nh,w->w,n,h", "nh->n,h"),
    **_dense(f"{_ATTENTION}/value", f"{VISION}.self_attn.v_proj", "nh,w->w,n,h", "nh->n,h"),
    **_dense(f"{_ATTENTION}/out", f"{VISION}.self_attn.out_proj", "w,nh->n,h,w"),
    **_norm(f"{_BLOCK}/LayerNorm_1", f"{VISION}.layer_norm2"),
    **_dense(f"{_BLOCK}/MlpBlock_0/Dense_0", f"{VISION}.mlp.fc1", "f,w->w,f"),
    **_dense(f"{_BLOCK}/MlpBlock_0/Dense_1", f"{VISION}.mlp.fc2", "w,f->f,w"),
    **_norm("PaliGemma/img/Transformer/encoder_norm", f"{TOWER}.post_layernorm"),
    **_dense("PaliGemma/img/head", "model.multi_modal_projector.linear", "x,w->w,x"),
    EMBEDDING_PATH: Leaf((EMBEDDING,), "v,w->v,w"),
    f"{LLM}/pre_attention_norm/scale": Leaf((f"{LANGUAGE}.input_layernorm.weight",), "w->w"),
    f"{LLM}/attn/q_einsum/w": Leaf(projections("q"), "nh,w->n,w,h"),
    f"{LLM}/attn/kv_einsum/w": Leaf(projections("k", "v"), "gh,w->g,w,h"),
    f"{LLM}/attn/qkv_einsum/w": Leaf(projections("q", "k", "v"), "nh,w->n,w,h"),
    f"{LLM}/attn/attn_vec_einsum/w": Leaf(projections("o"), "w,nh->n,h,w"),
    f"{LLM}/pre_ffw_norm/scale": Leaf((f"{LANGUAGE}.post_attention_layernorm.weight",), "w->w"),
    f"{LLM}/mlp/gating_einsum": Leaf(
        (f"{LANGUAGE}.mlp.gate_proj.weight", f"{LANGUAGE}.mlp.up_proj.weight"), "f,w->w,f"
    ),
    f"{LLM}/mlp/linear": Leaf((f"{LANGUAGE}.mlp.down_proj.weight",), "w,f->f,w"),
    "PaliGemma/llm/final_norm/scale": Leaf(("model.language_model.norm.weight",), "w->w"),
}
"""openpi's paths, and what PyTorch has for them. One of `kv_einsum` (with `q_einsum`) and `qkv_einsum` exists."""
