"""Plan of a run on a machine that is not here."""

from collections.abc import Sequence
import os

from inspire_fast.commands.with_config import ConfigArgument, run_with_config


def plan_run(config: ConfigArgument, device: str = "h200:1") -> int:
    """Says whether a run fits on a machine and what limits it, from the target's own compiler; needs no such machine.

    The status is 1 if it does not fit. The first use for GPUs or TPUs installs their compilers into a cache folder.

    Args:
        config: the run; its mesh must fit the machine.
        device: kind and number or topology: h200:8, h100:4, rtx4090:1, v5e:4x4, v5p:4x4x4, v6e:2x4.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from inspire_fast.training.preflight import plan
    from inspire_fast.training.preflight.compile_lab import described_devices, install_lab
    from inspire_fast.training.preflight.described_devices import parse_machine

    machine = parse_machine(device)
    install_lab(machine)
    devices, options = described_devices(machine)
    fraction = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION") or plan.GPU_SHARE)
    made = plan.plan_run(config, machine, devices, options, fraction if machine.device.cuda else 1.0)
    print(made)
    return int(not made.fits)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    run_with_config(plan_run, args)
