"""Benchmark of compiled programs: their arrays, collectives and memory, on devices that need not exist.

`uv run python benchmarks/compiled_programs.py [--quick]`

The training step is compiled for eight simulated CPU devices and for one, and read: arrays that hold the whole batch on
one device, collectives, and memory per device. The last line is one JSON object.
"""

import argparse
from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

DEVICES, ROWS = 8, 11  # 88 rows are a size that no other axis has


def simulated() -> dict[str, Any]:
    """Properties of the step of a small network on eight simulated devices, `fsdp` over all of them."""
    import jax
    from jax.sharding import Mesh

    from inspire_fast.models.config import TEST
    from inspire_fast.training.config import DataConfig, MeshConfig, TrainConfig
    from inspire_fast.training.preflight.compiled_step import compile_step, described, state_bytes
    from inspire_fast.training.preflight.program_text import arrays_of, collectives, unsplit
    from inspire_fast.training.sharding import AXES, make_mesh

    data = DataConfig(root=Path("unused"), max_token_len=40, max_supervised=24, augmentation="none")
    one = TrainConfig(name="simulated", data=data, model=replace(TEST, remat="nothing_saveable"), batch_size=ROWS)
    many = replace(one, batch_size=DEVICES * ROWS, mesh=MeshConfig(fsdp=DEVICES))
    alone, mesh = Mesh(make_mesh(many.mesh).devices[:, :1], AXES), make_mesh(many.mesh)
    options = {"xla_backend_optimization_level": 0}
    programs = [described(compile_step(config, on, options)) for config, on in ((one, alone), (many, mesh))]
    arrays = arrays_of(programs[1].text)
    parameters = state_bytes(one, alone) / 4  # of which the state has four: itself, the average and two moments
    moved = collectives(arrays)
    return {
        "devices": jax.device_count(),
        "batch_unsplit_arrays": len(unsplit(arrays, many.batch_size)),
        "state_bytes_ratio_8_devices": state_bytes(many, mesh) / state_bytes(one, alone),
        "activation_bytes_ratio_8_devices": programs[1].temporary / programs[0].temporary,
        "collectives": {kind: {"count": count, "bytes": size} for kind, (count, size) in moved.items()},
        "collective_bytes_over_parameter_bytes": sum(size for _, size in moved.values()) / parameters,
    }


def in_own_process(option: str, timeout_s: float = 280) -> dict[str, Any]:
    """The last line of this file's output with `option`: simulated devices must be set up before JAX starts."""
    flags = f"--xla_force_host_platform_device_count={DEVICES}"
    done = subprocess.run(
        [sys.executable, __file__, option],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{option} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--simulated", action="store_true", help=argparse.SUPPRESS)
    print(json.dumps(simulated() if parser.parse_args().simulated else in_own_process("--simulated")))
