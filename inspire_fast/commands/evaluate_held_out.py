"""Evaluation of a training run on its held-out samples, decoded as a robot would have them."""

from dataclasses import asdict
from functools import partial

import numpy as np
from tqdm import tqdm

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.core.files import write_json
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.training.dataset_config import part_names
from inspire_fast.training.datasets.sources import acting_source
from inspire_fast.training.reporting.held_out import evaluate_held_out

MAX_SAMPLES = 256


def evaluate(config: ConfigArgument) -> None:
    """Decodes at most 256 held-out samples, evenly spread, with a run's latest checkpoint; writes `held_out.json`."""
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
    if not policy.script.acts:
        raise ValueError(
            f"The run's script {policy.script.name!r} does not act: its answers are in `decoded_grounding` of "
            f"{config.checkpoint_dir / 'metrics.jsonl'}."
        )
    source = acting_source(config, "held_out")
    if not len(source):
        raise ValueError(
            f"No episode is held out: there are fewer than {config.data.held_out_every} (`--data.held-out-every`)."
        )
    index = np.linspace(0, len(source) - 1, min(MAX_SAMPLES, len(source))).round().astype(int)
    with tqdm(total=len(index), desc="held-out", unit="sample", disable=None) as bar:
        samples, unlabelled = [source[int(i)] for i in index], config.data.unlabelled
        result, _ = evaluate_held_out(policy, samples, unlabelled=unlabelled, progress=bar.update)
    stored = {**asdict(result), "confusion": [[t, a, n] for (t, a), n in result.confusion.items()]}
    path = config.checkpoint_dir / "held_out.json"
    write_json(path, stored)
    print(
        f"{result.samples} samples: answers {result.answer_accuracy:.3f} "
        f"(majority {result.answer_majority_baseline:.3f}), "
        f"action error {result.action_error:.4f} (mean {result.action_error_mean_baseline:.4f}); {path}"
    )


main = partial(run_with_config, evaluate)
