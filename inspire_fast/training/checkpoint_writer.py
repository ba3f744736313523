"""Writing checkpoints: atomic, asynchronous, in openpi's layout, with the contract beside the numbers.

<run>/<step>/params        {"params": {"PaliGemma": ...}}, what is served (the average where there is one): the layout of
                           openpi's released checkpoints, which openpi loads as it is
<run>/<step>/train_state   step, params, ema, optimiser: what resuming needs
<run>/<step>/loader        where the data stream stood, and figures that were not in the log yet
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
from inspire_fast.core.files import write_bytes
from inspire_fast.models.openpi.params import TABLE
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.state import TrainState

_UNFINISHED = "*.orbax-checkpoint-tmp"  # Orbax's name of a step until it is complete


class FilesHandler(ocp.CheckpointHandler):
    """Copies small files into a checkpoint, inside Orbax's atomic commit."""

    def save(self, directory: epath.Path, args: FilesSave) -> None:
        """Writes every file; only the first process does."""
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
    """The latest step of a run's folder, without opening it."""
    steps = [int(d.name) for d in directory.glob("*") if d.name.isdigit() and (d / "params").is_dir()]
    return max(steps, default=None)


class DiskFullError(OSError):
    """A checkpoint or a line of the log could not be written; complete checkpoints are as they were.

    Args:
        directory: the run's.
        latest: the latest complete checkpoint's step, or None.
        cause: what was said.
    """

    def __init__(self, directory: Path, latest: int | None, cause: object) -> None:
        stands = "there is no checkpoint yet" if latest is None else f"the checkpoint of step {latest} is whole"
        super().__init__(
            errno.ENOSPC,
            f"The disk of {directory} is full ({shutil.disk_usage(directory).free / 2**20:,.0f} MiB free); {stands}. Make room, or lower "
            f"`--checkpoint.keep`, and go on with `--resume`. ({str(cause)[:160]})",
        )

    def __str__(self) -> str:
        return str(self.strerror)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the file system or of TensorStore says that there is no room."""
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "RESOURCE_EXHAUSTED" in str(error)


class Checkpoints:
    """The checkpoints of one run.

    Raises:
        FileExistsError: the run exists and neither `resume` nor `overwrite` is set.
    """

    def __init__(self, config: TrainConfig) -> None:
        directory = config.checkpoint_dir.resolve()
        if directory.exists():
            if config.overwrite:
                if jax.process_index() == 0:
                    shutil.rmtree(directory)
            elif not config.resume and any(d.name.isdigit() for d in directory.iterdir()):
                raise FileExistsError(
                    f"{config.checkpoint_dir} exists. Continue it with --resume, replace it with --overwrite, or choose "
                    "another --exp-name."
                )
        if jax.process_count() > 1:  # all have looked, and none begins before an old run is gone
            multihost_utils.sync_global_devices("checkpoint folder")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._manager = ocp.CheckpointManager(
            directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=config.checkpoint.keep, create=False, cleanup_tmp_directories=True
            ),
        )

    @property
    def latest(self) -> int | None:
        """The latest complete step."""
        return self._manager.latest_step()

    def contract(self) -> Contract:
        """The latest step's."""
        return Contract.read(self.directory / str(self.latest) / "assets")

    def save(self, state: TrainState, loader: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Begins writing the state's step; returns as soon as the arrays are copied off the device.

        Raises:
            DiskFullError: this or the last checkpoint finds no room. What was written of it is removed.
        """
        step = int(state.step)
        if step == self.latest:
            return
        with self.room():
            self._save(step, state, loader, files)

    def _save(self, step: int, state: TrainState, loader: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        served = {"params": upstream_tree(state.serving_params)}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.PyTreeSave(served, save_args=in_pieces(served)),
                train_state=ocp.args.PyTreeSave(state),
                loader=ocp.args.JsonSave(dict(loader)),
                assets=FilesSave(files=files),
            ),
        )

    def restore(self, like: TrainState) -> tuple[TrainState, Mapping[str, Any]]:
        """The latest state, laid out as `like` (arrays or shapes with shardings), and the loader's position."""
        restore_args = ocp.checkpoint_utils.construct_restore_args(like)
        restored = self._manager.restore(
            self.latest,
            args=ocp.args.Composite(
                train_state=ocp.args.PyTreeRestore(like, restore_args=restore_args), loader=ocp.args.JsonRestore()
            ),
        )
        return restored["train_state"], restored["loader"]

    def wait(self) -> None:
        """Blocks until everything begun is on disk.

        Raises:
            DiskFullError: see `save`.
        """
        with self.room():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes writing and frees the manager."""
        try:
            self.wait()
        finally:
            self._manager.close()

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Whatever is written inside, a full disk is reported as such; unfinished checkpoints are removed.

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
