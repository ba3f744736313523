"""Golden cases of the network: found by listing, built from their `info.json` alone, run by one program each.

The `info.json` of a folder of `b_model` shows which of three kinds it is: a full case (text of given lengths, cameras),
an end-token case (a recipe of observations), or towers alone (a list).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache, partial
import json
from pathlib import Path
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.core.batch import TARGET_ACTION, Batch
from inspire_fast.models.config import GemmaConfig, LoraConfig, ModelConfig, SiglipConfig
from inspire_fast.models.inference.build import build
from inspire_fast.models.inference.model import InferenceModel, logits
from inspire_fast.models.layers import attention_mask
from inspire_fast.models.loss import loss, token_losses
from inspire_fast.models.openpi.decode import Prompt, prefill, sample, step
from inspire_fast.models.pi0_fast import Pi0Fast
from tests.golden.cases import cases, none, recipe
from tests.models.params import network_of

# big_vision's towers (Zhai et al. 2021, "Scaling vision transformers", table 2): width, depth, MLP width, heads.
TOWERS = {"mu": (32, 1, 128, 2), "Ti": (192, 12, 768, 3), "So400m": (1152, 27, 4304, 16)}
RECIPE = recipe()
KINDS = {"full": "total_lens", "end": "obs_recipe"}


def folders(kind: str) -> list:
    """Parameters for `pytest.mark.parametrize`: the folders of one kind; a single skipped one where there is none."""
    found = cases("b_model/*/info.json")
    if found[0].values[0] is None:
        return found
    infos = {param.values[0].parent: json.loads(param.values[0].read_text(encoding="utf-8")) for param in found}
    chosen = [
        f for f, info in infos.items() if (kind == "tower" if isinstance(info, list) else KINDS.get(kind) in info)
    ]
    return [pytest.param(f, id=f.name, marks=_large(infos[f])) for f in chosen] or [
        none(f"no {kind} case among {[f.name for f in infos]}")
    ]


def _large(info: Any) -> list[Any]:
    """A tower of 400M parameters takes half a minute; what differs from the small one is its numbers alone."""
    return [pytest.mark.slow] if isinstance(info, dict) and "So400m" in info["siglip"]["variant"] else []


def arrays(kind: str, known: str) -> list:
    """(folder, array name) of all arrays of a kind that a test knows how to check; every case must have one.

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
        pairs += [pytest.param(folder, name, id=f"{folder.name}-{name}", marks=param.marks) for name in names]
    return pairs


def tower_config(stored: dict) -> SiglipConfig:
    """Of a stored `siglip`: a variant, and sizes that replace the variant's own."""
    size, _, patch = stored["variant"].partition("/")
    names = {"width": "width", "depth": "depth", "mlp_dim": "mlp_dim", "num_heads": "heads"}
    sizes = dict(zip(names.values(), TOWERS[size], strict=True))
    own = {ours: stored[theirs] for theirs, ours in names.items() if stored.get(theirs)}
    return SiglipConfig(patch=int(patch), **{**sizes, **own})


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


class Read:
    """A network that has read its inputs: losses of the same text take no second pass."""

    def __init__(self, hidden: jax.Array, model: Pi0Fast) -> None:
        self.hidden, self.scores = hidden, model.scores

    def __call__(self, *inputs: object) -> jax.Array:
        return self.hidden


@jax.jit
def forward(model: Pi0Fast, batch: Batch) -> dict[str, jax.Array]:
    """Everything of the training pass under the vectors' names, in one program."""
    x, valid, block = model.sequence(batch.images, batch.image_mask, batch.ids, batch.valid, batch.block)
    hidden = model.read(x, valid, block)
    rows, after = batch.ids.shape[0], jnp.arange(1, batch.ids.shape[1])
    every = replace(batch, target_at=jnp.broadcast_to(after, (rows, after.size)))
    read = Read(hidden, model)
    nll, real = token_losses(read, batch).nll, batch.target_weight > 0
    return {
        "embed_tokens": x,
        "valid": valid,
        "block": block,
        "attn_mask": attention_mask(block, valid),
        "pre_logits_text": hidden[:, :-1],
        "logits_text": model.logits(hidden)[:, :-1],
        "token_nll": token_losses(read, every).nll,
        "loss": jnp.sum(nll * real, axis=1) / real.sum(axis=1),
        "mean_loss": loss(read, batch)[0],
    }


def follow(
    read: Callable[[object, jax.Array], tuple[jax.Array, object]], logits: jax.Array, cache: object, forced: jax.Array
) -> jax.Array:
    """Logits `[b, k + 1, v]` before the first and after each of the forced ids `[b, k]`, read one at a time."""

    def read_one(cache: object, ids: jax.Array) -> tuple[object, jax.Array]:
        logits, cache = read(cache, ids)
        return cache, logits

    _, after = jax.lax.scan(read_one, cache, forced.astype(jnp.int32).T)
    return jnp.concatenate([logits[:, None], after.swapaxes(0, 1)], axis=1)


@jax.jit
def cached_logits(model: InferenceModel, prompt: Prompt, forced: jax.Array) -> jax.Array:
    """Along forced ids, by the decoder that policies use."""
    head, lengths = model.head(jnp.arange(model.config.vocab_size)), prompt.valid.sum(axis=1)

    def read(cache: object, ids: jax.Array) -> tuple[jax.Array, object]:
        hidden, cache = model.extend(cache, ids[:, None], jnp.ones_like(ids))
        return logits(hidden[:, 0], head), cache

    hidden, cache = model.prefill(
        model.embed_images(prompt.images),
        prompt.image_mask,
        prompt.ids,
        lengths,
        jnp.zeros_like(prompt.ids),
        prompt.ids.shape[1] + forced.shape[1],
        lengths[:, None] - 1,
    )
    return follow(read, logits(hidden[:, 0], head), cache, forced)


@partial(jax.jit, static_argnames="most")
def openpi_logits(model: Pi0Fast, prompt: Prompt, forced: jax.Array, *, most: int) -> jax.Array:
    """Along forced ids, by openpi's decoding for `most` ids."""
    read = partial(step, model, max_decoding_steps=most)
    return follow(read, *prefill(model, prompt, max_decoding_steps=most), forced)


compiled_sample = jax.jit(sample, static_argnames="max_decoding_steps")


class Case:
    """One full case: its network and inputs, and what our code makes of them (computed once, when first asked for)."""

    def __init__(self, folder: Path) -> None:
        self.info = self.read_info(folder)
        self.z = np.load(folder / "vectors.npz")
        self.config = model_config(self.info, tuple(self.info["image_names"]))
        self.params = RECIPE.load_params(json.loads((folder / "params_manifest.json").read_text(encoding="utf-8")))
        self.model = network_of(self.config, self.params)
        names, rows = self.config.cameras, self.info["batch"]
        self.images = images_of(self.info["image_seed"], names, rows, self.config.image_hw)
        shown = {name: np.ones(rows, bool) for name in names}
        for name, row in self.info.get("mask_off", []):
            shown[name][row] = False
        self.image_mask = {name: self.z.get(f"image_mask/{name}", shown[name]) for name in names}

    @staticmethod
    def read_info(folder: Path) -> dict:
        """What the vectors say of themselves."""
        return json.loads((folder / "info.json").read_text(encoding="utf-8"))

    def batch(self, ids: np.ndarray, valid: np.ndarray, causal: np.ndarray, supervised: np.ndarray) -> Batch:
        """Text with per-token flags as our loss takes it, with a target per position, so that shapes agree."""
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
    def prompt(self) -> Prompt:
        """The case's inference prompt; a case of training alone has none."""
        ids, valid = (self.z[name] for name in ("inf_tokenized_prompt", "inf_tokenized_prompt_mask"))
        return Prompt(images=self.images, image_mask=self.image_mask, ids=ids, valid=valid)

    @cached_property
    def forward(self) -> dict[str, np.ndarray]:
        """See `forward`."""
        return jax.device_get(forward(self.model, self.training))

    def sampled(self, temperature: float, seed: int) -> np.ndarray:
        """Tokens in openpi's way."""
        steps = self.info["max_decoding_steps"]
        return np.asarray(
            compiled_sample(
                self.model,
                self.prompt,
                max_decoding_steps=steps,
                temperature=temperature,
                key=jax.random.key(seed),
            )
        )

    def decoded(self) -> np.ndarray:
        """Logits of our cached decoding along the case's forced tokens."""
        return np.asarray(cached_logits(build(self.model), self.prompt, self.z["decode_forced_tokens"]))

    def decoded_by_openpi(self) -> np.ndarray:
        """Logits of openpi's cached decoding along the case's forced tokens."""
        most, forced = self.info["max_decoding_steps"], self.z["decode_forced_tokens"]
        return np.asarray(openpi_logits(self.model, self.prompt, forced, most=most))

    def continued(self) -> tuple[Batch, np.ndarray]:
        """The prompt and its forced tokens as one text for the training pass, and where each row's prompt ends."""
        arrays = self.prompt.ids, self.prompt.valid, self.z["decode_forced_tokens"]
        ids, valid, forced = map(np.asarray, arrays)
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
