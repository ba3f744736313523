"""Checkpoints named as openpi's `serve_policy.py` names them: a config, and a folder or an address in its bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import logging
import os
from pathlib import Path
import tempfile
from typing import Any, Literal, get_args

from inspire_fast.checkpoints.assets import FOLDER
from inspire_fast.checkpoints.contract import FILE, Contract
from inspire_fast.checkpoints.importing import import_checkpoint
from inspire_fast.checkpoints.openpi_configs import OPENPI_CONFIGS
from inspire_fast.checkpoints.reading import find_step
from inspire_fast.core.registry import unknown_name
from inspire_fast.policy.policy import InspirePolicy, ServingOptions

logger = logging.getLogger(__name__)

Env = Literal["ALOHA", "ALOHA_SIM", "DROID", "LIBERO"]
# openpi's defaults of today are flow-matching networks; these were its defaults as long as they were pi0-FAST ones. For
# ALOHA it never published any.
DEFAULTS: Mapping[str, tuple[str, str]] = {
    "DROID": ("pi0_fast_droid", "gs://openpi-assets/checkpoints/pi0_fast_droid"),
    "LIBERO": ("pi0_fast_libero", "gs://openpi-assets/checkpoints/pi0_fast_libero"),
}


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """Where those of a checkpoint without a contract come from; see `import_checkpoint`."""

    text: Path | None = None
    action: str | None = None
    download: bool = False


def default_checkpoint(env: str) -> tuple[str, str]:
    """Config and address of an environment's default policy.

    Raises:
        ValueError: there is none for it.
    """
    if env not in get_args(Env):
        raise ValueError(unknown_name("environment", env, list(get_args(Env))))
    if env not in DEFAULTS:
        raise ValueError(
            f"There is no default policy for {env}: openpi's own is a flow-matching network, which this package does not "
            f"run, and it published no pi0-FAST one. There is one for {', '.join(DEFAULTS)}. Serve a checkpoint of yours with "
            "--checkpoint DIR, or policy:checkpoint --policy.config=... --policy.dir=DIR."
        )
    return DEFAULTS[env]


def load_openpi(
    directory: Path, config: str, *, tokenizers: Tokenizers | None = None, serving: ServingOptions | None = None
) -> InspirePolicy:
    """The policy of a checkpoint that was trained with a named config.

    A checkpoint with a contract is served by that, and the config must agree with it; one of openpi's is imported first, into
    a folder beside it that is gone when it is loaded and shares its files.

    Raises:
        FileNotFoundError: no checkpoint there, or a tokenizer is missing.
        KeyError: unknown config; suggests the closest.
        ValueError: the contract says otherwise than the config; or see `import_checkpoint`.
    """
    step, tokenizers = find_step(directory), tokenizers or Tokenizers()
    if (step / FOLDER / FILE).is_file():
        _require_unused(tokenizers, step)
        require_agreement(Contract.read(step / FOLDER), config, step)
        return InspirePolicy.load(step, serving=serving)
    _ = OPENPI_CONFIGS[config]  # before a folder is made
    beside = os.access(step.parent, os.W_OK)
    if not beside:
        logger.warning(
            "%s cannot be written: on another disk than its own, the checkpoint is copied first.", step.parent
        )
    with tempfile.TemporaryDirectory(prefix=".serving-", dir=step.parent if beside else None) as around:
        out = import_checkpoint(
            step,
            config,
            Path(around) / step.resolve().name,
            text_tokenizer=tokenizers.text,
            action_tokenizer=tokenizers.action,
            download=tokenizers.download,
        )
        return InspirePolicy.load(out, serving=serving)


def require_agreement(contract: Contract, config: str, step: Path) -> None:
    """Refuses a config that is not what a checkpoint was trained with.

    Raises:
        ValueError: says on which points they differ, or that nobody knows the config.
    """
    origins = [str(contract.config[key]) for key in ("name", "imported_from") if contract.config.get(key)]
    if config in origins:
        return
    known = [*dict.fromkeys((*origins, *OPENPI_CONFIGS))]
    if config not in OPENPI_CONFIGS:
        raise ValueError(unknown_name("config", config, known) + f" {step} needs none: it carries its own contract.")
    facts = OPENPI_CONFIGS[config]
    said: dict[str, tuple[Any, Any]] = {
        name: (getattr(contract, name), getattr(facts, name))
        for name in ("robot", "script", "horizon", "delta", "vocab_skip")
    }
    if differ := [f"{name} {ours!r}, not {theirs!r}" for name, (ours, theirs) in said.items() if ours != theirs]:
        raise ValueError(
            f"{step} was not trained with config {config!r}: its contract says {'; '.join(differ)}. It was made with "
            f"{' '.join(origins) or 'no named config'}; serve it with --checkpoint {step}, which asks for no config."
        )


def _require_unused(tokenizers: Tokenizers, step: Path) -> None:
    if tokenizers != Tokenizers():
        raise ValueError(
            f"{step} brings its tokenizers: --policy.text-tokenizer and the like would have no effect. Leave them out."
        )
