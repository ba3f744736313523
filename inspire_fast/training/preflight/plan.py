"""Plan of a run on a machine: what each device must hold, what moves between devices, and what limits the speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from inspire_fast.training.config import TrainConfig
from inspire_fast.training.preflight.compiled_step import compile_step, described
from inspire_fast.training.preflight.described_devices import Machine
from inspire_fast.training.preflight.memory import MemoryEstimate, estimate_memory, remedies, shown
from inspire_fast.training.preflight.program_text import ArrayOf, arrays_of, collectives
from inspire_fast.training.reporting.flops import training_flops
from inspire_fast.training.sharding import make_mesh
from inspire_fast.training.state import init_state

LARGEST = 8
# Of a GPU's memory, JAX takes this share at its start unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
GPU_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What the target's compiler says of a run, per device.

    Attributes:
        machine: the machine that is described.
        config: the run.
        estimate: by formula, for comparison and by kind.
        needed: bytes of arguments, results and temporaries together.
        temporary: bytes of temporaries.
        available: bytes that JAX may take; `share` of the device's memory.
        share: see `GPU_SHARE`.
        largest: the largest arrays that are held in memory, each kind once.
        moved: collectives by kind: how many in a step, and bytes.
        flops: operations of one step, counted from the architecture.
        read: bytes that one step must at least read and write: the state once each, the weights three times.
    """

    machine: Machine
    config: TrainConfig
    estimate: MemoryEstimate
    needed: int
    temporary: int
    available: int
    share: float
    largest: Sequence[ArrayOf]
    moved: dict[str, tuple[int, int]]
    flops: float
    read: int

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.needed <= self.available

    @property
    def floors(self) -> dict[str, float]:
        """Seconds that a step takes at least, by what limits it, at the published peaks."""
        device = self.machine.device
        return {
            "compute": self.flops / device.flops,
            "memory": self.read / device.bandwidth,
            "interconnect": sum(size for _, size in self.moved.values()) / device.link,
        }

    def __str__(self) -> str:
        return "\n".join([*self._memory(), *self._traffic(), *self._speed()])

    def _memory(self) -> list[str]:
        device, need, mesh = self.machine.device, self.estimate, self.config.mesh
        kind = "" if device.verified or not device.cuda else ", described from published data"
        verdict = "fits" if self.fits else "DOES NOT FIT"
        headroom = f"{(self.available - self.needed) / 2**30:.2f} GiB"
        room = f"{shown(self.available)} available ({self.share:.0%} of {shown(device.memory)})"
        state = f"parameters {shown(need.parameters)}, EMA {shown(need.ema)}, optimizer {shown(need.optimizer)}"
        lines = [
            f"{self.config.name}, batch {self.config.batch_size}, mesh {mesh}, on {self.machine}{kind}.",
            f"Per device: {shown(self.needed)} needed, {room}: {verdict}, headroom {headroom}.",
            f"  {state}, temporaries {shown(self.temporary)} (gradients, activations, logits)",
            f"  the instant estimate by formula: {need}",
        ]
        if not self.fits:
            lines.append(f"What helps: {'; '.join(remedies(self.config, need, self.available)) or 'a smaller batch'}.")
        if device.cuda and self.share < 0.9:
            lines.append(f"JAX takes {self.share:.0%} of a GPU; XLA_PYTHON_CLIENT_MEM_FRACTION=0.92 gives it more.")
        return [*lines, "Largest arrays in memory:", *(f"  {shown(a.size):>10}  {a}  {a.source}" for a in self.largest)]

    def _traffic(self) -> list[str]:
        if not self.moved:
            return ["No collectives."]
        rows = (f"  {kind}: {count}, {shown(size)}" for kind, (count, size) in self.moved.items())
        return ["Collectives of one step (bytes of their results on one device):", *rows]

    def _speed(self) -> list[str]:
        floors = self.floors
        limit = max(floors, key=floors.__getitem__)
        parts = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in floors.items())
        most = f"{self.config.batch_size / floors[limit]:.0f} samples/s on the whole machine"
        return [f"Roofline at published peaks, a floor and no forecast: {parts}. {limit} limits a step to {most}."]


def plan_run(
    config: TrainConfig, machine: Machine, devices: Sequence[Any], options: dict[str, Any], share: float
) -> RunPlan:
    """Compiles the run's step for described devices and reads the program.

    Args:
        config: the run.
        machine: names the devices.
        devices: of `compile_lab.described_devices`.
        options: of the compiler, likewise.
        share: of the memory that JAX may take.

    Raises:
        ValueError: the mesh does not fit the machine, or the batch does not divide.
    """
    mesh = make_mesh(config.mesh, devices)
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    if config.batch_size % (config.grad_accum_steps * rows):
        raise ValueError(
            f"batch_size {config.batch_size} does not divide into {config.grad_accum_steps} microbatch(es) over "
            f"{rows} devices. Change --batch-size, --grad-accum-steps or --mesh.tensor."
        )
    program = described(compile_step(config, mesh, options))
    arrays = arrays_of(program.text)
    estimate = estimate_memory(config, mesh)
    parameters = sum(x.size for x in jax.tree.leaves(jax.eval_shape(lambda: init_state(config)).params))
    weights = parameters * jnp.dtype(config.model.dtype).itemsize // mesh.shape["tensor"]
    flops = training_flops(
        config.model, config.freeze, text_tokens=config.data.max_token_len, supervised=config.data.max_supervised
    )
    return RunPlan(
        machine=machine,
        config=config,
        estimate=estimate,
        needed=program.needed,
        temporary=program.temporary,
        available=int(machine.device.memory * share),
        share=share,
        largest=largest(arrays),
        moved=collectives(arrays),
        flops=flops * config.batch_size / mesh.size,
        read=2 * estimate.state + 3 * weights,
    )


def largest(arrays: Sequence[ArrayOf]) -> list[ArrayOf]:
    """The largest arrays that lie in memory, one of each shape."""
    kinds = {(a.dtype, a.shape): a for a in reversed(arrays) if not a.fused}
    return sorted(kinds.values(), key=lambda a: -a.size)[:LARGEST]
