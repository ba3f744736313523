"""Loading of policies: from a folder, an address, a known name (shipped or published), or as openpi names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import logging
import os
from pathlib import Path
import tempfile
from typing import Any, Literal

from inspire_fast.checkpoints.assets import FOLDER
from inspire_fast.checkpoints.contract import FILE, Contract
from inspire_fast.checkpoints.importing import Tokenizers, import_checkpoint
from inspire_fast.checkpoints.lerobot_importing import is_policy
from inspire_fast.checkpoints.openpi_configs import OPENPI_CONFIGS
from inspire_fast.checkpoints.reading import find_step, has_checkpoint
from inspire_fast.checkpoints.remote import SHIPPED, is_address, local_path
from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.files import expanded
from inspire_fast.core.registry import require_choice, unknown_name
from inspire_fast.policy.policy import InspirePolicy, ServingOptions

logger = logging.getLogger(__name__)

Env = Literal["ALOHA", "ALOHA_SIM", "DROID", "LIBERO"]
# openpi's defaults of today are flow-matching networks; these were its defaults as long as they were pi0-FAST ones. For
# ALOHA it never published any.
DEFAULTS: Mapping[str, str] = {"DROID": "pi0_fast_droid", "LIBERO": "pi0_fast_libero"}
PUBLISHED: Mapping[str, str] = {
    name: OPENPI_CONFIGS[name].address for name in OPENPI_CONFIGS if OPENPI_CONFIGS[name].address
}
"""Address of every published checkpoint that `load_policy` knows by name."""
SHIPPED_DEFAULT = "inspire_acting"


def load_policy(
    checkpoint: str | Path,
    *,
    config: str | None = None,
    tokenizers: Tokenizers | None = None,
    serving: ServingOptions | None = None,
    cache_dir: Path | None = None,
) -> InspirePolicy:
    """A policy from a checkpoint of this package or of openpi's.

    Example:
        >>> import inspire_fast as ifa
        >>> policy = ifa.load_policy(checkpoint)  # a folder, "gs://...", "inspire_acting" or "pi0_fast_libero"
        >>> chunk = policy.infer(ifa.ROBOTS["libero"].fake_native())
        >>> chunk.actions.shape
        (10, 7)

    Args:
        checkpoint: folder of a step or of a run (then its latest step); address (`gs://...`), which is downloaded once
            into openpi's cache; or a name of `SHIPPED` or `PUBLISHED`.
        config: openpi config of the checkpoint. Published checkpoints imply it; a contract makes it needless.
        tokenizers: of an openpi checkpoint; by default the caches are searched.
        serving: storage types and drafts.
        cache_dir: openpi's cache; by default `OPENPI_DATA_HOME`, or `~/.cache/openpi`.

    Raises:
        KeyError: neither a folder nor a known name, or an unknown config; suggests the closest.
        FileNotFoundError: no checkpoint in the folder, a download failed, or a tokenizer is missing.
        ValueError: another format, an openpi checkpoint without `config`, or a contract that disagrees with it; says
            what is there.
    """
    with open_checkpoint(checkpoint, config=config, tokenizers=tokenizers, cache_dir=cache_dir) as step:
        return InspirePolicy.load(step, serving=serving)


@contextlib.contextmanager
def open_checkpoint(
    checkpoint: str | Path,
    *,
    config: str | None = None,
    tokenizers: Tokenizers | None = None,
    cache_dir: Path | None = None,
) -> Iterator[Path]:
    """The folder of a step with a contract; arguments and errors as of `load_policy`.

    A checkpoint of openpi's is imported first, into a temporary folder next to it that shares its files and is gone
    when the block ends.
    """
    source, implied = _find(checkpoint)
    folder, config = local_path(source, cache_dir), config or implied
    _require_no_policy_of_lerobots(source, folder)
    step = find_step(folder)
    if (step / FOLDER / FILE).is_file():
        if config is not None:
            _require_unused(tokenizers or Tokenizers(), step)
            require_agreement(Contract.read(step / FOLDER), config, step)
        yield step
        return
    if config is None:
        raise ValueError(
            f"{step} has parameters but no {FOLDER}/{FILE}: it is a checkpoint of openpi's. Give the config that it "
            f"was trained with, load_policy(..., config=NAME), one of: {', '.join(sorted(OPENPI_CONFIGS))}."
        )
    _ = OPENPI_CONFIGS[config]  # before a folder is made
    writable = os.access(step.parent, os.W_OK)
    if not writable:
        logger.warning(
            "%s cannot be written: on another disk than its own, the checkpoint is copied first.", step.parent
        )
    with tempfile.TemporaryDirectory(prefix=".serving-", dir=step.parent if writable else None) as around:
        yield import_checkpoint(step, config, Path(around) / step.resolve().name, tokenizers=tokenizers)


def _find(checkpoint: str | Path) -> tuple[str | Path, str | None]:
    """Path or address of a checkpoint, and the config of a published one."""
    if is_address(checkpoint):
        address = str(checkpoint)
        return address, next((name for name, published in PUBLISHED.items() if published == address.rstrip("/")), None)
    path = expanded(checkpoint)
    if not path.exists() and str(checkpoint) in SHIPPED:
        return SHIPPED[str(checkpoint)], None
    if not path.exists() and str(checkpoint) in PUBLISHED:
        return PUBLISHED[str(checkpoint)], str(checkpoint)
    if not path.exists() and len(path.parts) == 1:
        known = unknown_name("checkpoint", str(path), [*SHIPPED, *PUBLISHED])
        raise UnknownNameError(f"{known} A folder's path or gs://... works too.")
    if is_policy(path):
        return path, None  # `open_checkpoint` says what it is, as at an address
    foreign = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.suffix in _FOREIGN)
    if foreign and not has_checkpoint(path):  # a file may have been exported into a run's folder
        raise ValueError(
            f"{foreign[0]} is {_FOREIGN.get(foreign[0].suffix, 'a file')}, which cannot be loaded as a policy. "
            "Supported: the folder of a run or a step of this package, or of openpi's with its config. A .safetensors "
            "file that this package exported is made into one with `inspire-import --source FILE --out DIR`."
        )
    return path, None


def _require_no_policy_of_lerobots(source: str | Path, folder: Path) -> None:
    """Says what a LeRobot policy lacks to act here.

    Raises:
        ValueError: it is one.
    """
    if is_policy(folder) and not has_checkpoint(folder):
        raise ValueError(
            f"{source} is a LeRobot policy, whose files say neither whose arm it is nor which camera is which. Make it "
            f"a checkpoint first: inspire-import --source {source} --out DIR --robot NAME --cameras KEY CAMERA ..."
        )


_FOREIGN = {
    ".safetensors": "a safetensors file",
    ".bin": "a PyTorch file",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
}


def default_checkpoint(env: str) -> str:
    """Name of an environment's default checkpoint, one of `PUBLISHED`.

    Raises:
        ValueError: there is none for it.
    """
    require_choice("environment", env, Env)
    if env not in DEFAULTS:
        raise ValueError(
            f"There is no default policy for {env}: openpi's own is a flow-matching network, which this package does "
            f"not run, and it published no pi0-FAST one. There is one for {', '.join(DEFAULTS)}. Serve a checkpoint of "
            "yours with --checkpoint DIR, or policy:checkpoint --policy.config=... --policy.dir=DIR."
        )
    return DEFAULTS[env]


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
