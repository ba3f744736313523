"""What places cost when a policy acts: `uv run python benchmarks/location_answers.py [--quick]`.

Points and boxes of two targets and a path of eight points are 28 ids, about as many as a chunk. All sides see the same
pictures, have the same random weights and write the same forced action ids; they take turns in every round, in another
order each time. Figures are medians, and ratios medians of the ratios within a round. The last line is one JSON object.

    none      `st4vla`: the spatial prompt, nothing decoded
    free      `st4vla_answers`: 28 ids decoded one by one, then the chunk
    drafted   the same, with the right answers as drafts, verified in the prefill
    wrong     the same, with the first answer's draft wrong, so that all are decoded
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import json
import statistics
import time

import numpy as np
import tyro

from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.render import PromptFields
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import random_chunks, tiny_vocabulary
from inspire_fast.models.config import PRESETS
from inspire_fast.models.inference.build import build
from inspire_fast.models.testing import random_images, random_model
from inspire_fast.policy.batching import Row
from inspire_fast.policy.decoder import Decoder

BINS, HORIZON, ACTION_DIM = 128, 10, 7
ASKED = tuple(QUESTIONS[name](bins=BINS) for name in ("point", "box", "trace"))
FIELDS = PromptFields(
    instruction="put the bowl on the plate", state=np.zeros(8), targets=("the black bowl", "the plate")
)


@dataclass(frozen=True, kw_only=True)
class Args:
    """Settings of the benchmark.

    Attributes:
        quick: five rounds instead of thirty.
        preset: network.
    """

    quick: bool = False
    preset: str = "tiny"


def sides(preset: str) -> tuple[dict[str, Callable[[], None]], dict[str, int]]:
    """Side -> one call of it; and how many of five given answers each call keeps."""
    words = tiny_vocabulary(locations=BINS)
    config = replace(PRESETS[preset], vocab_size=words.size)
    model = build(random_model(config))
    plain, asking = (
        Decoder(model, SCRIPTS[name](*ASKED), words, horizon=HORIZON, action_dim=ACTION_DIM)
        for name in ("st4vla", "st4vla_answers")
    )
    actions = words.action.encode(random_chunks(1, HORIZON, ACTION_DIM, seed=1)[0])
    images, kept = random_images(config, 1), dict[str, int]()
    free = asking.plan(FIELDS)
    right = asking.decode(images, [free], actions=[actions])[0].answers
    first_wrong = (form_of(ASKED[0]).wrong(right[0]), *right[1:])
    rows: dict[str, tuple[Decoder, Row]] = {
        "none": (plain, plain.plan(FIELDS)),
        "free": (asking, free),
        "drafted": (asking, free.with_answers(right, trusted=False)),
        "wrong": (asking, free.with_answers(first_wrong, trusted=False)),
    }

    def call(name: str) -> None:
        decoder, row = rows[name]
        (decoded,) = decoder.decode(images, [row], actions=[actions])
        kept[name] = decoded.accepted
        if name != "none" and decoded.answers != right:
            raise AssertionError(f"Side {name!r} answers {decoded.answers}, not {right}.")

    return {name: lambda name=name: call(name) for name in rows}, kept


def main(args: Args) -> None:
    """Takes turns, prints a table and the figures."""
    calls, kept = sides(args.preset)
    times: dict[str, list[float]] = {name: [] for name in calls}
    rng = np.random.default_rng(0)
    for one in calls.values():  # compiled
        one()
    for _ in range(5 if args.quick else 30):
        for name in rng.permutation(list(calls)).tolist():
            start = time.perf_counter()
            calls[name]()
            times[name].append(1e3 * (time.perf_counter() - start))
    figures: dict[str, float] = {}
    for name, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(taken, times["none"], strict=True))
        figures |= {f"{name}_ms": round(statistics.median(taken), 2), f"{name}_ratio": round(ratio, 3)}
        print(f"{name:8} {statistics.median(taken):8.1f} ms   {ratio:6.2f} x none   {kept[name]} of 5 drafts kept")
    print(json.dumps({"preset": args.preset, "rounds": len(times["none"]), **figures}))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
