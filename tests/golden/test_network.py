"""The network against vectors made with openpi itself: embeddings, logits, loss, SigLIP alone, full-size trees.

Cases are found by listing the folders; a run that finds none fails.
"""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.core.batch import TARGET_ACTION, Batch
from inspire_fast.models.config import GEMMA_2B, GemmaConfig, ModelConfig, SiglipConfig
from inspire_fast.models.layers import attention_mask, rope
from inspire_fast.models.loss import loss
from inspire_fast.models.openpi import TABLE, load_openpi, to_openpi
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.siglip import Siglip

GOLDEN = Path(os.environ.get("INSPIRE_FAST_GOLDEN", Path(__file__).parent))
VARIANTS = {  # big_vision's names: width, depth, MLP, heads
    "mu": (32, 1, 128, 2),
    "Ti": (192, 12, 768, 3),
    "So400m": (1152, 27, 4304, 16),
}


def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", GOLDEN / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = recipe()


def siglip(stored: dict) -> SiglipConfig:
    name, patch = stored["variant"].split("/")
    width, depth, mlp_dim, heads = VARIANTS[name]
    return SiglipConfig(patch=int(patch), width=width, depth=stored.get("depth", depth), mlp_dim=mlp_dim, heads=heads)


def full_cases() -> list[Path]:
    found = [p.parent for p in sorted((GOLDEN / "b_model").glob("*/params_manifest.json"))]
    infos = {p: json.loads((p / "info.json").read_text()) for p in found}
    return [p for p, info in infos.items() if "image_names" in info and not info.get("lora")]


CASES = full_cases()


def test_there_are_cases() -> None:
    assert CASES, f"no vectors below {GOLDEN}"


class Case:
    def __init__(self, folder: Path) -> None:
        self.info = json.loads((folder / "info.json").read_text())
        self.z = np.load(folder / "vectors.npz")
        g = self.info["gemma"]
        language = GemmaConfig(
            width=g["width"],
            depth=g["depth"],
            mlp_dim=g["mlp_dim"],
            heads=g["num_heads"],
            kv_heads=g["num_kv_heads"],
            head_dim=g["head_dim"],
        )
        names = tuple(self.info["image_names"])
        config = ModelConfig(
            vision=siglip(self.info["siglip"]),
            language=language,
            vocab_size=g["vocab_size"],
            cameras=names,
            dtype="float32",
        )
        self.model = nnx.eval_shape(lambda: Pi0Fast(config, rngs=nnx.Rngs(0)))
        self.params = RECIPE.load_params(json.loads((folder / "params_manifest.json").read_text()))
        load_openpi(self.model, self.params)
        images = RECIPE.make_images(self.info["image_seed"], names, self.info["batch"])
        self.images = {k: v.astype(np.float32) / 255 * 2 - 1 for k, v in images.items()}
        self.image_mask = {name: self.z[f"image_mask/{name}"] for name in names}

    @property
    def batch(self) -> Batch:
        ids, loss_mask = self.z["tokenized_prompt"], self.z["token_loss_mask"]
        k = int(loss_mask.sum(1).max())
        at, weight = np.zeros((len(ids), k), np.int32), np.zeros((len(ids), k), np.float32)
        for row, flags in enumerate(loss_mask):
            n = flags.sum()
            at[row, :n], weight[row, :n] = np.flatnonzero(flags), 1
        return Batch(
            images=self.images,
            image_mask=self.image_mask,
            ids=ids,
            valid=self.z["tokenized_prompt_mask"],
            block=np.cumsum(self.z["token_ar_mask"], axis=1).astype(np.int32),
            target_at=at,
            target_weight=weight,
            target_kind=np.where(weight > 0, TARGET_ACTION, 0).astype(np.int8),
        )


@pytest.fixture(scope="module", params=CASES, ids=lambda p: p.name)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_embeddings(case: Case) -> None:
    images = case.model.embed_images(case.images)
    text = case.model.language.embed(jnp.asarray(case.z["tokenized_prompt"]), jnp.float32)
    np.testing.assert_allclose(jnp.concatenate([images, text], 1), case.z["embed_tokens"], atol=1e-4)


def test_logits(case: Case) -> None:
    b = case.batch
    hidden = case.model(b.images, b.image_mask, b.ids, b.valid, b.block)
    logits = np.asarray(case.model.logits(hidden))[:, :-1]
    real = case.z["tokenized_prompt_mask"][:, :-1]
    np.testing.assert_allclose(logits[real], case.z["logits_text"][real], atol=1e-4)


def test_loss(case: Case) -> None:
    b = case.batch
    for row, expected in enumerate(case.z["loss"]):
        one = jax.tree.map(lambda x, row=row: x[row : row + 1], b)
        np.testing.assert_allclose(loss(case.model, one)[0], expected, rtol=2e-5)


def test_mapping_is_its_own_inverse(case: Case) -> None:
    ours = to_openpi(case.model)
    assert set(ours) == set(case.params)
    for path, value in case.params.items():
        np.testing.assert_array_equal(ours[path], value)


def test_attention_mask_and_rope() -> None:
    z = np.load(GOLDEN / "c_transforms" / "attention_helpers.npz")
    valid = z["attn_input_mask"]
    for name in ("0", "1", "2", "b"):
        ar = np.broadcast_to(z[f"attn_ar_{name}"], valid.shape)
        mask = attention_mask(np.cumsum(ar, axis=1), valid)
        np.testing.assert_array_equal(mask, z[f"attn_mask_{name}"])
    np.testing.assert_allclose(rope(z["rope_x"], z["rope_pos"]), z["rope_out"], atol=1e-5)


SIGLIP = json.loads((GOLDEN / "b_model" / "siglip" / "info.json").read_text())


@pytest.mark.parametrize("stored", SIGLIP, ids=lambda c: c["name"])
def test_siglip_alone(stored: dict) -> None:
    z = np.load(GOLDEN / "b_model" / "siglip" / "vectors.npz")
    hw = tuple(stored["image_hw"])
    tower = Siglip(siglip(stored["siglip"]), image_hw=hw, out_dim=stored["num_classes"], rngs=nnx.Rngs(0))
    params = RECIPE.load_params(stored["params_manifest"] if "params_manifest" in stored else stored["params"])
    for path, upstream in TABLE.items():
        if path.startswith("vision/"):
            owner, leaf = tower, path.removeprefix("vision/")
            if leaf.startswith("layers/"):
                owner, leaf = tower.layers, leaf.removeprefix("layers/")
            getattr(owner, leaf).set_value(jnp.asarray(params[upstream]))
    image = RECIPE.make_images(stored["image_seed"], ("x",), 2, hw)["x"].astype(np.float32) / 255 * 2 - 1
    np.testing.assert_allclose(tower(image, jnp.dtype("float32")), z[f"{stored['name']}/logits"], atol=1e-4)


def test_the_full_size_tree_is_upstreams() -> None:
    contract = Path(__file__).parents[2] / "third_party" / "openpi"
    stored = json.loads((contract / "param_tree_gemma_2b.json").read_text())
    shapes = {p: v.shape for p, v in to_openpi(nnx.eval_shape(lambda: Pi0Fast(GEMMA_2B, rngs=nnx.Rngs(0)))).items()}
    assert shapes == {leaf["path"]: tuple(leaf["shape"]) for leaf in stored["leaves"]}


def test_every_mismatch_is_listed_at_once() -> None:
    case = Case(CASES[0])
    params = dict(case.params)
    gone = next(iter(params))
    params["foreign"] = params.pop(gone)
    params["PaliGemma/llm/final_norm/scale"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"(?s)missing: .*shape: .*final_norm.*unknown: foreign") as caught:
        load_openpi(case.model, params)
    assert gone in str(caught.value)
