"""Compile lab: the compilers of GPUs and TPUs, in a folder of their own, for machines that have neither.

`libtpu` and JAX's CUDA plugin compile without a device. They are installed on first use into
`~/.cache/inspire_fast/compile_lab` (or below `INSPIRE_FAST_COMPILE_LAB`), in the versions that the installed JAX names
in its extras, and never into the project's environment.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
import importlib.util
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
from typing import Any

import jax

from inspire_fast.core.console import command_line
from inspire_fast.core.files import StagedFolder, folder_of_user
from inspire_fast.training.preflight.described_devices import Machine, cuda_target

FOLDER_VARIABLE = "INSPIRE_FAST_COMPILE_LAB"
_GIB = 2**30
# Extra of jax -> pattern of the packages of it that are wanted, and bytes that they take, unpacked.
_TOOLS = {"tpu": (re.compile(r"libtpu"), 0.7 * _GIB), "cuda12": (re.compile(r"jax-cuda12-plugin"), 4.9 * _GIB)}
# Without the device nothing can be tuned on it, and Triton's tiles, which are, fail.
CUDA_OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}


class CompileLabError(OSError):
    """The compilers could not be installed; nothing half-installed is left."""


def lab_folder(machine: Machine) -> Path:
    """Folder of the compilers for a machine; it need not exist."""
    root = folder_of_user(FOLDER_VARIABLE, "~/.cache/inspire_fast/compile_lab")
    return root / f"{_extra(machine)}-jax{jax.__version__}"


def install_lab(machine: Machine, say: Callable[[str], None] = print) -> Path:
    """Folder of the compilers for a machine; installs them if it does not exist.

    Raises:
        CompileLabError: no room, no network, or no installer.
    """
    folder = lab_folder(machine)
    if folder.is_dir():
        return folder
    extra, (wanted, size) = _extra(machine), _TOOLS[_extra(machine)]
    packages = required(extra, wanted)
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < 1.5 * size:
        raise CompileLabError(
            f"{', '.join(packages)} take {size / _GIB:.1f} GiB, and {folder.parent} has {free / _GIB:.1f} GiB free. "
            f"Make room, or set {FOLDER_VARIABLE} to a folder on another disk."
        )
    say(f"Installing {', '.join(packages)} ({size / _GIB:.1f} GiB) into {folder}, once ...")
    with StagedFolder(folder) as target:
        done = subprocess.run(
            [*_installer(), "--target", str(target), *packages], capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode:
            raise CompileLabError(
                f"{', '.join(packages)} could not be installed (is there a network?); nothing was kept. "
                f"The installer says: {done.stderr.strip()[-500:]}"
            )
    return folder


def required(extra: str, wanted: re.Pattern[str]) -> list[str]:
    """Requirements of an extra of the installed JAX whose names match.

    Raises:
        CompileLabError: this JAX has no such extra.
    """
    found = [r.partition(";") for r in metadata.requires("jax") or ()]
    packages = [name.strip() for name, _, when in found if f'"{extra}"' in when and wanted.match(name)]
    if not packages:
        raise CompileLabError(f"jax {jax.__version__} names no packages for its extra {extra!r}; take another version.")
    return packages


def described_devices(machine: Machine) -> tuple[list[Any], dict[str, Any]]:
    """Devices to compile for, and the compiler's options. Must be called before JAX starts a backend of that maker.

    Raises:
        CompileLabError: the compilers are not installed.
        ValueError: the maker's compiler knows no such machine.
    """
    folder = lab_folder(machine)
    if not folder.is_dir():
        raise CompileLabError(f"{folder} does not exist: `{command_line('plan_run')}` installs it.")
    if machine.device.cuda:
        return _described_gpus(machine, folder), CUDA_OPTIONS
    from jax.experimental import topologies

    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # asks a metadata server for minutes otherwise
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # a lock for the device, of which there is none
    os.environ.setdefault("TPU_LIBRARY_PATH", str(folder / "libtpu" / "libtpu.so"))
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=str(machine)).devices), {}
    except Exception as error:  # of several types, private ones among them
        raise ValueError(f"libtpu does not describe a TPU {machine}: {str(error).splitlines()[0]}") from error


def _described_gpus(machine: Machine, folder: Path) -> list[Any]:
    # Private interfaces of JAX: nothing public takes a description in the place of a driver.
    from jax._src.lib import xla_client  # pyright: ignore[reportPrivateImportUsage]

    library = folder / "jax_plugins" / "xla_cuda12" / "xla_cuda_plugin.so"
    plugin = xla_client.load_pjrt_plugin_dynamically("cuda", str(library))
    shape = f"1x1x{machine.shape[0]}"  # slices x hosts x GPUs
    topology = xla_client.make_c_api_device_topology(
        plugin, shape, target_config=cuda_target(machine.device), topology=shape
    )
    return list(topology._make_compile_only_devices())  # noqa: SLF001


def _extra(machine: Machine) -> str:
    return "cuda12" if machine.device.cuda else "tpu"


def _installer() -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet"]
    raise CompileLabError("Neither uv nor pip was found to install the compilers with; install one of them.")
