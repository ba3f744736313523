"""Start of a run with several processes: they find each other before JAX starts."""

from __future__ import annotations

from collections.abc import Mapping
import logging
import os

import jax

from inspire_fast.training.config import DistributedConfig

logger = logging.getLogger(__name__)


def join(config: DistributedConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Joins the other processes, if there are any. Must come before anything asks JAX for devices; once is enough.

    Raises:
        ValueError: some of the explicit settings are missing, or the environment does not name the other processes.
        RuntimeError: the other processes did not come.
    """
    if jax.distributed.is_initialized():
        return
    given = {"coordinator": config.coordinator, "processes": config.processes, "process": config.process}
    if missing := [name for name, value in given.items() if value is None]:
        if len(missing) < len(given):
            raise ValueError(
                f"distributed.{', distributed.'.join(missing)} missing: give all of {', '.join(given)}, or none "
                "to use the cluster's environment."
            )
        if not (config.auto or in_slurm(environ)):
            return
        try:
            jax.distributed.initialize()
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"JAX does not find the other processes in this job's environment ({error}). Name them: "
                "--distributed.coordinator HOST:PORT --distributed.processes N --distributed.process K."
            ) from error
    else:
        jax.distributed.initialize(config.coordinator, config.processes, config.process)
    logger.info(
        "Process %d of %d with %d of %d devices.",
        jax.process_index(),
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
    )


def in_slurm(environ: Mapping[str, str]) -> bool:
    """Whether this is one of several processes that `srun` started."""
    tasks = environ.get("SLURM_STEP_NUM_TASKS", "")
    return "SLURM_PROCID" in environ and tasks.isdigit() and int(tasks) > 1
