"""Initial parameters of a run: random, or read from a checkpoint one leaf at a time and straight onto the mesh."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
import zlib

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.contract import FILE as CONTRACT
from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.lerobot_importing import is_policy, skip_of
from inspire_fast.checkpoints.params.base import StoredParams, is_lora, require_finite, require_fit, wanted_by
from inspire_fast.checkpoints.reading import find_step, has_checkpoint, open_params
from inspire_fast.checkpoints.remote import local_path
from inspire_fast.core.console import command_line
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import ModelConfig
from inspire_fast.models.lora import A_STD
from inspire_fast.models.openpi.params import TABLE
from inspire_fast.models.pi0_fast import abstract_model
from inspire_fast.tokenizers.text.paligemma import VOCAB_SIZE as PALIGEMMA_IDS
from inspire_fast.training.config import PALIGEMMA_SKIP, TrainConfig
from inspire_fast.training.state import TrainState, init_state

logger = logging.getLogger(__name__)

_OURS = {theirs: ours for ours, theirs in TABLE.items()}


def check_initial(config: TrainConfig) -> None:
    """Checks that training can start from `config.init_from`, without reading an array; downloads an address first.

    Raises:
        FileNotFoundError: there is nothing, or it cannot be downloaded.
        ValueError: not the network's parameters (lists every difference), an incomplete copy, or weights that know
            other ids of actions.
    """
    if config.init_from is not None:
        _open(config.model, config.init_from)
        saw_actions(config)


def saw_actions(config: TrainConfig) -> bool:
    """Whether a run's weights were trained on actions, here or before: then the ids of actions are fixed.

    PaliGemma's `.npz` was not; a checkpoint of ours says so in its contract; of any other, openpi's among them, it is
    assumed.

    Raises:
        ValueError: the weights know other ids of actions than the run's.
    """
    own = any(config.script_of(part).acts for part in config.data.datasets) or config.build_script().acts
    known = config.init_from is not None and _source_saw_actions(config)
    return own or known


def warn_of_other_text(config: TrainConfig, vocabulary: Vocabulary) -> None:
    """Warns where weights of ours know another text tokenizer than the run's: every id would mean something else."""
    contract = None if config.init_from is None else _contract_of(local_path(config.init_from))
    if contract is not None and contract.text_fingerprint != vocabulary.text.fingerprint:
        logger.warning(
            "The weights of %s were trained with another text tokenizer than this run (hashes %s and %s): their words "
            "and locations have other ids here, and what they learnt of them is lost. Take theirs: `--tokenizers.text "
            "<their checkpoint's assets>`, then %s.",
            *(
                config.init_from,
                contract.text_fingerprint[:12],
                vocabulary.text.fingerprint[:12],
                command_line("fit_tokenizers"),
            ),
        )


def _source_saw_actions(config: TrainConfig) -> bool:
    path = local_path(config.init_from or "")
    if path.suffix == ".npz":
        return False
    contract = _contract_of(path)
    upstream = skip_of(path) if is_policy(path) else PALIGEMMA_SKIP
    saw, skip = (True, upstream) if contract is None else (contract.saw_actions, contract.vocab_skip)
    if saw and skip != config.skip and config.model.vocab_size == PALIGEMMA_IDS:
        usual = skip == PALIGEMMA_SKIP
        raise ValueError(
            f"tokenizers.vocab_skip={config.skip} gives actions other ids than the weights of {config.init_from} know: "
            f"they were trained on actions with {skip}"
            f"{', as openpi leaves the last ids of PaliGemma unused' if contract is None and usual else ''}. "
            f"{'Leave vocab_skip out' if usual else f'Set vocab_skip={skip}'}, or start from weights that never saw "
            "actions (PaliGemma's pt_224.npz, or a run of the script `ground` that began with it)."
        )
    return saw


def _contract_of(path: Path) -> Contract | None:
    """The contract beside parameters; None where there is none, as with openpi's."""
    if not path.is_dir() or not ((path / "_METADATA").is_file() or has_checkpoint(path)):
        return None
    step = path.parent if (path / "_METADATA").is_file() else find_step(path)
    return Contract.read(step / "assets") if (step / "assets" / CONTRACT).is_file() else None


def initial_state(config: TrainConfig, shardings: TrainState) -> TrainState:
    """The state before the first step: fresh parameters, or those of `config.init_from`; see `check_initial`.

    LoRA factors that the checkpoint lacks are fresh and do not change the network's function. Frozen leaves are read in
    `freeze.dtype`.

    Args:
        config: the run.
        shardings: sharding of every leaf of the state.
    """
    if config.init_from is None:
        return jax.jit(lambda: init_state(config), out_shardings=shardings)()
    placed: Any = traverse_util.flatten_dict(shardings.params, sep="/")
    params = _read(config, _open(config.model, config.init_from), placed)
    nested = traverse_util.unflatten_dict(params, sep="/")
    return jax.jit(lambda p: init_state(config, p), out_shardings=shardings, donate_argnums=0)(nested)


def _open(model: ModelConfig, source: str | Path) -> StoredParams:
    stored = open_params(local_path(source), model=model)
    wanted = wanted_by(abstract_model(model))
    has_lora = any(is_lora(path) for path in stored.leaves)
    require_fit(stored, wanted, may_lack=() if has_lora else [path for path in wanted if is_lora(path)])
    return stored


def _read(
    config: TrainConfig, stored: StoredParams, shardings: dict[str, jax.sharding.Sharding]
) -> dict[str, jax.Array]:
    """Every parameter by our path, with its sharding and in the dtype of the train state."""
    frozen = [path for path in stored.leaves if config.freeze.freezes(_OURS[path])]
    trained = [path for path in stored.leaves if path not in frozen]
    params: dict[str, jax.Array] = {}
    for paths, dtype in ((trained, config.trained_dtype), (frozen, config.freeze.dtype)):
        for path, array in stored.stream(jnp.dtype(dtype), paths):
            require_finite(stored, path, array)
            params[_OURS[path]] = _place(array, shardings[_OURS[path]])
            del array  # frees the memory before the next one is read
    shapes = wanted_by(abstract_model(config.model))
    for path in [path for path in shardings if path not in params]:
        params[path] = _place(_fresh_half(path, shapes[TABLE[path]].shape, config.seed), shardings[path])
    return params


def _fresh_half(path: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A LoRA factor like that of `models.lora` (A random, B zero), without compiling a program per shape."""
    rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
    half = rng.normal(scale=A_STD, size=shape) if path.endswith("_a") else np.zeros(shape)
    return half.astype(np.float32)


def _place(array: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    """The array on the mesh; each process hands over the slices of its own devices."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
