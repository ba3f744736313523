"""Several processes as one program: finding each other before JAX starts."""

from __future__ import annotations

from collections.abc import Mapping
import logging
import os

import jax

from inspire_fast.training.config import DistributedConfig

logger = logging.getLogger(__name__)

# What sets the number of processes of a job that JAX knows how to join by itself.
_CLUSTERS = {
    "SLURM_NTASKS": "SLURM",
    "OMPI_COMM_WORLD_SIZE": "Open MPI",
    "JOB_COMPLETION_INDEX": "Kubernetes (an indexed Job)",
    "TPU_WORKER_HOSTNAMES": "Cloud TPU",
    "MEGASCALE_COORDINATOR_ADDRESS": "Cloud TPU multislice",
}


def join(config: DistributedConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Joins the other processes, if there are any. Called once, before anything asks JAX for devices.

    Raises:
        ValueError: some of the explicit settings are given and others are not.
        RuntimeError: the others did not come.
    """
    given = {"coordinator": config.coordinator, "processes": config.processes, "process": config.process}
    if missing := [name for name, value in given.items() if value is None]:
        if len(missing) < len(given):
            raise ValueError(
                f"distributed.{', distributed.'.join(missing)} missing: give all of {', '.join(given)}, or none of them "
                "and let the cluster's environment say."
            )
        cluster = detected(environ)
        if cluster is None:
            return
        logger.info("Joining the processes of a %s job.", cluster)
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(config.coordinator, config.processes, config.process)
    logger.info(
        "Process %d of %d with %d of %d devices.",
        jax.process_index(),
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
    )


def detected(environ: Mapping[str, str]) -> str | None:
    """The kind of cluster whose job this is, if it has several processes."""
    for variable, cluster in _CLUSTERS.items():
        value = environ.get(variable, "")
        several = int(value) > 1 if variable.endswith(("NTASKS", "SIZE")) and value.isdigit() else bool(value)
        if variable == "TPU_WORKER_HOSTNAMES":
            several = "," in value
        if several:
            return cluster
    return None
