"""Runs that cannot go on: a full disk, data that changed."""

from collections.abc import Iterator
from dataclasses import replace
import errno
import os
from pathlib import Path
import shutil
import subprocess

import pytest

from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.training.checkpoint_writer import Checkpoints, DiskFullError, is_disk_full, latest_step
from inspire_fast.training.config import CheckpointConfig, DialogueConfig, TrainConfig
from inspire_fast.training.dataset_config import DataPart
from inspire_fast.training.datasets.fingerprints import Fingerprint, fingerprints, require_unchanged
from inspire_fast.training.named_configs import load_config


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a file system of one MiB cannot be mounted here: that needs root and the capability to mount")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_what_is_whole(small_disk: Path) -> None:
    config = replace(load_config("debug"), checkpoint=CheckpointConfig(root=small_disk))
    checkpoints = Checkpoints(config.checkpoint_dir, keep=2)
    (checkpoints.directory / "8" / "params").mkdir(parents=True)
    (checkpoints.directory / "12.orbax-checkpoint-tmp").mkdir()
    said = r"is full \(\d MiB free\); the checkpoint of step 8 is complete.*--resume"
    with pytest.raises(DiskFullError, match=said), checkpoints.disk_full_reported():
        (checkpoints.directory / "12.orbax-checkpoint-tmp" / "array").write_bytes(bytes(2 << 20))
    assert [path.name for path in checkpoints.directory.iterdir()] == ["8"]
    checkpoints.close()


def test_only_a_run_is_overwritten(tmp_path: Path) -> None:
    for name in ("notes.txt", "other/default/2/params", "other/default/metrics.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(FileExistsError, match=r"holds none of metrics\.jsonl, .*\['notes\.txt', 'other'\]"):
        Checkpoints(tmp_path, keep=1, overwrite=True)
    assert (tmp_path / "other/default/2/params").exists()
    Checkpoints(tmp_path / "other/default", keep=1, overwrite=True).close()
    assert [*(tmp_path / "other/default").iterdir()] == []


def test_a_full_disk_is_told_from_other_errors(tmp_path: Path) -> None:
    config = replace(load_config("debug"), checkpoint=CheckpointConfig(root=tmp_path))
    checkpoints = Checkpoints(config.checkpoint_dir, keep=2)
    with pytest.raises(DiskFullError, match="there is no checkpoint yet"), checkpoints.disk_full_reported():
        raise ValueError("RESOURCE_EXHAUSTED: Error writing local file")  # TensorStore's words
    with pytest.raises(PermissionError), checkpoints.disk_full_reported():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    assert not is_disk_full(ValueError("a shape does not fit"))
    assert latest_step(checkpoints.directory) is None
    checkpoints.close()


def found(config: TrainConfig) -> dict[str, Fingerprint]:
    return fingerprints(config.data.datasets, labelled=bool(config.build_script().questions))


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    parts = tuple(
        DataPart(root=write_fake_dataset(tmp_path / name, episodes=2, frames=4, seed=seed))
        for seed, name in enumerate(("a", "b"))
    )
    return replace(load_config("demo"), data=replace(load_config("demo").data, root=None, parts=parts))


def test_a_copy_counts_as_the_same(config: TrainConfig, tmp_path: Path) -> None:
    before = found(config)
    for part in config.data.parts:
        moved = part.root.with_suffix(".moved")
        shutil.copytree(part.root, moved)
        shutil.rmtree(part.root)
        moved.rename(part.root)
    require_unchanged(before, found(config))
    require_unchanged({}, before)  # a checkpoint from before fingerprints were kept


def test_what_changed_is_named(config: TrainConfig) -> None:
    before = found(config)
    first, second = (part.root for part in config.data.parts)
    with (first / "labels/facts.parquet").open("ab") as file:
        file.write(b" ")
    (second / "data" / "more.parquet").write_bytes(b"rows")
    with pytest.raises(
        ValueError, match=r"data changed.*\n  a: labels/facts\.parquet\n  b: names and sizes of files\n.*--init-from"
    ):
        require_unchanged(before, found(config))
    unasked = replace(config, dialogue=DialogueConfig(script="pi0_fast", questions=()))
    assert found(unasked)["a"]["labels"] == ""
