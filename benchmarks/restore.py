"""Memory and time of restoring a checkpoint: `uv run python benchmarks/restore.py [--quick]`.

A synthetic checkpoint of pi0-FAST's full size (2,923,335,408 parameters) is written to a temporary folder and restored
in a fresh process, as a policy server does. Prints a table; the last line is one JSON object.

What is counted: the process's resident memory. `baseline` is what it holds right before the restore (Python, JAX, the
network's shapes); `peak` is its high-water mark when the network is complete, minus the baseline. Beside the parameters
themselves, a piece on disk must be decompressed whole: the smaller the pieces, the closer `peak/params` is to 1. With
--quick it is not: threads and buffers of a fixed size weigh more than a small network.
Freshly written files lie in the operating system's cache in part, so the time is that of decoding, not of a cold disk.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
import json
import math
import multiprocessing
import os
from pathlib import Path
import shutil
import tempfile
import time
from typing import Literal
import zlib

from flax import nnx
import jax.numpy as jnp
import numpy as np
import tyro

from inspire_fast.checkpoints.params.base import wanted_by
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.checkpoints.reading import load_model
from inspire_fast.models.config import PRESETS, DType
from inspire_fast.models.openpi.params import to_openpi
from inspire_fast.models.pi0_fast import Pi0Fast

Pieces = Literal["openpi", "ours"]


@dataclass(frozen=True, kw_only=True)
class Args:
    """What is measured.

    Attributes:
        quick: the `small` network instead of `gemma_2b`.
        stored: dtypes on disk; the network always holds bfloat16.
        pieces: how arrays are cut on disk: `openpi` as Orbax cuts unasked, a piece per leaf up to 2 GB (the harder
            case), `ours` in 64 MiB.
        folder: where the temporary folder goes; needs 2 or 4 bytes per parameter.
    """

    quick: bool = False
    stored: tuple[DType, ...] = ("bfloat16",)
    pieces: tuple[Pieces, ...] = ("openpi",)
    folder: Path | None = None


def synthetic(preset: str, dtype: DType) -> Iterator[tuple[str, np.ndarray]]:
    """Every leaf, random and reproducible. Stacked layers repeat one layer's numbers, which takes no memory to say."""
    for path, leaf in wanted_by(nnx.eval_shape(lambda: Pi0Fast(PRESETS[preset], rngs=nnx.Rngs(0)))).items():
        stacked = len(leaf.shape) > 1 and leaf.shape[0] < 64
        shape = leaf.shape[1:] if stacked else leaf.shape
        rng = np.random.default_rng(zlib.crc32(path.encode()))
        block = rng.standard_normal(shape, dtype=np.float32).astype(dtype)
        yield path, np.broadcast_to(block, leaf.shape)


def write(step: Path, preset: str, dtype: DType, pieces: Pieces) -> tuple[int, int]:
    """Writes the checkpoint; (parameters, bytes on disk)."""
    params = dict(synthetic(preset, dtype))
    write_params(step, params, piece_bytes=0 if pieces == "openpi" else None)
    return sum(a.size for a in params.values()), sum(p.stat().st_size for p in step.rglob("*") if p.is_file())


def restore(step: Path, preset: str) -> dict[str, float]:
    """Restores in this process; bytes and seconds."""
    jnp.zeros(1).block_until_ready()  # the back end's own memory belongs to the baseline
    nnx.eval_shape(lambda: Pi0Fast(PRESETS[preset], rngs=nnx.Rngs(0)))
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the high-water mark begins anew
    baseline, start = resident("VmRSS"), time.perf_counter()
    model = load_model(step, PRESETS[preset], dtype="bfloat16")
    for value in (params := to_openpi(model)).values():
        value.block_until_ready()
    seconds, peak = time.perf_counter() - start, resident("VmHWM")
    for path, expected in synthetic(preset, "bfloat16"):
        corner = (0,) * (expected.ndim - 1)
        np.testing.assert_array_equal(np.asarray(params[path][corner]), expected[corner], err_msg=path)
    return {"baseline_bytes": baseline, "peak_bytes": peak - baseline, "seconds": seconds}


def resident(field: str) -> int:
    """Bytes of this process in memory: `VmRSS` now, `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(args: Args, preset: str, dtype: DType, pieces: Pieces) -> dict[str, float | str]:
    """One row: writes, restores and deletes; each step in a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        step = Path(folder) / "0"
        with ProcessPoolExecutor(1, mp_context=fresh) as pool:
            parameters, stored = pool.submit(write, step, preset, dtype, pieces).result()
        with ProcessPoolExecutor(1, mp_context=fresh) as pool:
            row = pool.submit(restore, step, preset).result()
    held = 2 * parameters
    return {
        "preset": preset,
        "stored": dtype,
        "pieces": pieces,
        "parameters": parameters,
        "checkpoint_bytes": held,
        "disk_bytes": stored,
        **row,
        "gb_per_s": stored / row["seconds"] / 1e9,
        "peak_bytes_over_checkpoint_bytes": row["peak_bytes"] / held,
    }


def main(args: Args) -> None:
    """Prints one line per measurement, then the JSON object: the worst row, and all rows."""
    os.environ["JAX_PLATFORMS"] = (
        "cpu"  # for the processes: on an accelerator, host memory would not show the parameters
    )
    preset = "small" if args.quick else "gemma_2b"
    shapes = wanted_by(nnx.eval_shape(lambda: Pi0Fast(PRESETS[preset], rngs=nnx.Rngs(0)))).values()
    need = max(jnp.dtype(d).itemsize for d in args.stored) * sum(math.prod(s.shape) for s in shapes)
    free = shutil.disk_usage(args.folder or tempfile.gettempdir()).free
    if free < 1.2 * need:
        raise SystemExit(
            f"The checkpoint takes {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free. Choose another --folder."
        )
    print(
        f"{'stored':10} {'pieces':8} {'disk GB':>8} {'baseline GB':>12} {'peak GB':>8} {'peak/params':>12} {'s':>6} "
        f"{'GB/s':>6}"
    )
    rows = []
    for dtype in args.stored:
        for pieces in args.pieces:
            row = measure(args, preset, dtype, pieces)
            sizes = [float(row[k]) / 1e9 for k in ("disk_bytes", "baseline_bytes", "peak_bytes")]
            print(
                f"{dtype:10} {pieces:8} {sizes[0]:8.2f} {sizes[1]:12.2f} {sizes[2]:8.2f} "
                f"{row['peak_bytes_over_checkpoint_bytes']:12.3f} {row['seconds']:6.1f} {row['gb_per_s']:6.2f}"
            )
            rows.append(row)
    worst = max(rows, key=lambda row: row["peak_bytes_over_checkpoint_bytes"])
    print(json.dumps({**worst, "rows": rows}))


if __name__ == "__main__":
    main(tyro.cli(Args))
