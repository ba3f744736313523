"""Shares of answers and actions in the loss: what the weights of parts and segments come to.

The loss is the mean over rows of each row's weighted mean, so that a part's share is the share of its rows times its
`loss_weight`, whatever the number of its ids. With ST4VLA's 16 rows that act to 4 that answer:

    loss_weight of the answering part    answers : actions
    1.0                                  1 : 4
    0.4                                  1 : 10      (ST4VLA's 1 : 10)
    0.1                                  1 : 40
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Part, spread
from inspire_fast.data.training_transform import TrainingTransform

KINDS = {"answers": TARGET_ANSWER, "actions": TARGET_ACTION}
_SAMPLES = 8  # per part


def loss_shares(
    parts: Sequence[Part[ChunkSource]], transform: TrainingTransform, shares: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    """(part, "answers" or "actions") -> share of the loss's weight, from a few samples of each part.

    Args:
        parts: the run's datasets, with transforms of their own where they have them.
        transform: of the other parts.
        shares: part -> share of the rows that training draws.
    """
    found: dict[tuple[str, str], float] = {}
    for part in parts:
        chosen = dict.fromkeys(spread(part.source, min(_SAMPLES, len(part.source)))) if len(part.source) else ()
        own = part.transform or transform
        rows = [own(part.source[i], np.random.default_rng(i)) for i in chosen]
        for name, kind in KINDS.items():
            weights = [row_weight(row["target_weight"], row["target_kind"] == kind) for row in rows]
            found[part.name, name] = shares[part.name] * float(np.mean(weights)) if weights else 0.0
    whole = sum(found.values())
    return {key: share / whole for key, share in found.items()} if whole else found


def row_weight(weight: np.ndarray, chosen: np.ndarray) -> float:
    """What some ids of a row add to its weighted mean, per nat: `weight` `[k]` is 0 on padding, `chosen` bool `[k]`."""
    return float(weight[chosen].sum() / max(int((weight > 0).sum()), 1))


def described(shares: Mapping[tuple[str, str], float]) -> str:
    """The shares in words, with the ratio of answers to actions."""
    total = {kind: sum(share for (_, of), share in shares.items() if of == kind) for kind in KINDS}
    listed = ", ".join(f"{kind} of {part} {share:.1%}" for (part, kind), share in shares.items() if share)
    if not all(total.values()):
        return f"The loss is made of {listed}."
    ratio = total["actions"] / total["answers"]
    return f"The loss is made of {listed}; answers to actions 1 : {ratio:.1f}, for equal losses per id."
