"""The network's golden cases: found by listing, built from their `info.json` alone, run by one program each.

A folder of `b_model` is of one of three kinds, told apart by what its `info.json` holds: full cases (text of given lengths,
cameras), end-token cases (a recipe of observations), and towers alone (a list).
"""

from dataclasses import replace
from functools import cached_property, lru_cache
import json
from pathlib import Path
import re

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.core.batch import TARGET_ACTION, Batch
from inspire_fast.models.config import GemmaConfig, LoraConfig, ModelConfig, SiglipConfig, siglip
from inspire_fast.models.layers import attention_mask
from inspire_fast.models.loss import loss, token_losses
from inspire_fast.models.openpi.params import load_openpi
from inspire_fast.models.openpi.sampling import forced_logits, sample
from inspire_fast.models.pi0_fast import Pi0Fast
from tests.golden.cases import cases, none, recipe

RECIPE = recipe()
KINDS = {"full": "total_lens", "end": "obs_recipe"}


def folders(kind: str) -> list:
    """Parameters for `pytest.mark.parametrize`: the folders of one kind; a single skipped one where there is none."""
    found = cases("b_model/*/info.json")
    if found[0].values[0] is None:
        return found
    infos = {param.values[0].parent: json.loads(param.values[0].read_text()) for param in found}
    chosen = [
        f for f, info in infos.items() if (kind == "tower" if isinstance(info, list) else KINDS.get(kind) in info)
    ]
    return [pytest.param(f, id=f.name) for f in chosen] or [none(f"no {kind} case among {[f.name for f in infos]}")]


def arrays(kind: str, known: str) -> list:
    """(folder, array name) of everything in the cases of a kind that a test knows how to check; no case may have nothing.

    Args:
        kind: of the folders.
        known: regular expression of the names.
    """
    pairs = []
    for param in folders(kind):
        folder = param.values[0]
        if folder is None:
            return [pytest.param(None, None, id="none", marks=param.marks)]
        names = [n for n in np.load(folder / "vectors.npz").files if re.fullmatch(known, n)]
        assert names, f"{folder}: nothing in its vectors.npz is checked"
        pairs += [pytest.param(folder, name, id=f"{folder.name}-{name}") for name in names]
    return pairs


def tower_config(stored: dict) -> SiglipConfig:
    """Of a stored `siglip`: a variant, and sizes that replace the variant's own."""
    names = {"width": "width", "depth": "depth", "mlp_dim": "mlp_dim", "num_heads": "heads"}
    own = {ours: stored[theirs] for theirs, ours in names.items() if stored.get(theirs)}
    return replace(siglip(stored["variant"]), **own)


def low_rank(stored: dict | None, *, unscaled: bool = False) -> LoraConfig | None:
    """Of a stored `lora` entry."""
    if not stored:
        return None
    return LoraConfig(
        rank=stored["rank"],
        alpha=stored.get("alpha", 1.0),
        rank_stabilised=stored.get("rslora", False),
        unscaled=unscaled,
    )


def model_config(info: dict, cameras: tuple[str, ...]) -> ModelConfig:
    """The architecture of a case. openpi does not scale feed-forward LoRA: the compatibility option is on."""
    g, lora = info["gemma"], info.get("lora") or {}
    language = GemmaConfig(
        width=g["width"],
        depth=g["depth"],
        mlp_dim=g["mlp_dim"],
        heads=g["num_heads"],
        kv_heads=g["num_kv_heads"],
        head_dim=g["head_dim"],
        norm_eps=g.get("norm_eps", 1e-6),
        lora_attention=low_rank(lora.get("attn")),
        lora_mlp=low_rank(lora.get("ffn"), unscaled=True),
    )
    return ModelConfig(
        vision=tower_config(info["siglip"]),
        language=language,
        vocab_size=g["vocab_size"],
        image_hw=tuple(info.get("image_hw", (224, 224))),
        cameras=cameras,
        dtype="float32",
        remat=g.get("remat_policy") or "none",
    )


def images_of(seed: int, cameras: tuple[str, ...], rows: int, hw: tuple[int, int]) -> dict[str, np.ndarray]:
    """float32 images in [-1, 1], as the vectors were made."""
    made = RECIPE.make_images(seed, cameras, rows, hw)
    return {name: image.astype(np.float32) / 255.0 * 2.0 - 1.0 for name, image in made.items()}


@jax.jit
def forward(model: Pi0Fast, batch: Batch) -> dict[str, jax.Array]:
    """Everything of the training pass under the vectors' names, in one program."""
    inputs = (batch.images, batch.image_mask, batch.ids, batch.valid, batch.block)
    x, valid, block = model.sequence(*inputs)
    hidden = model(*inputs)
    rows, behind = batch.ids.shape[0], jnp.arange(1, batch.ids.shape[1])
    every = replace(batch, target_at=jnp.broadcast_to(behind, (rows, behind.size)))
    nll, real = token_losses(model, batch).nll, batch.target_weight > 0
    return {
        "embed_tokens": x,
        "valid": valid,
        "block": block,
        "attn_mask": attention_mask(block, valid),
        "pre_logits_text": hidden[:, :-1],
        "logits_text": model.logits(hidden)[:, :-1],
        "token_nll": token_losses(model, every).nll,
        "loss": jnp.sum(nll * real, axis=1) / real.sum(axis=1),
        "mean_loss": loss(model, batch)[0],
    }


class Case:
    """One full case: its network and inputs, and what our code makes of them (computed once, when first asked for)."""

    def __init__(self, folder: Path) -> None:
        self.info = self.read_info(folder)
        self.z = np.load(folder / "vectors.npz")
        self.config = model_config(self.info, tuple(self.info["image_names"]))
        self.params = RECIPE.load_params(json.loads((folder / "params_manifest.json").read_text()))
        self.model = nnx.eval_shape(lambda: Pi0Fast(self.config, rngs=nnx.Rngs(0)))
        load_openpi(self.model, self.params)
        names, rows = self.config.cameras, self.info["batch"]
        self.images = images_of(self.info["image_seed"], names, rows, self.config.image_hw)
        shown = {name: np.ones(rows, bool) for name in names}
        for name, row in self.info.get("mask_off", []):
            shown[name][row] = False
        self.image_mask = {name: self.z.get(f"image_mask/{name}", shown[name]) for name in names}

    @staticmethod
    def read_info(folder: Path) -> dict:
        """What the vectors say of themselves."""
        return json.loads((folder / "info.json").read_text())

    def text(self, ids: str, mask: str) -> tuple:
        """Arguments of the network for a bidirectional prompt."""
        return self.images, self.image_mask, self.z[ids], self.z[mask], np.zeros(self.z[ids].shape, np.int32)

    def batch(self, ids: np.ndarray, valid: np.ndarray, causal: np.ndarray, supervised: np.ndarray) -> Batch:
        """Text with per-token flags as our loss takes it; as many targets as there are positions, so that shapes agree."""
        at, weight = np.zeros((len(ids), ids.shape[1]), np.int32), np.zeros(ids.shape, np.float32)
        for row, flags in enumerate(supervised):
            n = flags.sum()
            at[row, :n], weight[row, :n] = np.flatnonzero(flags), 1
        return Batch(
            images=self.images,
            image_mask=self.image_mask,
            ids=ids,
            valid=valid,
            block=np.cumsum(causal, axis=1).astype(np.int32),
            target_at=at,
            target_weight=weight,
            target_kind=np.where(weight > 0, TARGET_ACTION, 0).astype(np.int8),
        )

    @property
    def training(self) -> Batch:
        """The case's training inputs."""
        names = ("tokenized_prompt", "tokenized_prompt_mask", "token_ar_mask", "token_loss_mask")
        return self.batch(*(self.z[name] for name in names))

    @cached_property
    def prompt(self) -> tuple:
        """Arguments of the network for the case's inference prompt; a case of training alone has none."""
        return self.text("inf_tokenized_prompt", "inf_tokenized_prompt_mask")

    @cached_property
    def forward(self) -> dict[str, np.ndarray]:
        """See `forward`."""
        return jax.device_get(forward(self.model, self.training))

    def sampled(self, temperature: float, seed: int) -> np.ndarray:
        """Tokens in openpi's way."""
        steps = self.info["max_decoding_steps"]
        return np.asarray(
            sample(
                self.model,
                *self.prompt,
                max_decoding_steps=steps,
                temperature=temperature,
                key=jax.random.key(seed),
                openpi_decode=True,
            )
        )

    def decoded(self, *, openpi_decode: bool) -> np.ndarray:
        """Logits of the cached pass along the case's forced tokens."""
        room, forced = self.info["max_decoding_steps"], self.z["decode_forced_tokens"]
        return np.asarray(forced_logits(self.model, *self.prompt, forced, room=room, openpi_decode=openpi_decode))

    def continued(self) -> tuple[Batch, np.ndarray]:
        """The prompt and its forced tokens as one text for the training pass, and where each row's prompt ends."""
        ids, valid, forced = *self.prompt[2:4], self.z["decode_forced_tokens"]
        lengths = valid.sum(axis=1)
        size = max(ids.shape[1], int(lengths.max()) + forced.shape[1])
        position = np.arange(size)[None]
        text = np.pad(ids, ((0, 0), (0, size - ids.shape[1])))
        for row, n in enumerate(lengths):
            text[row, n : n + forced.shape[1]] = forced[row]
        causal = (position >= lengths[:, None]).astype(np.int32)
        return self.batch(text, position < lengths[:, None] + forced.shape[1], causal, causal > 0), lengths


@lru_cache(maxsize=1)
def case(folder: Path) -> Case:
    """The case of a folder; tests run case by case, so that one is held at a time."""
    return Case(folder)
