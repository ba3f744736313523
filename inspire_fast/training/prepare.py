"""What a run needs, found and checked before anything on disk is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import logging

import jax
import numpy as np

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.core.batch import Batch
from inspire_fast.data.mixture import spread
from inspire_fast.data.normalization.compute import Source
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.data.training_transform import TrainingTransform
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.training.checkpoint_writer import latest_step
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.assets import load_stats, load_vocabulary, make_transform
from inspire_fast.training.datasets.fingerprints import Fingerprint, fingerprints
from inspire_fast.training.datasets.sources import described, joined, open_parts, open_source
from inspire_fast.training.init_params import check_initial
from inspire_fast.training.optimizer import check_groups, learning_rate
from inspire_fast.training.preflight.memory import device_memory, plan_memory, require_memory
from inspire_fast.training.run_contract import contract_files, make_contract
from inspire_fast.training.sharding import batch_sharding, make_mesh
from inspire_fast.training.state import trained_paths
from inspire_fast.training.trackers.open import check_trackers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A config with everything it needs, found and checked; nothing on disk has been touched.

    Attributes:
        vocabulary: the tokenizers in one id space.
        data: the datasets' fingerprints, see `training.datasets.fingerprints`.
        held_out: fixed batches for the held-out losses, on the devices.
        files: what each checkpoint carries beside its arrays.
    """

    config: TrainConfig
    mesh: jax.sharding.Mesh
    source: Source
    transform: TrainingTransform
    contract: Contract
    vocabulary: Vocabulary
    data: Mapping[str, Fingerprint]
    files: Mapping[str, bytes]
    held_out: list[Batch]


def prepare(config: TrainConfig) -> Run:
    """Finds and checks what a run needs; see `train` for what it raises."""
    check_trackers(config.logging.trackers)
    parts = open_parts(config, "train")
    stats, vocabulary = load_stats(config), load_vocabulary(config)
    transform = make_transform(config, vocabulary, stats)
    mesh = make_mesh(config.mesh)
    if mesh.shape["data"] * mesh.shape["fsdp"] % jax.process_count():
        raise ValueError(
            f"{jax.process_count()} processes cannot each have rows of their own over mesh {dict(mesh.shape)}: data x fsdp must "
            "be a multiple of the processes. Lower --mesh.tensor: it must not reach across machines."
        )
    if config.batch_size % (config.grad_accum_steps * mesh.shape["data"] * mesh.shape["fsdp"]):
        raise ValueError(
            f"batch_size {config.batch_size} does not divide into {config.grad_accum_steps} piece(s) over mesh {dict(mesh.shape)}."
        )
    _plan(config, mesh)
    for part in parts:
        for sample in (0, len(part.source) - 1):
            transform(part.source[sample], np.random.default_rng(0))
    for line in described(parts):
        logger.info(line)
    fixed = fixed_batches(config, open_source(config, "held_out"), transform)
    contract = make_contract(config, vocabulary, stats)
    learning_rate(config.optimizer, config.steps)
    check_groups(config.optimizer, trained_paths(config))
    if not config.resume or latest_step(config.checkpoint_dir) is None:
        check_initial(config)
    _warn_of_double_deltas(config)
    return Run(
        config=config,
        mesh=mesh,
        source=joined(parts),
        transform=transform,
        contract=contract,
        vocabulary=vocabulary,
        data=fingerprints(config),
        files=contract_files(config, contract),
        held_out=[to_batch(own_rows(batch), batch_sharding(mesh)) for batch in fixed],
    )


def _plan(config: TrainConfig, mesh: jax.sharding.Mesh) -> None:
    plan, available = plan_memory(config, mesh), device_memory()
    logger.info("Mesh %s; memory plan: %s.", dict(mesh.shape), plan)
    try:
        require_memory(config, plan, available)
    except ValueError as error:
        if config.memory == "refuse":
            raise
        logger.warning("%s", error)


def _warn_of_double_deltas(config: TrainConfig) -> None:
    if any(config.delta) and not any(config.embodiment.delta):
        logger.warning(
            "data.delta makes the actions of robot %r relative to its state, but they are trained as they are: on LIBERO, "
            "whose actions are deltas already, this cost pi0 25 points of LIBERO-10 (openpi PR 1048). Keep it only to go on "
            "with weights that were trained so.",
            config.robot,
        )


def to_batch(arrays: Mapping[str, np.ndarray], sharding: jax.sharding.Sharding) -> Batch:
    """A loader's arrays on the devices; cameras are never masked in pi0-FAST."""

    def put(array: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(sharding, array)

    images = {k.removeprefix("image:"): put(v) for k, v in arrays.items() if k.startswith("image:")}
    rest = {k: put(v) for k, v in arrays.items() if not k.startswith("image:")}
    shown = put(np.ones(len(arrays["ids"]), bool))
    return Batch(images=images, image_mask=dict.fromkeys(images, shown), **rest)


def own_rows(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """This process's rows of a batch that every process has made."""
    index, count = jax.process_index(), jax.process_count()
    return {k: v[len(v) * index // count : len(v) * (index + 1) // count] for k, v in arrays.items()}


def fixed_batches(config: TrainConfig, held_out: Source, transform: TrainingTransform) -> list[dict[str, np.ndarray]]:
    """About `eval_samples` held-out samples, evenly spread, in full batches; a short set is repeated to fill one.

    Those of several datasets come in the shares that they are trained in.
    """
    if not config.evaluation.samples or not len(held_out):
        return []
    size = config.batch_size
    count = max(min(config.evaluation.samples, len(held_out)) // size, 1) * size
    clean = replace(transform, state_noise=0.0, question_dropout=QuestionDropout())
    rows = [clean(held_out[i], np.random.default_rng(0)) for i in spread(held_out, count)]
    return [{k: np.stack([r[k] for r in rows[i : i + size]]) for k in rows[0]} for i in range(0, len(rows), size)]
