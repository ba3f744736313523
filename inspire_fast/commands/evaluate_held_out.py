"""Evaluation of a training run on its held-out samples, decoded as a robot would have them."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.core.files import write_json
from inspire_fast.core.types import Sample
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Mixture
from inspire_fast.data.normalization.compute import Source
from inspire_fast.data.truths import Unlabelled
from inspire_fast.evaluation.report.held_out_locations import locate, means, measures_by_kind
from inspire_fast.evaluation.report.locations import KINDS, Kind, Means
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import part_names
from inspire_fast.training.datasets.sources import acting_source
from inspire_fast.training.reporting.held_out import evaluate_held_out

MAX_SAMPLES = 256


def evaluate(config: ConfigArgument) -> None:
    """Decodes at most 256 held-out samples, evenly spread, with a run's latest checkpoint; writes `held_out.json`.

    Answers that are places stand beside two baselines: the mean of the training truths, and the answer to the same
    picture under another instruction.
    """
    policy = InspirePolicy.load(config.checkpoint_dir)
    trained, asked = policy.contract.config["data"], asdict(config.data)
    for key in ("held_out_every", "horizon", "max_image_age_s", "columns"):
        if trained[key] != asked[key]:
            raise ValueError(
                f"The run was trained with data.{key}={trained[key]!r}, not {asked[key]!r}: "
                "other episodes are held out."
            )
    parts = [part["name"] for part in trained.get("parts", ())]
    if parts != (now := [*part_names(config.data.parts)]):
        raise ValueError(f"The run was trained on the parts {parts}, not {now}: other episodes are held out.")
    source = acting_source(config, "held_out")
    if not len(source):
        raise ValueError(
            f"No episode is held out: there are fewer than {config.data.held_out_every} (`--data.held-out-every`)."
        )
    index = _spread(len(source))
    samples = [source[i] for i in index]
    stored: dict[str, Any] = {"samples": len(samples)}
    if policy.script.acts:
        stored = _actions(policy, samples, config.data.unlabelled)
    if {question.name for question in policy.script.questions} & set(KINDS):
        guesses = _training_means(policy, config)
        rows = locate(policy.decoder, policy.inputs, samples, [_episode(source, i) for i in index])
        places = measures_by_kind([row for one in rows for row in one], guesses)
        by_name = {kind: {name: np.round(at, 5).tolist() for name, at in one.items()} for kind, one in guesses.items()}
        write_json(config.checkpoint_dir / "training_means.json", by_name)
        stored["places"] = {kind: {m.name: asdict(m) for m in found} for kind, found in places.items()}
        print("\n".join(f"{kind:5} {measure}" for kind, found in places.items() for measure in found))
    path = config.checkpoint_dir / "held_out.json"
    write_json(path, stored)
    print(path)


def _actions(policy: InspirePolicy, samples: Sequence[Sample], unlabelled: Unlabelled) -> dict[str, Any]:
    with tqdm(total=len(samples), desc="held-out", unit="sample", disable=None) as bar:
        result, _ = evaluate_held_out(policy, samples, unlabelled=unlabelled, progress=bar.update)
    print(
        f"{result.samples} samples: answers {result.answer_accuracy:.3f} "
        f"(majority {result.answer_majority_baseline:.3f}), "
        f"action error {result.action_error:.4f} (mean {result.action_error_mean_baseline:.4f})"
    )
    return {**asdict(result), "confusion": [[t, a, n] for (t, a), n in result.confusion.items()]}


def _training_means(policy: InspirePolicy, config: TrainConfig) -> dict[Kind, Means]:
    """Means of the places that the run was trained on, of at most 256 samples."""
    train = acting_source(config, "train")
    return means(filter(None, (policy.inputs.facts(train[i]) for i in _spread(len(train)))))


def _spread(size: int) -> list[int]:
    """At most `MAX_SAMPLES` numbers below `size`."""
    return sorted(set(np.linspace(0, size - 1, min(MAX_SAMPLES, size)).round().astype(int).tolist()))


def _episode(source: Source | tuple[()], i: int) -> Hashable:
    """The episode of a sample, told apart from those of other parts."""
    part, number = source.locate(i) if isinstance(source, Mixture) else (None, i)
    chunks = part.source if part else source
    assert isinstance(chunks, ChunkSource)
    return part and part.name, chunks.location(number)[0]


main = partial(run_with_config, evaluate)
