"""Benchmark of compiled programs: their arrays, collectives and memory, on devices that need not exist.

`uv run python benchmarks/compiled_programs.py [--quick]`

The training step is compiled for eight simulated CPU devices and for one, and read: arrays that hold the whole batch on
one device, collectives, and memory per device. If the compilers of `scripts/plan_run.py` are installed, the step of the
full-size network is compiled for described GPUs and TPUs too: three of them with `--quick`, else all of the table in
`docs/scaling.md`. The last line is one JSON object.
"""

import argparse
from dataclasses import dataclass, replace
from functools import partial
import json
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Described:
    """A run on a described machine."""

    machine: str
    config: str = "inspire_libero"
    batch: int = 32
    fsdp: int = 1
    tensor: int = 1
    grad_accum_steps: int = 1
    precision: str = "mixed"


QUICK = {
    "h200_full_batch32": Described(machine="h200:1"),
    "h200_lora_batch32": Described(machine="h200:1", config="inspire_libero_low_mem"),
    "v5p64_batch256": Described(machine="v5p:4x4x4", batch=256, fsdp=64),
}
TABLE = QUICK | {
    "h200_full_batch32_bfloat16": Described(machine="h200:1", precision="bfloat16"),
    "h200x8_batch32": Described(machine="h200:8", fsdp=8),
    "h200x8_batch256": Described(machine="h200:8", batch=256, fsdp=8),
    "h200x8_batch256_tensor2": Described(machine="h200:8", batch=256, fsdp=4, tensor=2),
    "h200x8_batch256_accumulate4": Described(machine="h200:8", batch=256, fsdp=8, grad_accum_steps=4),
    "v5e16_batch32": Described(machine="v5e:4x4", fsdp=16),
    "v6e8_batch32": Described(machine="v6e:2x4", fsdp=8),
}
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


def described_plan(name: str) -> dict[str, Any]:
    """What the target's compiler says of a run of the table."""
    from inspire_fast.training.config import MeshConfig
    from inspire_fast.training.named_configs import load_config
    from inspire_fast.training.preflight.compile_lab import described_devices
    from inspire_fast.training.preflight.described_devices import parse_machine
    from inspire_fast.training.preflight.plan import plan_run

    wanted, start = TABLE[name], time.process_time()
    machine = parse_machine(wanted.machine)
    devices, options = described_devices(machine)
    config = replace(
        load_config(wanted.config),
        batch_size=wanted.batch,
        mesh=MeshConfig(fsdp=wanted.fsdp, tensor=wanted.tensor),
        grad_accum_steps=wanted.grad_accum_steps,
        precision=wanted.precision,
    )
    plan = plan_run(config, machine, devices, options, 1.0)
    return {
        "gib": round(plan.needed / 2**30, 2),
        "formula_gib": round(plan.estimate.total / 2**30, 2),
        "collectives": {kind: {"count": count, "bytes": size} for kind, (count, size) in plan.moved.items()},
        "processor_s": round(time.process_time() - start),
    }


def token_plan() -> dict[str, Any]:
    """Kernels that an H200 starts to read one token with the full-size network, in bfloat16."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from inspire_fast.models.config import GEMMA_2B
    from inspire_fast.models.inference.build import build
    from inspire_fast.models.inference.cache import KVCache
    from inspire_fast.models.inference.model import InferenceModel
    from inspire_fast.models.pi0_fast import abstract_model
    from inspire_fast.training.preflight.compile_lab import described_devices
    from inspire_fast.training.preflight.compiled_step import described
    from inspire_fast.training.preflight.described_devices import parse_machine
    from inspire_fast.training.preflight.program_text import kernels

    devices, options = described_devices(parse_machine("h200:1"))
    language, slots = GEMMA_2B.language, GEMMA_2B.image_tokens + 512
    layout = jax.sharding.SingleDeviceSharding(devices[0])

    def shape(dtype: Any, *axes: int) -> Any:
        return jax.ShapeDtypeStruct(axes, dtype, sharding=layout)

    def read(model: InferenceModel, cache: KVCache, ids: jax.Array) -> tuple[jax.Array, KVCache]:
        return model.extend(cache, ids, jnp.ones(len(ids), jnp.int32))

    network = jax.eval_shape(partial(build, weights="bfloat16", dtype="bfloat16"), abstract_model(GEMMA_2B))
    model = jax.tree.map(lambda x: shape(x.dtype, *x.shape), network)
    keys = tuple(shape(jnp.bfloat16, language.kv_heads, slots, language.head_dim) for _ in range(language.depth))
    cache = KVCache(k=keys, v=keys, valid=shape(bool, 1, slots), length=shape(np.int32, 1))
    token = jax.jit(read, donate_argnums=1).lower(model, cache, shape(np.int32, 1, 1))
    count = kernels(described(token.compile(compiler_options=options)).text)
    return {"h200_kernels_per_token": count, "h200_kernels_per_layer": round(count / language.depth, 1)}


def installed(name: str) -> bool:
    """Whether the compilers for a run of the table are installed."""
    from inspire_fast.training.preflight.compile_lab import lab_folder
    from inspire_fast.training.preflight.described_devices import parse_machine

    return lab_folder(parse_machine(TABLE[name].machine)).is_dir()


def in_own_process(*options: str, timeout_s: float = 3600) -> dict[str, Any]:
    """The last line of this file's output with `options`: simulated devices must be set up before JAX starts."""
    flags = f"--xla_force_host_platform_device_count={DEVICES}"
    done = subprocess.run(
        [sys.executable, __file__, *options],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{options} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(*, quick: bool) -> None:
    """Prints a line for each program, then the JSON line."""
    found = in_own_process("--simulated")
    print(f"simulated: {found}", flush=True)
    for name in QUICK if quick else TABLE:
        if not installed(name):
            print(f"{name}: its compilers are not installed (`scripts/plan_run.py` installs them)")
            continue
        plan = in_own_process("--described", name)
        print(f"{name}: {plan}", flush=True)
        found |= {f"{name}_{key}": plan[key] for key in ("gib", "formula_gib")}
    if installed("h200_full_batch32"):
        found |= in_own_process("--token")
    print(json.dumps(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--token", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--simulated", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--described", choices=list(TABLE), help="one run of the table alone; with JAX_PLATFORMS=cpu")
    args = parser.parse_args()
    if args.described:
        print(json.dumps(described_plan(args.described)))
    elif args.token:
        print(json.dumps(token_plan()))
    elif args.simulated:
        print(json.dumps(simulated()))
    else:
        main(quick=args.quick)
