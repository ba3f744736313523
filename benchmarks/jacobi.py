"""Passes that parallel (Jacobi) decoding of actions would take: `uv run python benchmarks/jacobi.py`.

Needs the run of `make demo`.

Jacobi decoding (Song et al. 2021; Santilli et al. 2023) guesses all remaining tokens, reads them in one pass, replaces
each by the likeliest one behind the guesses before it, and goes on until nothing changes. The result is the greedy one;
what counts is how many passes it takes where decoding one by one takes as many as there are tokens. Guesses begin as
one repeated id, or as the ids of the chunk that the same episode had five frames before (a policy that replans at
openpi's cadence has it). The last line is one JSON object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm
import tyro

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.reading import find_step, load_model
from inspire_fast.core.batch import TARGET_ACTION, Batch
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.training.datasets.assets import load_stats, load_vocabulary, make_transform
from inspire_fast.training.datasets.sources import open_source
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.prepare import to_batch

CADENCE = 5  # frames between two calls


@dataclass(frozen=True, kw_only=True)
class Args:
    """What is measured.

    Attributes:
        checkpoint: of the demo's run.
        samples: held-out samples, evenly spread.
    """

    checkpoint: Path = Path("runs/demo/checkpoints/demo/default")
    samples: int = 64


@jax.jit
def likeliest(model: Pi0Fast, batch: Batch) -> jax.Array:
    """int `[b, k]`: the likeliest id at each supervised place, given the ids before it."""
    hidden = model(batch.images, batch.image_mask, batch.ids, batch.valid, batch.block)
    before = jnp.maximum(batch.target_at - 1, 0)[..., None]
    return model.logits(jnp.take_along_axis(hidden, before, axis=1)).argmax(-1)


def passes(model: Pi0Fast, batch: Batch, guess: np.ndarray) -> tuple[int, int]:
    """(passes until the actions stand, number of action tokens) of one row, whose action ids begin as `guess`."""
    places = np.asarray(batch.target_at)[0][np.asarray(batch.target_kind)[0] == TARGET_ACTION]
    chosen = np.asarray(batch.target_kind)[0] == TARGET_ACTION
    ids = np.array(batch.ids)
    ids[0, places] = np.resize(guess, len(places))
    for count in range(1, len(places) + 2):
        found = np.asarray(likeliest(model, replace(batch, ids=jnp.asarray(ids))))[0][chosen]
        if (found == ids[0, places]).all():
            return count - 1, len(places)  # the last pass only confirms: a decoder sees that from the first wrong guess
        ids[0, places] = found
    raise RuntimeError("a fixed point takes at most as many passes as there are tokens")


def main(args: Args) -> None:
    """Measures and prints both beginnings."""
    config, step = load_config("demo"), find_step(args.checkpoint)
    model = load_model(step, Contract.read(step / "assets").model)
    source = open_source(config, "held_out")
    transform = make_transform(config, load_vocabulary(config), load_stats(config))
    transform = replace(transform, state_noise=0.0, question_dropout=QuestionDropout())
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def rendered(index: int) -> Batch:
        arrays = transform(source[index], np.random.default_rng(0))
        return to_batch({k: v[None] for k, v in arrays.items()}, here)

    def actions(batch: Batch) -> np.ndarray:
        return np.asarray(batch.ids)[0][
            np.asarray(batch.target_at)[0][np.asarray(batch.target_kind)[0] == TARGET_ACTION]
        ]

    taken: dict[str, list[int]] = {"repeated id": [], "chunk before": []}
    tokens = []
    for index in tqdm(
        np.linspace(CADENCE, len(source) - 1, args.samples).round().astype(int), unit="sample", disable=None
    ):
        batch, before = rendered(int(index)), rendered(int(index) - CADENCE)
        for name, guess in (("repeated id", actions(batch)[:1] * 0), ("chunk before", actions(before))):
            count, length = passes(model, batch, guess)
            taken[name].append(count)
        tokens.append(length)
    shares = {name: float(np.sum(counts) / np.sum(tokens)) for name, counts in taken.items()}
    for name, share in shares.items():
        print(f"guesses begin as {name}: {share:.2f} passes per token ({np.mean(tokens):.1f} tokens per chunk)")
    print(json.dumps({"samples": args.samples, "tokens_per_chunk": float(np.mean(tokens)), "passes_per_token": shares}))


if __name__ == "__main__":
    main(tyro.cli(Args))
