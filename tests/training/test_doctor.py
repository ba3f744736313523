"""Every kind of finding, on a machine that has it and on one that lacks it."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path
import shutil
import socket

import jax
import pytest

from inspire_fast.training.config import DistributedConfig, TokenizersConfig
from inspire_fast.training.datasets.assets import load_stats
from inspire_fast.training.distributed import in_slurm, join
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.preflight import doctor


def test_this_machine() -> None:
    findings = {finding.what: finding for finding in doctor.examine(port=0)}
    assert {"packages", "accelerators", "memory", "disk", "rendering", "port 0"} <= set(findings)
    assert findings["packages"].level == findings["rendering"].level == "ok"
    assert not [finding for finding in findings.values() if finding.level == "bad"]


def test_what_a_config_wants_and_lacks_is_bad_and_says_how_to_get_it(tmp_path: Path) -> None:
    config = load_config("debug")
    config = replace(
        config,
        data=replace(config.data, root=tmp_path),
        assets=tmp_path,
        init_from=tmp_path / "base",
        tokenizers=TokenizersConfig(text="paligemma"),
    )
    bad = {finding.what: finding for finding in doctor.examine(config, port=0) if finding.level == "bad"}
    assert "meta/info.json" in bad["dataset"].says
    assert "compute_norm_stats.py debug" in bad["statistics"].says
    assert "fit_tokenizers.py debug" in bad["run's tokenizers"].says
    assert str(tmp_path / "base") in bad["checkpoint"].says


def test_the_command_that_is_advised_makes_what_is_missing(tmp_path: Path) -> None:
    """With the robot and the script of the run: statistics of another robot would be refused, or taken for its own."""
    config = load_config("debug")
    config = replace(
        config,
        robot="libero_front",
        dialogue=replace(config.dialogue, script="pi0_fast"),
        data=replace(config.data, unlabelled="ask_known"),
        assets=tmp_path,
    )
    with pytest.raises(FileNotFoundError) as missing:
        load_stats(config)
    wanted = f"debug --robot libero_front --dialogue.script pi0_fast --data.unlabelled ask_known --assets {tmp_path}"
    assert wanted in str(missing.value)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = doctor.free_port(other.getsockname()[1])
    assert (taken.level, taken.do) == ("note", "serve with --port")


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "flax":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    found = doctor.versions()
    assert found.level == "bad"
    assert "without flax" in found.says


def test_a_gpu_that_jax_does_not_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 590.1'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = doctor.accelerators()
    assert found.level == "bad"
    assert "the driver sees NVIDIA H200" in found.says


def test_a_machine_that_cannot_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    found = doctor.rendering()
    assert found.level == "note"
    assert "make setup" in found.do


def test_little_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**30))
    assert doctor.disk(tmp_path / "not" / "yet").level == "note"


@pytest.mark.parametrize(
    ("environ", "several"),
    [
        ({}, False),
        ({"SLURM_STEP_NUM_TASKS": "16"}, False),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "3"}, True),
    ],
)
def test_processes_of_srun_are_told_by_its_variables(environ: dict[str, str], several: bool) -> None:
    assert in_slurm(environ) is several


def test_a_cluster_that_jax_does_not_know_says_which_flags_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialize() -> None:
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(ValueError, match=r"coordinator_address.*--distributed\.coordinator HOST:PORT"):
        join(DistributedConfig(auto=True), {})


def test_half_of_the_explicit_settings_is_refused() -> None:
    with pytest.raises(ValueError, match=r"distributed\.processes, distributed\.process missing"):
        join(DistributedConfig(coordinator="a:1"), {})


def test_an_address_is_looked_up_and_not_downloaded(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path))
    address = "gs://openpi-assets/checkpoints/pi0_fast_base"
    finding = doctor.stored(address)
    assert finding.level == "note"
    assert f"downloads it to {tmp_path / 'openpi-assets/checkpoints/pi0_fast_base'}" in finding.says
    (tmp_path / "openpi-assets/checkpoints/pi0_fast_base/params").mkdir(parents=True)
    assert doctor.stored(address).level == "ok"
