"""The network against vectors made with openpi, array by array: training pass, openpi's decoding, our decoding.

Cases and arrays are found by listing; `info.json` alone describes them.
"""

from collections.abc import Callable
import json
from pathlib import Path
import re

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.layers import attention_mask, rope
from inspire_fast.models.openpi.params import TABLE, to_openpi
from inspire_fast.models.siglip import Siglip, add_attention, add_mlp
from tests.golden.cases import cases
from tests.golden.network_cases import RECIPE, Case, arrays, case, folders, forward, images_of, tower_config
from tests.models.params import network_of

SAMPLED = r"sample_greedy|sample_temp(\d+)p(\d+)_key(\d+)"


def largest_difference(ours: np.ndarray, expected: np.ndarray, atol: float) -> float:
    np.testing.assert_allclose(ours, expected, atol=atol, rtol=0)
    return float(np.abs(ours - expected).max())


def same_everywhere(c: Case, name: str) -> float:
    return largest_difference(c.forward[name], c.z[name], 1e-4)


def same_where_text_is(c: Case, name: str) -> float:
    """Only real tokens: predictions of padding are never used, and differ with the amount of padding."""
    real = c.z["tokenized_prompt_mask"][:, :-1]
    expected = c.z[name][real]
    # Hidden states are larger than logits, and so is their rounding.
    scale = max(1.0, float(np.abs(expected).max())) if name == "pre_logits_text" else 1.0
    return largest_difference(c.forward[name][real], expected, 1e-4 * scale)


def same_norms(c: Case, name: str) -> float:
    return largest_difference(np.linalg.norm(c.forward["embed_tokens"], axis=-1), c.z[name], 1e-4)


def same_valid(c: Case, name: str) -> None:
    np.testing.assert_array_equal(c.forward["valid"], c.z[name])


def same_blocks(c: Case, name: str) -> None:
    """Ours are blocks: the running count of their causal flags."""
    np.testing.assert_array_equal(c.forward["block"], np.cumsum(c.z[name], axis=1))


def same_mask(c: Case, name: str) -> None:
    np.testing.assert_array_equal(np.packbits(c.forward["attn_mask"], axis=-1), c.z[name])


def same_loss(c: Case, name: str) -> float:
    np.testing.assert_allclose(c.forward["mean_loss"], c.z[name].mean(), rtol=2e-5)
    np.testing.assert_allclose(c.forward["loss"], c.z[name], rtol=2e-5)
    return float(np.abs(c.forward["loss"] / c.z[name] - 1).max())


def same_decode_logits(c: Case, name: str) -> float:
    return largest_difference(c.decoded_by_openpi(), c.z[name], 1e-4)


def same_tokens(c: Case, name: str) -> None:
    whole, fraction, seed = re.fullmatch(SAMPLED, name).groups()
    tokens = c.sampled(float(f"{whole}.{fraction}") if whole else 0.0, int(seed or 0))
    np.testing.assert_array_equal(tokens, c.z[name])


def right_by_default(c: Case, name: str) -> float:
    """The cache agrees with the training pass, on the very inputs where openpi's does not."""
    batch, lengths = c.continued()
    logits = c.decoded()
    full = np.asarray(forward(c.model, batch)["logits_text"])
    n = c.z[name].shape[1]
    taught = np.stack([full[row, end - 1 : end - 1 + n] for row, end in enumerate(lengths)])
    if "decode_logits" in c.z:
        assert np.abs(taught - c.z["decode_logits"][:, :n])[:, 1:].max() > 1e-4
    return largest_difference(logits[:, :n], taught, 1e-5 * max(1.0, float(np.abs(taught).max())))


CHECKS = {
    "embed_tokens": same_everywhere,
    "embed_tokens_l2_per_token": same_norms,
    "input_mask": same_valid,
    "ar_mask": same_blocks,
    "attn_mask_packed": same_mask,
    "pre_logits_text": same_where_text_is,
    "logits_text": same_where_text_is,
    "token_nll": same_where_text_is,
    "loss": same_loss,
    "decode_logits": same_decode_logits,
    "decode_forced_tokens": right_by_default,
    SAMPLED: same_tokens,
}


@pytest.mark.parametrize(("folder", "name"), arrays("full", "|".join(CHECKS)))
def test_array(folder: Path, name: str, record_property: Callable[[str, object], None]) -> None:
    check = next(check for pattern, check in CHECKS.items() if re.fullmatch(pattern, name))
    difference = check(case(folder), name)
    record_property("largest difference", float(difference or 0))  # plain: it may cross a process


@pytest.mark.parametrize("path", cases("c_transforms*/attention_helpers.npz", "{0.parent.name}"))
def test_attention_mask_and_rope(path: Path) -> None:
    z = np.load(path)
    masks = [name.removeprefix("attn_mask_") for name in z.files if name.startswith("attn_mask_")]
    assert masks
    for name in masks:
        valid = jnp.asarray(z["attn_input_mask"])
        block = jnp.cumsum(jnp.broadcast_to(z[f"attn_ar_{name}"], valid.shape), axis=1)
        np.testing.assert_array_equal(attention_mask(block, valid), z[f"attn_mask_{name}"])
    np.testing.assert_allclose(rope(jnp.asarray(z["rope_x"]), jnp.asarray(z["rope_pos"])), z["rope_out"], atol=1e-5)


def towers() -> list:
    found = folders("tower")
    if found[0].values[0] is None:
        return [pytest.param(None, {}, id="none", marks=found[0].marks)]
    listed = [
        (p.values[0], stored)
        for p in found
        for stored in json.loads((p.values[0] / "info.json").read_text(encoding="utf-8"))
    ]
    return [pytest.param(folder, stored, id=stored["name"]) for folder, stored in listed]


@jax.jit
def tower_outputs(tower: Siglip, image: jax.Array) -> dict[str, jax.Array]:
    first = jax.tree.map(lambda w: w[0], nnx.to_pure_dict(nnx.state(tower.layers)))
    stem = tower.embed_patches(image, jnp.dtype("float32"))
    x = stem + tower.position[...]
    attended = add_attention(x, first)
    return {
        "stem": stem,
        "with_posemb": x,
        "block00_plus_sa": attended,
        "block00_plus_mlp": add_mlp(attended, first),
        "encoded": tower.encode(image, jnp.dtype("float32"))[:, ::4],
        "logits": tower(image, jnp.dtype("float32")),
    }


@pytest.mark.parametrize(("folder", "stored"), towers())
def test_the_tower_alone(folder: Path, stored: dict, record_property: Callable[[str, object], None]) -> None:
    hw = tuple(stored["image_hw"])
    config = tower_config(stored["siglip"])
    tower = nnx.eval_shape(lambda: Siglip(config, image_hw=hw, out_dim=stored["num_classes"], rngs=nnx.Rngs(0)))
    params = RECIPE.load_params(stored["params"])
    for path, variable in nnx.to_flat_state(nnx.state(tower)):
        variable.set_value(jnp.asarray(params.pop(TABLE["/".join(("vision", *map(str, path)))])))
    assert not params
    ours = tower_outputs(tower, images_of(stored["image_seed"], ("x",), 2, hw)["x"])
    z = np.load(folder / "vectors.npz")
    checked = 0
    for name in z.files:
        owner, _, what = name.partition("/")
        output, _, tokens = what.partition("_tok")
        if owner == stored["name"] and output in ours:
            first, last = map(int, tokens.split("_")) if tokens else (0, None)
            got = np.asarray(ours[output])[:, first:last]
            record_property(what, float(np.abs(got - z[name]).max()))
            np.testing.assert_allclose(got, z[name], atol=1e-4, rtol=0, err_msg=what)
            checked += 1
    assert checked


def test_the_mapping_and_every_mismatch_at_once() -> None:
    folder = folders("full")[0].values[0]
    if folder is None:
        pytest.skip("no full case to damage")
    c = case(folder)
    params = dict(c.params)
    for path, value in to_openpi(c.model).items():  # the mapping is its own inverse
        np.testing.assert_array_equal(value, params.pop(path))
    assert not params
    params = dict(c.params)
    gone, broken, whole = sorted(params)[:3]
    params["foreign"] = params.pop(gone)
    params["PaliGemma/llm/final_norm/scale"] = np.zeros(3)
    params[whole] = params[whole].astype(np.int32)
    words = rf"(?s)4 differences:.*dtype: {whole}.*missing: {gone}.*shape: .*final_norm.*unknown: foreign"
    with pytest.raises(ValueError, match=words):
        network_of(c.config, params)
    with pytest.raises(ValueError, match=f"{broken} in memory holds NaN"):
        network_of(c.config, {**c.params, broken: np.full_like(c.params[broken], np.nan)})
