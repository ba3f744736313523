"""Merging low-rank updates into their weights: the same function as a network without LoRA."""

from __future__ import annotations

from dataclasses import replace

from inspire_fast.models.lora import ROUTES, merged_weight, update_of
from inspire_fast.models.openpi.params import flat_params
from inspire_fast.models.pi0_fast import Pi0Fast, abstract_model

_LAYERS = "language/layers"


def merge_lora(model: Pi0Fast) -> Pi0Fast:
    """The network without LoRA that computes the same as `model`, to rounding.

    Weights without an update are shared with `model`, not copied; merged ones keep their dtype (in bfloat16, the update
    is rounded with its weight).

    Raises:
        ValueError: the network has no LoRA.
    """
    language = model.config.language
    if not language.has_lora:
        raise ValueError("There is nothing to merge: the network has no LoRA (lora_attention and lora_mlp are None).")
    merged = abstract_model(replace(model.config, language=language.without_lora()))
    ours = {path: variable.get_value() for path, variable in flat_params(model).items()}
    for path, variable in flat_params(merged).items():
        weight = path.removeprefix(f"{_LAYERS}/")
        update = update_of(language, weight) if path.startswith(_LAYERS) else None
        if update is None:
            variable.set_value(ours[path])
            continue
        a, b = (ours[f"{_LAYERS}/lora/{weight}_{half}"] for half in "ab")
        route = ROUTES[weight]
        variable.set_value(merged_weight(ours[path], a, b, route=route, scale=update.scale))
    return merged
