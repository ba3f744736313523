"""Checkpoints, read: `<run>/<step>/{params, train_state, assets}` in openpi's layout, a contract in `assets`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import StoredParams, fill, overlay
from inspire_fast.checkpoints.params.npz import open_npz
from inspire_fast.checkpoints.params.orbax import ITEM, open_orbax
from inspire_fast.checkpoints.params.safetensors import open_safetensors
from inspire_fast.models.config import DType, ModelConfig
from inspire_fast.models.pi0_fast import Pi0Fast, abstract_model


def find_step(directory: Path) -> Path:
    """A step's folder: `directory` itself, the one whose `params` it is, or the latest step below it.

    Raises:
        FileNotFoundError: neither is a checkpoint; lists what is there.
    """
    if (directory / ITEM).is_dir():
        return directory
    if directory.name == ITEM and directory.is_dir():
        return directory.parent
    steps = _steps(directory)
    if directory.is_file():
        raise FileNotFoundError(f"No checkpoint at {directory}: it is a file; expected the folder of a step or a run.")
    if not steps:
        here = sorted(p.name for p in directory.glob("*")) if directory.is_dir() else "nothing, it does not exist"
        raise FileNotFoundError(
            f"No checkpoint at {directory}: expected a folder `{ITEM}`, or step folders that hold one; there is {here}."
        )
    return max(steps, key=lambda d: int(d.name))


def has_checkpoint(directory: Path) -> bool:
    """Whether `find_step` finds a step."""
    own = directory if directory.name == ITEM else directory / ITEM
    return own.is_dir() or bool(_steps(directory))


def _steps(directory: Path) -> list[Path]:
    return [d for d in directory.glob("*") if d.name.isdigit() and (d / ITEM).is_dir()]


def identity(step: Path) -> str:
    """Name of a checkpoint: its step, and a hash that no other has (of the time and the files of its writing)."""
    names = ("_CHECKPOINT_METADATA", f"{ITEM}/_CHECKPOINT_METADATA", f"{ITEM}/manifest.ocdbt", "assets/contract.json")
    parts = [(step / name).read_bytes() for name in names if (step / name).is_file()]
    return f"step {step.resolve().name}, {hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"


def open_params(path: Path, *, base: Path | None = None, model: ModelConfig | None = None) -> StoredParams:
    """Opens the parameters at `path`, in any format; no array is read yet.

    Args:
        path: a checkpoint of ours or openpi's (a step, its `params`, or a run, whose latest step counts), a
            `.safetensors` file, PaliGemma's `.npz`, or the folder or file of a LeRobot `pi0_fast` policy.
        base: a checkpoint with the parameters that `path` lacks: a LoRA checkpoint may hold only what was trained.
        model: the architecture, which LeRobot's files need; None is PaliGemma's.

    Raises:
        FileNotFoundError: there is none.
        ValueError: another format, or an incomplete copy.
    """
    if base is not None:
        return overlay(open_params(base, model=model), open_params(path, model=model))
    if path.suffix == ".safetensors":
        return open_safetensors(path, model=model)
    if path.suffix == ".npz":
        return open_npz(path)
    if path.is_file():
        raise ValueError(f"{path} is no checkpoint: expected a folder, a .safetensors or a .npz file.")
    if path.is_dir() and not has_checkpoint(path):
        if named := sorted(path.glob("model*.safetensors")):  # LeRobot's, whole or in pieces
            return open_safetensors(named[0], model=model)
        if files := sorted(path.glob("*.safetensors")):
            raise ValueError(f"{path} holds {[file.name for file in files]}; name the file itself.")
    return open_orbax(path if (path / "_METADATA").is_file() else find_step(path))


def read_params(step: Path) -> dict[str, np.ndarray]:
    """All parameters at once, as stored, under openpi's '/'-paths. See `open_params`."""
    return dict(open_params(step).stream())


def load_model(step: Path, config: ModelConfig, *, dtype: DType | None = None, base: Path | None = None) -> Pi0Fast:
    """The network of a step, with its parameters; they are read one by one and never held twice.

    Args:
        step: see `open_params`.
        config: the architecture.
        dtype: what the parameters are held in. None is the dtype of the network's activations, as openpi serves: a
            bfloat16 network takes 2 bytes per parameter, a float32 one 4.
        base: see `open_params`.

    Raises:
        ValueError: the parameters do not fit the architecture (lists every difference), or the checkpoint is truncated.
    """
    params = open_params(step, base=base, model=config)
    model = abstract_model(config)
    fill(model, params, jnp.dtype(dtype or config.dtype))
    return model
