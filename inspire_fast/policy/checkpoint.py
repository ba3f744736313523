"""Reading checkpoints: `<run>/<step>/{params, train_state, assets}`, in openpi's layout with a contract beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from etils import epath
from flax import nnx, traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.openpi import load_openpi
from inspire_fast.models.pi0_fast import Pi0Fast


def find_step(directory: Path) -> Path:
    """A step's folder: `directory` itself, or the latest step below it.

    Raises:
        FileNotFoundError: neither is a checkpoint; says what lies there.
    """
    if (directory / "params").is_dir():
        return directory
    steps = [d for d in directory.glob("*") if d.name.isdigit() and (d / "params").is_dir()]
    if not steps:
        here = sorted(p.name for p in directory.glob("*")) if directory.is_dir() else "nothing, it does not exist"
        raise FileNotFoundError(
            f"No checkpoint at {directory}: expected a folder `params`, or step folders that hold one; there is {here}."
        )
    return max(steps, key=lambda d: int(d.name))


def identity(step: Path) -> str:
    """Names a checkpoint: its step, and a hash that differs between any two that were written (they hold the time)."""
    parts = [p.read_bytes() for p in (step / "_CHECKPOINT_METADATA", step / "assets" / "contract.json") if p.is_file()]
    return f"step {step.resolve().name}, {hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"


def read_params(step: Path) -> dict[str, np.ndarray]:
    """Parameters of a step under openpi's '/'-paths; a trailing `value` (openpi's training layout) is dropped.

    Raises:
        ValueError: the folder is not a readable Orbax checkpoint (truncated, or another format).
    """
    path = (step / "params").resolve()
    handler = ocp.PyTreeCheckpointHandler()
    try:
        tree = handler.metadata(epath.Path(path)).tree
        restore = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        stored = handler.restore(epath.Path(path), args=ocp.args.PyTreeRestore(restore_args=restore))["params"]
    except (ValueError, FileNotFoundError, KeyError, AttributeError) as error:
        raise ValueError(f"Cannot read the checkpoint {path}: {error}. Was it copied completely?") from error
    flat: dict[str, Any] = dict(traverse_util.flatten_dict(stored, sep="/"))
    if all(key.endswith("/value") for key in flat):
        flat = {key.removesuffix("/value"): value for key, value in flat.items()}
    return flat


def load_model(step: Path, config: ModelConfig) -> Pi0Fast:
    """The network of a step, with its parameters.

    Raises:
        ValueError: the parameters do not fit the architecture; lists every difference.
    """
    model = nnx.eval_shape(lambda: Pi0Fast(config, rngs=nnx.Rngs(0)))
    load_openpi(model, read_params(step))
    return model
