"""Doctor: checks that this machine is ready for training or serving, and says what helps. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
import os
from pathlib import Path
import platform
import shutil
import socket
import subprocess
import sys
from typing import Literal

import jax

from inspire_fast.checkpoints.reading import find_step
from inspire_fast.checkpoints.remote import cached_path, is_address, local_path
from inspire_fast.core.console import command_line
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.tokenizers.fast.processor import find as find_fast
from inspire_fast.tokenizers.text.paligemma import find_paligemma
from inspire_fast.training.config import TokenizersConfig, TrainConfig
from inspire_fast.training.datasets.assets import load_stats, load_vocabulary
from inspire_fast.training.datasets.sources import open_parts
from inspire_fast.training.preflight.memory import free_memory

Level = Literal["ok", "note", "bad"]

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "grain", "pyarrow", "av", "mujoco", "websockets")
_GIB = 2**30
# Rendering runs in a separate process, because a broken driver crashes the process that loads it.
_RENDER = """
from inspire_fast.envs.gl import choose_backend
backend = choose_backend()
import mujoco, numpy as np
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><light pos="0 0 3"/><geom size="1"/></worldbody></mujoco>')
renderer, data = mujoco.Renderer(model, 64, 64), mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer.update_scene(data)
image = renderer.render()
renderer.close()
assert np.ptp(image) > 0, "the image is empty"
print(backend)
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check.

    Attributes:
        level: `ok`, `note` (some things will not work) or `bad` (the requested run or server will not work).
        what: subject of the check.
        says: finding in words.
        do: remedy; empty when none is needed.
    """

    level: Level
    what: str
    says: str
    do: str = ""


def examine(config: TrainConfig | None = None, checkpoint: Path | None = None, port: int = 8000) -> Iterator[Finding]:
    """Runs one check after another.

    Args:
        config: a run, to check its data, statistics, tokenizers and initial parameters.
        checkpoint: a checkpoint to serve.
        port: a server's port.
    """
    yield versions()
    yield accelerators()
    yield memory()
    yield disk(config.checkpoint.root if config else Path())
    yield rendering()
    yield free_port(port)
    yield from tokenizers(config.tokenizers if config else None)
    if config is not None:
        yield dataset(config)
        yield attempt("statistics", lambda: f"{len(load_stats(config))} quantities in {config.assets_dir}")
        yield attempt("run's tokenizers", lambda: f"{load_vocabulary(config).size} ids")
        if config.init_from is not None:
            yield stored(config.init_from)
    if checkpoint is not None:
        yield stored(checkpoint)


def attempt(what: str, look: Callable[[], str]) -> Finding:
    """The finding of `look`, or its error, which names the remedy."""
    try:
        return Finding(level="ok", what=what, says=look())
    except (OSError, ValueError, KeyError) as error:
        return Finding(level="bad", what=what, says=str(error.args[0] if error.args else error))


def versions() -> Finding:
    """Versions of Python and of the main packages."""
    found = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    says = f"Python {platform.python_version()}, " + ", ".join(f"{n} {v}" for n, v in found.items() if v)
    if missing:
        return Finding(level="bad", what="packages", says=f"{says}; without {', '.join(missing)}", do="uv sync")
    return Finding(level="ok", what="packages", says=says)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def accelerators() -> Finding:
    """JAX's devices, compared with the driver's."""
    try:
        devices = jax.devices()
    except RuntimeError as error:
        return Finding(level="bad", what="accelerators", says=str(error), do="unset JAX_PLATFORMS, or mend the driver")
    limit = (devices[0].memory_stats() or {}).get("bytes_limit") if devices[0].platform != "cpu" else None
    says = f"{len(devices)} x {devices[0].device_kind}" + (f", {limit / _GIB:.0f} GiB each for JAX" if limit else "")
    if devices[0].platform != "cpu":
        small = devices[0].platform == "gpu" and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ
        do = "XLA_PYTHON_CLIENT_MEM_FRACTION=0.92 gives JAX more than its default, 75 % of the memory" if small else ""
        return Finding(level="ok", what="accelerators", says=says, do=do)
    if driver := _nvidia():
        return Finding(
            level="bad",
            what="accelerators",
            says=f"the driver sees {driver}, JAX sees a CPU only",
            do=f"uv pip install 'jax[cuda12]=={jax.__version__}'",
        )
    do = f"`{command_line('plan_run')} <config> --device h200:8` says whether a run fits on a machine that is not here"
    return Finding(level="note", what="accelerators", says=f"{says}: enough for the small configs and for tests", do=do)


def _nvidia() -> str:
    """Names and driver of NVIDIA's GPUs; empty without one."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return "a GPU whose nvidia-smi does not answer"
    return done.stdout.strip().replace("\n", "; ") if done.returncode == 0 else ""


def memory() -> Finding:
    """Free main memory and usable cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = free_memory()
    if free is None:
        return Finding(level="note", what="memory", says=f"{cores} cores; free memory is unknown on {sys.platform}")
    says = f"{free / _GIB:.1f} GiB free, {cores} cores"
    if free < 4 * _GIB:
        return Finding(
            level="note", what="memory", says=says, do="`make demo` wants 3 GiB; lower `--data.loader-threads`"
        )
    return Finding(level="ok", what="memory", says=says)


def disk(where: Path) -> Finding:
    """Free disk space for checkpoints."""
    existing = next(p for p in [where.resolve(), *where.resolve().parents] if p.exists())
    free = shutil.disk_usage(existing).free
    says = f"{free / _GIB:.0f} GiB free in {existing}"
    if free < 50 * _GIB:
        do = "a checkpoint of 2.9B parameters takes 46 GiB with its optimiser; small ones fit"
        return Finding(level="note", what="disk", says=says, do=do)
    return Finding(level="ok", what="disk", says=says)


def rendering() -> Finding:
    """An image of a sphere, rendered without a screen."""
    command = [sys.executable, "-c", _RENDER]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)
    except subprocess.TimeoutExpired:
        says = "the OpenGL driver did not answer within two minutes"
        return Finding(level="note", what="rendering", says=says, do="MUJOCO_GL=osmesa renders without it")
    if done.returncode == 0:
        return Finding(level="ok", what="rendering", says=f"MuJoCo renders with {done.stdout.strip()}")
    said = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return Finding(level="note", what="rendering", says=said, do="`make setup` brings OpenGL; simulators need it")


def free_port(port: int) -> Finding:
    """Whether a server can listen on the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding(level="note", what=f"port {port}", says=error.strerror or str(error), do="serve with --port")
    return Finding(level="ok", what=f"port {port}", says="free")


def tokenizers(config: TokenizersConfig | None) -> Iterator[Finding]:
    """Copies of the public tokenizers, which openpi's checkpoints and the large configs need."""
    wanted = config is not None and config.text == "paligemma"
    place = find_paligemma()
    yield Finding(
        level="ok" if place else "bad" if wanted else "note",
        what="PaliGemma's tokenizer",
        says=str(place) if place else "no copy in the caches",
        do="" if place else "openpi's checkpoints and the gemma_2b configs need it: see `docs/training.md`",
    )
    source = (config.action_parameters.get("processor") if config else None) or "physical-intelligence/fast"
    wanted = config is not None and "processor" in config.action_parameters
    try:
        yield Finding(level="ok", what="FAST processor", says=str(find_fast(source)))
    except OSError as error:
        level: Level = "bad" if wanted else "note"
        yield Finding(level=level, what="FAST processor", says=str(error), do="")


def dataset(config: TrainConfig) -> Finding:
    """Opens the run's datasets and reads one sample of each."""

    def look() -> str:
        roots = [LeRobotDataset(part.root) for part in config.data.datasets]
        samples = 0
        for part in open_parts(config, "train"):
            part.source[0]
            samples += len(part.source)
        return f"{sum(len(root.episodes) for root in roots)} episodes, {samples} training samples"

    return attempt("dataset", look)


def stored(source: str | Path) -> Finding:
    """A checkpoint or another source of initial parameters; for an address, whether its copy exists."""
    if is_address(source) and not cached_path(str(source)).exists():
        says = (
            f"{source} is not in openpi's cache yet; training downloads it to {cached_path(str(source))} (extra `gcs`)"
        )
        return Finding(level="note", what="checkpoint", says=says)
    path = local_path(source)
    if path.is_file():
        return Finding(level="ok", what="checkpoint", says=f"{path}, {path.stat().st_size / _GIB:.2f} GiB")
    return attempt("checkpoint", lambda: f"{find_step(path)}")
