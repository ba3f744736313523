"""Benchmark of mesh equality: differences between one device and several arrangements of eight simulated devices.

`uv run python benchmarks/mesh_equality.py [--quick]`

The same batches, in float32, run on one device and on eight simulated ones, which split the data, the parameters, heads
and hidden units, or all three, in one process or in two of four devices. Compared are loss and gradient of the first
step, and the losses of 20 AdamW steps. The natural size of differences is that of one device with another order of
sums: permuted rows, or two microbatches.

`--quick` leaves out arrangements that the mixed one implies. The last line is one JSON object.
"""

import argparse
from dataclasses import asdict, dataclass, replace
import json
import os
from pathlib import Path
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

STEPS, ROWS = 20, 8


@dataclass(frozen=True, kw_only=True)
class Layout:
    """An arrangement of devices."""

    name: str
    devices: int = 8
    processes: int = 1
    fsdp: int = 1
    tensor: int = 1
    grad_accum_steps: int = 1
    permuted: bool = False


ONE = Layout(name="one device", devices=1)
REORDERED = (
    Layout(name="one device, rows permuted", devices=1, permuted=True),
    Layout(name="one device, two microbatches", devices=1, grad_accum_steps=2),
)
LAYOUTS = (
    Layout(name="data 8"),
    Layout(name="fsdp 8", fsdp=8),
    Layout(name="tensor 4, data 2", tensor=4),
    Layout(name="data 2, fsdp 2, tensor 2", fsdp=2, tensor=2),
    Layout(name="2 processes of 4: data 2, fsdp 2, tensor 2", fsdp=2, tensor=2, processes=2),
)
QUICK = (LAYOUTS[3], LAYOUTS[4])


def work(layout: Layout, folder: Path, port: int, process: int) -> None:
    """One process of a layout; writes losses and gradients to `<folder>/<name>.npz`."""
    import jax
    from jax.experimental import multihost_utils

    from inspire_fast.training.config import DistributedConfig
    from inspire_fast.training.distributed import join
    from inspire_fast.training.init_params import initial_state
    from inspire_fast.training.prepare import own_rows, prepare, to_batch
    from inspire_fast.training.sharding import batch_sharding, state_shardings
    from inspire_fast.training.state import init_state, make_gradient, make_step

    if layout.processes > 1:
        coordinator = f"127.0.0.1:{port}"
        join(DistributedConfig(coordinator=coordinator, processes=layout.processes, process=process))
    run = prepare(_config(folder, layout))
    drawn = np.random.default_rng(0).integers(len(run.source), size=(STEPS, ROWS))
    shardings = state_shardings(jax.eval_shape(lambda: init_state(run.config)), run.mesh)
    state = initial_state(run.config, shardings)
    gradient = jax.jit(make_gradient(run.config, run.mesh))
    step = jax.jit(make_step(run.config, run.mesh), out_shardings=(shardings, None))
    losses, gradients = [], {}
    for numbers in drawn:
        order = numbers[::-1] if layout.permuted else numbers
        rows = [run.transform(run.source[int(n)], np.random.default_rng(int(n))) for n in order]
        arrays = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
        batch = to_batch(own_rows(arrays), batch_sharding(run.mesh))
        if not losses:
            tree, _ = gradient(state.params, batch)
            whole = multihost_utils.process_allgather(tree, tiled=True) if layout.processes > 1 else tree
            gradients = {str(n): np.asarray(x) for n, x in enumerate(jax.tree.leaves(whole))}
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    if process == 0:
        np.savez(folder / f"{layout.name}.npz", losses=np.array(losses), **gradients)  # pyright: ignore[reportArgumentType]


def _config(folder: Path, layout: Layout):
    from inspire_fast.models.config import TEST
    from inspire_fast.training.config import CheckpointConfig, EvaluationConfig, MeshConfig, OptimizerConfig
    from inspire_fast.training.named_configs import load_config

    demo = load_config("demo")
    return replace(
        demo,
        model=replace(TEST, vocab_size=demo.model.vocab_size, dtype="float32"),
        data=replace(demo.data, root=folder / "data", held_out_every=4, max_token_len=160, max_supervised=96),
        optimizer=OptimizerConfig(peak_lr=3e-3, end_lr=1e-3, warmup_steps=2, ema_decay=0.98),
        assets=folder / "assets",
        checkpoint=CheckpointConfig(root=folder / "checkpoints"),
        batch_size=ROWS,
        grad_accum_steps=layout.grad_accum_steps,
        steps=STEPS,
        evaluation=EvaluationConfig(samples=0),
        mesh=MeshConfig(fsdp=layout.fsdp, tensor=layout.tensor),
    )


def measure(layout: Layout, folder: Path) -> dict[str, np.ndarray]:
    """Runs a layout in separate processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    devices = layout.devices // layout.processes  # optimisation 0 compiles in half the time
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    command = [
        sys.executable,
        __file__,
        "--work",
        json.dumps(asdict(layout)),
        "--folder",
        str(folder),
        "--port",
        str(port),
    ]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    started = [subprocess.Popen([*command, "--process", str(n)], env=environment) for n in range(layout.processes)]
    try:
        if any(process.wait(600) for process in started):
            raise SystemExit(f"{layout.name} failed; see above")
    finally:
        for process in started:
            process.kill()
    return dict(np.load(folder / f"{layout.name}.npz"))


def compare(found: dict[str, np.ndarray], one: dict[str, np.ndarray]) -> dict[str, float]:
    """Relative differences; for gradients, the l2 norm of the difference over that of the gradient.

    It is measured for the whole gradient and for the worst leaf. The latter leaves out leaves below a millionth of the
    whole: a bias of keys, for example, does not influence a softmax, so its computed gradient is rounding alone.
    """
    norms = {name: float(np.linalg.norm(one[name])) for name in one if name != "losses"}
    apart = {name: float(np.linalg.norm(found[name] - one[name])) for name in norms}
    whole = float(np.hypot.reduce(list(norms.values())))
    losses = np.abs(found["losses"] / one["losses"] - 1)
    return {
        "first_loss": float(losses[0]),
        "gradient": float(np.hypot.reduce(list(apart.values()))) / whole,
        "worst_leaf": max(apart[name] / norm for name, norm in norms.items() if norm > 1e-6 * whole),
        "losses_20": float(losses.max()),
    }


def main(*, quick: bool) -> None:
    """Measures and prints the table."""
    from inspire_fast.data.testing import write_fake_dataset
    from inspire_fast.training.datasets.assets import compute_stats, fit_tokenizers

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fake_dataset(folder / "data")
        config = _config(folder, ONE)
        compute_stats(config)
        fit_tokenizers(config)
        start, one = time.perf_counter(), measure(ONE, folder)
        print(f"{'arrangement':46} {'first loss':>11} {'gradient':>11} {'worst leaf':>11} {'20 losses':>11}")
        table = {}
        for layout in (*REORDERED, *(QUICK if quick else LAYOUTS)):
            table[layout.name] = row = compare(measure(layout, folder), one)
            print(
                f"{layout.name:46} {row['first_loss']:11.1e} {row['gradient']:11.1e} {row['losses_20']:11.1e}",
                flush=True,
            )
    meshes = [row for name, row in table.items() if not name.startswith("one device")]
    natural = max(row["losses_20"] for name, row in table.items() if name.startswith("one device"))
    print(f"{time.perf_counter() - start:.0f} s")
    worst = {f"worst_{key}": max(row[key] for row in meshes) for key in meshes[0]}
    print(json.dumps(worst | {"natural_losses_20": natural, "table": table}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(Layout(**json.loads(args.work)), args.folder, args.port, args.process)
    else:
        main(quick=args.quick)
