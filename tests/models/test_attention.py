"""Masks drawn, attention against plain NumPy in float64, and its probabilities on request."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS, LoraConfig
from inspire_fast.models.inference.attention_maps import attention_maps
from inspire_fast.models.layers import attention_mask, cache_mask
from inspire_fast.models.openpi.params import to_openpi
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.sequence import image_token_mask
from inspire_fast.models.testing import random_images, random_model
from tests.models.params import network_of

TEST = PRESETS["test"]
LORA = LoraConfig(rank=2, alpha=4.0)
GQA = replace(TEST, language=replace(TEST.language, kv_heads=2, lora_attention=LORA))
MODEL = random_model(GQA)
IMAGES = random_images(GQA, 2)
# The masked cameras' tokens come after the shown ones in row 0 and before them in row 1.
SHOWN = {"base_0_rgb": np.array([True, False]), "left_wrist_0_rgb": np.array([False, True])}
IDS = np.random.default_rng(1).integers(0, GQA.vocab_size, (2, 5)).astype(np.int32)
VALID = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
BLOCK = np.array([[0, 0, 1, 2, 2], [0, 1, 2, 2, 3]], np.int32)
INPUTS = jax.tree.map(jnp.asarray, (IMAGES, SHOWN, IDS, VALID, BLOCK))


@settings(deadline=None)
@given(st.data())
def test_a_mask_is_what_its_words_say(data: st.DataObject) -> None:
    """A token sees its own block and those before it; padding neither sees nor is seen."""
    n = data.draw(st.integers(1, 7))
    causal = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    valid = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    block = np.cumsum(causal)
    mask = np.asarray(attention_mask(jnp.array(block[None]), jnp.array([valid])))[0]
    for query in range(n):
        for key in range(n):
            # In words of causal flags: no causal token comes after the query, up to the key.
            sees = not any(causal[query + 1 : key + 1])
            assert mask[query, key] == (sees and valid[query] and valid[key])


def test_the_masks_are_as_drawn() -> None:
    """The drawings of the docstrings."""
    mask = attention_mask(jnp.array([[0, 0, 1, 2]]), jnp.array([[True, True, True, False]]))
    assert mask[0].astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    mask = cache_mask(jnp.array([[3, 3, 4]]), jnp.array([[1, 0, 1, 1, 1, 1]], bool))
    assert mask[0].astype(int).tolist() == [[1, 0, 1, 1, 0, 0], [1, 0, 1, 1, 0, 0], [1, 0, 1, 1, 1, 0]]
    two_tokens = replace(TEST, image_hw=(8, 16), cameras=("a", "b"))
    shown = {"b": jnp.array([False]), "a": jnp.array([True])}
    assert image_token_mask(shown, two_tokens).astype(int).tolist() == [[1, 1, 0, 0]]


def rotated(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    half = x.shape[-1] // 2
    z = x[..., :half] + 1j * x[..., half:]
    z = z * np.exp(1j * positions[:, None, None] / 10_000 ** (np.arange(half) / half))
    return np.concatenate([z.real, z.imag], axis=-1)


def by_hand(row: int) -> tuple[np.ndarray, np.ndarray]:
    """One row in float64, head by head: probabilities `[d, n, s, s]` and the final hidden states `[s, w]`."""
    x, valid, block = (np.asarray(a)[row] for a in MODEL.sequence(*INPUTS))
    mask = (block[None, :] <= block[:, None]) & valid[None] & valid[:, None]
    p = {path: np.asarray(a, np.float64) for path, a in to_openpi(MODEL).items()}
    llm, c = "PaliGemma/llm/layers", GQA.language

    def norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-6) * (1 + scale)

    def weight(name: str, layer: int) -> np.ndarray:
        base, a, b = (p[f"{llm}/attn/{name}/{part}"][layer] for part in ("w", "lora_a", "lora_b"))
        # The output's halves: A over heads and head width at once, B summed over heads.
        b = np.broadcast_to(b.sum(0), b.shape) if name == "attn_vec_einsum" else b
        return base + LORA.alpha / LORA.rank * a @ b

    x, maps = x.astype(np.float64), []
    for layer in range(c.depth):
        y = norm(x, p[f"{llm}/pre_attention_norm/scale"][layer])
        q = rotated(np.einsum("lw,nwh->lnh", y, weight("q_einsum", layer)), np.arange(len(x)))
        k, v = np.einsum("lw,cgwh->clgh", y, weight("kv_einsum", layer))
        k = rotated(k, np.arange(len(x)))
        probabilities = np.zeros((c.heads, len(x), len(x)))
        for head in range(c.heads):
            shared = head // (c.heads // c.kv_heads)
            logits = np.where(mask, q[:, head] @ k[:, shared].T / c.head_dim**0.5, -np.inf)
            seen = mask.any(1)
            e = np.exp(logits[seen] - logits[seen].max(1, keepdims=True))
            probabilities[head, seen] = e / e.sum(1, keepdims=True)
            x = x + probabilities[head] @ v[:, shared] @ weight("attn_vec_einsum", layer)[head]
        maps.append(probabilities)
        y = norm(x, p[f"{llm}/pre_ffw_norm/scale"][layer])
        gate, up = np.einsum("lw,cwf->clf", y, p[f"{llm}/mlp/gating_einsum"][layer])
        gelu = 0.5 * gate * (1 + np.tanh((2 / np.pi) ** 0.5 * (gate + 0.044715 * gate**3)))
        x = x + (gelu * up) @ p[f"{llm}/mlp/linear"][layer]
    return np.stack(maps), norm(x, p["PaliGemma/llm/final_norm/scale"])


def test_maps_and_hidden_states_are_those_by_hand() -> None:
    queries = np.array([[0, 3, 8, 11], [5, 7, 9, 12]])  # of images, masked images, text; rows differ
    maps, hidden = jax.jit(lambda m, *a: (attention_maps(m, *a, layers=(1, 0), queries=queries), m(*a)))(MODEL, *INPUTS)
    assert maps.shape == (2, 2, GQA.language.heads, 4, GQA.image_tokens + IDS.shape[1])
    for row in range(2):
        expected, states = by_hand(row)
        np.testing.assert_allclose(maps[:, row], expected[::-1][:, :, queries[row]], atol=1e-5)
        real = VALID[row]
        np.testing.assert_allclose(hidden[row][real], states[GQA.image_tokens :][real], atol=2e-5)
    _, valid, block = MODEL.sequence(*INPUTS)
    mask = np.take_along_axis(np.asarray(attention_mask(block, valid)), queries[..., None], axis=1)
    sums, seen = np.asarray(maps).sum(-1), np.asarray(mask.any(-1))[None, :, None]
    np.testing.assert_allclose(sums, np.broadcast_to(seen, sums.shape), atol=1e-6)
    assert not np.where(mask[None, :, None], 0, maps).any()


def test_layers_and_queries_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Layers \[0, 2\] are not among the network's 0\.\.1"):
        attention_maps(MODEL, *INPUTS, layers=(0, 2), queries=[0])
    with pytest.raises(ValueError, match=r"Layers \[\]"):
        attention_maps(MODEL, *INPUTS, layers=(), queries=[0])
    with pytest.raises(ValueError, match=r"not all positions of the sequence, 0\.\.12"):
        attention_maps(MODEL, *INPUTS, layers=(0,), queries=[13])


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_shared_heads_are_repeated_heads(kv_heads: int) -> None:
    """MQA and GQA, LoRA included, equal the MHA network that has each shared head as often as it is used."""
    shared = replace(GQA, language=replace(GQA.language, kv_heads=kv_heads))
    arrays = {path: np.asarray(a) for path, a in to_openpi(random_model(shared)).items()}
    for part in ("w", "lora_a", "lora_b"):
        q, kv = (arrays.pop(f"PaliGemma/llm/layers/attn/{name}_einsum/{part}") for name in ("q", "kv"))
        kv = np.repeat(kv, q.shape[1] // kv_heads, axis=2)
        arrays[f"PaliGemma/llm/layers/attn/qkv_einsum/{part}"] = np.concatenate([q[:, None], kv], axis=1)
    whole = network_of(replace(GQA, language=replace(GQA.language, kv_heads=GQA.language.heads)), arrays)
    other = random_model(shared)
    np.testing.assert_allclose(run(whole), run(other), atol=1e-5)


def run(model: Pi0Fast) -> np.ndarray:
    return np.asarray(jax.jit(lambda m: m(*INPUTS))(model))[VALID]
