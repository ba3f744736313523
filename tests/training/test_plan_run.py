"""Described devices and the compile lab: what is refused, and that nothing half-installed stays."""

from pathlib import Path
import re
import subprocess

import pytest

from inspire_fast.core.errors import UnknownNameError
from inspire_fast.training.preflight import compile_lab
from inspire_fast.training.preflight.compile_lab import CompileLabError, described_devices, install_lab, required
from inspire_fast.training.preflight.described_devices import DEVICES, cuda_target, parse_machine


def test_machines_have_names() -> None:
    assert str(parse_machine("h200")) == "h200:1"
    assert parse_machine("V5P:4x4x4").shape == (4, 4, 4)
    assert parse_machine("rtx4090:2").device.memory < 26e9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("h2000:8", r"Unknown device 'h2000'. Did you mean 'h200'\?"),
        ("h200:4x4", r"number of GPUs behind the colon, such as h200:8"),
        ("h200:0", r"such as h200:8"),
        ("v5p", r"TPU topology behind the colon, such as v5p:4x4x4"),
        ("v6e:2xfour", r"such as v6e:4x4"),
    ],
)
def test_what_is_no_machine_is_refused(text: str, words: str) -> None:
    with pytest.raises((ValueError, UnknownNameError), match=words):
        parse_machine(text)


def test_every_gpu_is_described_and_no_tpu_is() -> None:
    text = cuda_target(DEVICES["h200"])
    assert "core_count: 132 " in text
    assert "memory_bandwidth: 4800000000000 " in text
    assert "cuda_compute_capability { major: 9 minor: 0 }" in text
    gpus = [DEVICES[name] for name in DEVICES if DEVICES[name].cuda]
    assert all('device_description_str: "NVIDIA' in cuda_target(gpu) for gpu in gpus)
    with pytest.raises(ValueError, match="Only GPUs are described"):
        cuda_target(DEVICES["v5e"])


def test_versions_are_those_that_the_running_jax_names() -> None:
    assert required("tpu", re.compile("libtpu"))[0].startswith("libtpu==")
    with pytest.raises(CompileLabError, match="names no packages for its extra 'abacus'"):
        required("abacus", re.compile("libtpu"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(compile_lab.FOLDER_VARIABLE, str(tmp_path / "lab"))
    monkeypatch.setattr(compile_lab.shutil, "which", lambda _: "/usr/bin/uv")
    return tmp_path / "lab"


def test_a_failed_installation_leaves_nothing(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        target = Path(command[command.index("--target") + 1])
        (target / "half").write_text("", encoding="utf-8")
        return subprocess.CompletedProcess(command, 1, "", "no route to host")

    monkeypatch.setattr(compile_lab.subprocess, "run", fails)
    with pytest.raises(CompileLabError, match=r"libtpu==.* could not be installed.*nothing was kept.*no route to host"):
        install_lab(parse_machine("v5e:2x4"), say=lambda _: None)
    assert list(lab.iterdir()) == []
    with pytest.raises(CompileLabError, match=r"does not exist: `uv run scripts/plan_run.py` installs it"):
        described_devices(parse_machine("v5e:2x4"))


def test_no_room_is_said_before_anything_is_downloaded(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_lab.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**6}))
    with pytest.raises(CompileLabError, match=r"take 4\.9 GiB, and .* has 0\.0 GiB free.*INSPIRE_FAST_COMPILE_LAB"):
        install_lab(parse_machine("h200:8"), say=lambda _: None)


def test_an_installation_is_done_once(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, ran = [], []

    def installs(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        assert Path(command[command.index("--target") + 1]).is_dir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(compile_lab.subprocess, "run", installs)
    folders = [install_lab(parse_machine("v5e:2x4"), say=said.append) for _ in range(2)]
    assert folders[0] == folders[1]
    assert len(ran) == len(said) == 1
    assert "0.7 GiB" in said[0]
