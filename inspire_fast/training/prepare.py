"""Preparation of a run: everything it needs is found and checked before anything on disk changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
import logging

import jax
import numpy as np

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.core.batch import Batch
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Mixture, Part, spread
from inspire_fast.data.normalization.compute import Source
from inspire_fast.data.quality import describe_blank
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.data.training_transform import TrainingTransform
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.robots import Robot
from inspire_fast.training.checkpoint_writer import latest_step
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.askable import require_askable
from inspire_fast.training.datasets.assets import (
    load_stats,
    load_vocabulary,
    make_transform,
    stats_path,
    with_transforms,
)
from inspire_fast.training.datasets.fingerprints import Fingerprint, fingerprints
from inspire_fast.training.datasets.known_lengths import known_lengths
from inspire_fast.training.datasets.provenance import warn_of_other_samples
from inspire_fast.training.datasets.sources import described, joined, open_parts, shares_drawn, uses_labels
from inspire_fast.training.init_params import check_initial, saw_actions, warn_of_other_text
from inspire_fast.training.optimizer import check_groups, learning_rate
from inspire_fast.training.preflight.memory import estimate_memory
from inspire_fast.training.reporting.loss_shares import described as loss_in_words
from inspire_fast.training.reporting.loss_shares import loss_shares
from inspire_fast.training.run_contract import contract_files, make_contract, stored_contract
from inspire_fast.training.sharding import batch_sharding, make_mesh
from inspire_fast.training.state import trained_paths
from inspire_fast.training.trackers.open import check_trackers

logger = logging.getLogger(__name__)
_PICTURES = 4  # of each camera, looked at for cameras that see nothing


@dataclass(frozen=True, kw_only=True)
class Run:
    """A config with everything that training needs.

    Attributes:
        config: the run's config.
        mesh: the devices.
        source: training samples of all datasets.
        transform: samples -> batch rows; holds the script.
        contract: the record that every checkpoint carries.
        vocabulary: the tokenizers in one id space.
        data: fingerprints of the datasets, see `training.datasets.fingerprints`.
        files: files that each checkpoint carries besides its arrays.
        held_out: fixed batches for the held-out losses, on the devices.
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
    """Finds and checks what a run needs; raises what `train` raises. Nothing on disk is changed."""
    check_trackers(config.logging.trackers)
    opened = open_parts(config, "train")
    stats, vocabulary = load_stats(config), load_vocabulary(config)
    warn_of_other_samples(config, stats_path(config))
    transform = make_transform(config, vocabulary, stats)
    parts = with_transforms(config, opened, transform)
    mesh = make_mesh(config.mesh)
    _check_batch(config, mesh)
    logger.info("Mesh %s; memory by formula: %s.", dict(mesh.shape), estimate_memory(config, mesh))
    require_askable(parts, transform)
    longest = known_lengths(config, parts, transform)
    logger.info("Training dialogues have %s.", longest)
    longest.require_fit(config.data.max_token_len, config.data.max_supervised)
    for part in parts:
        for sample in (0, len(part.source) - 1):
            (part.transform or transform)(part.source[sample], np.random.default_rng(0))
    _warn_of_blank_pictures(parts)
    for line in described(parts):
        logger.info(line)
    logger.info(loss_in_words(loss_shares(parts, transform, shares_drawn(parts))))
    held_out = fixed_batches(
        _held_out(config, transform), transform, samples=config.evaluation.samples, batch_size=config.batch_size
    )
    resumed = config.resume and latest_step(config.checkpoint_dir) is not None
    contract = make_contract(
        config,
        vocabulary,
        stats,
        control_hz=control_hz(config.embodiment, parts),
        saw_actions=stored_contract(config).saw_actions if resumed else saw_actions(config),
    )
    learning_rate(config.optimizer, config.steps)  # refuses a schedule that does not fit
    check_groups(config.optimizer, trained_paths(config.model, config.freeze))
    if not resumed:
        check_initial(config)
        warn_of_other_text(config, vocabulary)
    _warn_of_double_deltas(config)
    return Run(
        config=config,
        mesh=mesh,
        source=joined(parts),
        transform=transform,
        contract=contract,
        vocabulary=vocabulary,
        data=fingerprints(config.data.datasets, labelled=uses_labels(config)),
        files=contract_files(config, contract),
        held_out=[to_batch(own_rows(batch), batch_sharding(mesh)) for batch in held_out],
    )


def _held_out(config: TrainConfig, transform: TrainingTransform) -> Source:
    """Held-out samples; says so if there are none although they should be evaluated."""
    source = joined(with_transforms(config, open_parts(config, "held_out"), transform))
    wanted = config.evaluation
    if not len(source) and (wanted.every or wanted.decode_every):
        logger.warning(
            "No episode is held out, because no dataset has data.held_out_every=%d of them: this run has no held-out "
            "losses and decodes nothing. Lower it (`--data.held-out-every`), or record more episodes.",
            config.data.held_out_every,
        )
    return source


def _check_batch(config: TrainConfig, mesh: jax.sharding.Mesh) -> None:
    """Refuses a batch that does not divide over processes, devices and microbatches."""
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    if rows % jax.process_count():
        raise ValueError(
            f"{jax.process_count()} processes cannot each have rows of their own over mesh {dict(mesh.shape)}: data x "
            "fsdp must be a multiple of the processes. Lower --mesh.tensor: it must not reach across machines."
        )
    if config.batch_size % (config.grad_accum_steps * rows):
        raise ValueError(
            f"batch_size {config.batch_size} does not divide into {config.grad_accum_steps} microbatch(es) over mesh "
            f"{dict(mesh.shape)}."
        )


def control_hz(robot: Robot, parts: Sequence[Part[ChunkSource]]) -> float:
    """The data's rate, for the contract; 0 if the parts have several. Another one than the robot's is warned of."""
    rates = sorted({part.source.dataset.fps for part in parts if part.source.acts})
    if rates != [robot.control_hz]:
        logger.warning(
            "The data were recorded at %s frames per second and robot %r is controlled at %g Hz: a policy moves as "
            "recorded only at the data's rate. If the rate in meta/info.json is wrong (openpi's conversion of LIBERO "
            "says 10 where it is 20), correct it there.",
            " and ".join(f"{rate:g}" for rate in rates),
            robot.name,
            robot.control_hz,
        )
    return rates[0] if len(rates) == 1 else 0.0


def _warn_of_blank_pictures(parts: Sequence[Part[ChunkSource]]) -> None:
    for part in parts:
        dataset = part.source.dataset
        cameras = [column for column, feature in dataset.features.items() if feature.visual]
        for line in describe_blank(dataset, cameras, looked_at=_PICTURES):
            logger.warning("%s: %s", part.name, line)


def _warn_of_double_deltas(config: TrainConfig) -> None:
    if any(config.delta) and not any(config.embodiment.delta):
        logger.warning(
            "data.delta makes the actions of robot %r relative to its state, although they are trained as they are by "
            "default: on LIBERO, whose actions are deltas already, this cost pi0 25 points of LIBERO-10 (openpi PR "
            "1048). Keep it only to continue from weights that were trained so.",
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


def fixed_batches(
    held_out: Source, transform: TrainingTransform, *, samples: int, batch_size: int
) -> list[dict[str, np.ndarray]]:
    """About `samples` held-out samples, evenly spread, in full batches; a short set is repeated to fill one.

    Samples of several datasets have the shares of training. Each batch is spread over all of them, too.
    """
    if not samples or not len(held_out):
        return []
    count = max(min(samples, len(held_out)) // batch_size, 1) * batch_size
    rows = [_clean(held_out, transform, i)(held_out[i], np.random.default_rng(0)) for i in spread(held_out, count)]
    batches = count // batch_size
    return [{k: np.stack([r[k] for r in rows[i::batches]]) for k in rows[0]} for i in range(batches)]


def _clean(held_out: Source, transform: TrainingTransform, i: int) -> TrainingTransform:
    """The transform of a held-out sample: complete, exact, and of the picture as it is."""
    own = held_out.locate(i)[0].transform if isinstance(held_out, Mixture) else None
    chosen = own if isinstance(own, TrainingTransform) else transform
    return replace(chosen, state_noise=0.0, question_dropout=QuestionDropout(), placement=None)
