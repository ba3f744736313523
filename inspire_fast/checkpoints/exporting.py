"""Export of checkpoints: to openpi as a folder that it loads, to others as a safetensors file.

<out>/params   in either of openpi's layouts
<out>/assets   <asset_id>/norm_stats.json as openpi reads it; also contract and tokenizers, which openpi ignores:
               the same folder is a checkpoint of this package
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from inspire_fast.checkpoints.assets import FOLDER, write_assets
from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.params.base import StoredParams, require_fit, selection, wanted_by
from inspire_fast.checkpoints.params.merged_lora import merged
from inspire_fast.checkpoints.params.orbax import ITEM, Layout, layout_of, write_params
from inspire_fast.checkpoints.params.safetensors import CONTRACT, write_safetensors
from inspire_fast.checkpoints.reading import find_step, open_params
from inspire_fast.core.files import StagedFolder, place
from inspire_fast.core.registry import require_choice
from inspire_fast.models.config import DType
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.models.openpi.params import TABLE
from inspire_fast.models.pi0_fast import abstract_model

Lora = Literal["keep", "merge", "only"]
# What openpi trains of a LoRA network: the halves, and the image tower.
_TRAINED = FreezeConfig(what="language")


def export_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    layout: Layout = "released",
    dtype: DType | None = None,
    lora: Lora = "keep",
    base: Path | None = None,
    copy: bool = False,
) -> Path:
    """Writes a folder that openpi loads, and this package as well.

    Args:
        checkpoint: a step of ours, or a run, whose latest step counts.
        out: the new folder.
        layout: see `checkpoints.params.orbax`; openpi reads both.
        dtype: of the parameters; None keeps the stored one. Then, and if nothing else changes, files are linked.
        lora: `merge` adds the updates to their weights, so that a full network computes the same; `only` writes what
            was trained (halves and image tower) and leaves the base to be found elsewhere.
        base: where leaves come from that the checkpoint lacks.
        copy: copy files instead of linking them.

    Returns:
        `out`.

    Raises:
        FileNotFoundError: no checkpoint, or one without a contract.
        FileExistsError: `out` exists.
        ValueError: the parameters are not the contract's, or truncated; nothing to merge; an unknown choice.
    """
    step = find_step(checkpoint)
    params, contract = exported(step, lora, base)
    vocabulary = contract.load_vocabulary(step / FOLDER)
    with StagedFolder(out) as folder:
        if lora == "keep" and base is None and dtype is None and layout_of(step) == layout:
            place(step / ITEM, folder / ITEM, copy=copy)
        else:
            write_params(folder, dict(params.stream(_dtype(dtype))), layout=layout)
        write_assets(folder / FOLDER, contract, vocabulary)
    return out


def export_safetensors(
    checkpoint: Path, file: Path, *, dtype: DType | None = None, lora: Lora = "keep", base: Path | None = None
) -> Path:
    """Writes one file with openpi's names, and the contract in its metadata; arguments as of `export_checkpoint`.

    One array at a time is in memory. The tokenizers are not in the file: see `import_safetensors`.
    """
    params, contract = exported(find_step(checkpoint), lora, base)
    return write_safetensors(file, params, dtype=_dtype(dtype), metadata={CONTRACT: contract.to_json()})


def exported(step: Path, lora: Lora, base: Path | None) -> tuple[StoredParams, Contract]:
    """What is to be written of a step, and the contract that holds for it; arguments as of `export_checkpoint`.

    Raises:
        FileNotFoundError: no contract.
        ValueError: the parameters are not the contract's; nothing to merge or to leave out; an unknown choice.
    """
    require_choice("choice for LoRA", lora, Lora)
    contract = Contract.read(step / FOLDER)
    params = open_params(step, base=base)
    require_fit(params, wanted_by(abstract_model(contract.model)))
    if lora == "only":
        if not contract.model.language.has_lora:
            raise ValueError(f"{step} has no LoRA; there is nothing that a base could complete.")
        return selection(params, [t for o, t in TABLE.items() if not _TRAINED.freezes(o)]), contract
    if lora == "merge":
        model = replace(contract.model, language=contract.model.language.without_lora())
        return merged(params, contract.model.language), replace(contract, model=model)
    return params, contract


def _dtype(name: DType | None) -> jnp.dtype | None:
    return None if name is None else jnp.dtype(name)
