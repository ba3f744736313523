"""Checkpoint writer: atomic, asynchronous, in openpi's layout, with the contract in every checkpoint.

<run>/<step>/params        {"params": {"PaliGemma": ...}}, the parameters that are served (EMA if there is one), in the
                           layout of openpi's released checkpoints, which openpi loads unchanged
<run>/<step>/train_state   step, params, ema, optimiser: for resuming
<run>/<step>/loader        position in the data stream, and metrics that were not in the log yet
<run>/<step>/assets        contract.json, tokenizers, <asset_id>/norm_stats.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
from dataclasses import dataclass
import errno
from pathlib import Path
import shutil
from typing import Any

from etils import epath
from flax import traverse_util
import jax
from jax.experimental import multihost_utils
import orbax.checkpoint as ocp

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.params.orbax import in_pieces
from inspire_fast.core.files import require_unused, write_bytes
from inspire_fast.models.openpi.params import TABLE
from inspire_fast.training.state import TrainState

_UNFINISHED = "*.orbax-checkpoint-tmp"  # Orbax's name of an incomplete step
# What a run's folder holds; a folder without any of it is never removed.
_OF_A_RUN = ("metrics.jsonl", "[0-9]*/assets/contract.json", "tensorboard/*", _UNFINISHED)


class FilesHandler(ocp.CheckpointHandler):
    """Copies small files into a checkpoint, inside Orbax's atomic commit."""

    def save(self, directory: epath.Path, args: FilesSave) -> None:
        """Writes every file, in the first process only."""
        if jax.process_index() != 0:
            return
        for name, content in args.files.items():
            write_bytes(Path(directory) / name, content)

    def restore(self, directory: epath.Path, args: FilesRestore | None = None) -> dict[str, bytes]:
        """Every file below the item, by relative path."""
        del args
        root = Path(directory)
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@ocp.args.register_with_handler(FilesHandler, for_save=True)
@dataclass
class FilesSave(ocp.args.CheckpointArgs):
    """Relative path -> content."""

    files: Mapping[str, bytes]


@ocp.args.register_with_handler(FilesHandler, for_restore=True)
@dataclass
class FilesRestore(ocp.args.CheckpointArgs):
    """No options."""


def upstream_tree(params: dict[str, Any]) -> dict[str, Any]:
    """Our nested parameters under openpi's nested paths."""
    flat = traverse_util.flatten_dict(params, sep="/")
    return traverse_util.unflatten_dict({TABLE[path]: value for path, value in flat.items()}, sep="/")


def latest_step(directory: Path) -> int | None:
    """The latest complete step of a run's folder; None without one."""
    steps = [int(d.name) for d in directory.glob("*") if d.name.isdigit() and (d / "params").is_dir()]
    return max(steps, default=None)


class DiskFullError(OSError):
    """The disk is too full for a checkpoint or a line of the log; complete checkpoints are intact.

    Args:
        directory: folder of the run.
        latest: step of the latest complete checkpoint, or None.
        cause: the original error.
    """

    def __init__(self, directory: Path, latest: int | None, cause: object) -> None:
        left = "there is no checkpoint yet" if latest is None else f"the checkpoint of step {latest} is complete"
        free = shutil.disk_usage(directory).free / 2**20
        super().__init__(
            errno.ENOSPC,
            f"The disk of {directory} is full ({free:,.0f} MiB free); {left}. Free some space, or lower "
            f"`--checkpoint.keep`, and continue with `--resume`. ({str(cause)[:160]})",
        )

    def __str__(self) -> str:
        return str(self.strerror)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the file system or of TensorStore means a full disk."""
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "RESOURCE_EXHAUSTED" in str(error)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: folder of the run.
        keep: number of checkpoints that are kept.
        resume: the run may exist, and is continued.
        overwrite: an existing run is deleted.

    Raises:
        FileExistsError: the run exists and neither `resume` nor `overwrite` is set, or what is there is no run.
    """

    def __init__(self, directory: Path, *, keep: int, resume: bool = False, overwrite: bool = False) -> None:
        self.directory = directory.resolve()
        if self.directory.exists():
            if overwrite:
                if jax.process_index() == 0:
                    require_unused(self.directory, replaces=_OF_A_RUN)
                    shutil.rmtree(self.directory)
            elif not resume and any(d.name.isdigit() for d in self.directory.iterdir()):
                raise FileExistsError(
                    f"{directory} exists. Continue it with --resume, replace it with --overwrite, or choose another "
                    "--exp-name."
                )
        if jax.process_count() > 1:  # no process may create the folder while another one looks or deletes
            multihost_utils.sync_global_devices("checkpoint folder")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=False, cleanup_tmp_directories=True),
        )

    @property
    def latest(self) -> int | None:
        """The latest complete step."""
        return self._manager.latest_step()

    def contract(self) -> Contract:
        """The latest checkpoint's contract."""
        return Contract.read(self.directory / str(self.latest) / "assets")

    def save(self, state: TrainState, loader: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Starts writing a checkpoint of the state's step; returns as soon as the arrays are copied off the device.

        Args:
            state: the train state.
            loader: position in the data stream, and what else resuming needs.
            files: see `FilesSave`.

        Raises:
            DiskFullError: no space for this or the previous checkpoint. Its incomplete files are removed.
        """
        step = int(state.step)
        if step == self.latest:
            return
        served = {"params": upstream_tree(state.serving_params)}
        args = ocp.args.Composite(
            params=ocp.args.PyTreeSave(served, save_args=in_pieces(served)),
            train_state=ocp.args.PyTreeSave(state),
            loader=ocp.args.JsonSave(dict(loader)),
            assets=FilesSave(files=files),
        )
        with self.disk_full_reported():
            self._manager.save(step, args=args)

    def position(self) -> Mapping[str, Any]:
        """What the latest checkpoint was saved with beside the state; see `save`."""
        return self._manager.restore(self.latest, args=ocp.args.Composite(loader=ocp.args.JsonRestore()))["loader"]

    def restore(self, like: TrainState) -> TrainState:
        """The latest state, with the shapes and shardings of `like`."""
        restore_args = ocp.checkpoint_utils.construct_restore_args(like)
        state = ocp.args.PyTreeRestore(like, restore_args=restore_args)
        return self._manager.restore(self.latest, args=ocp.args.Composite(train_state=state))["train_state"]

    def wait(self) -> None:
        """Blocks until every started checkpoint is on disk.

        Raises:
            DiskFullError: as in `save`.
        """
        with self.disk_full_reported():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes writing and frees the manager."""
        try:
            self.wait()
        finally:
            self._manager.close()

    @contextlib.contextmanager
    def disk_full_reported(self) -> Iterator[None]:
        """Turns any error of a full disk into `DiskFullError`, and removes incomplete checkpoints.

        Raises:
            DiskFullError: the disk is full.
        """
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, DiskFullError) or not is_disk_full(error):
                raise
            for unfinished in self.directory.glob(_UNFINISHED):
                shutil.rmtree(unfinished, ignore_errors=True)
            raise DiskFullError(self.directory, latest_step(self.directory), error) from error
