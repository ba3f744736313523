"""How often training samples are asked: a policy that always answered before it acted cannot act without answering.

Reports on reasoning before acting name drop-out of the reasoning as the cure for its instability and cost (ECoT-Lite):
trained with it, the policy can be told to skip the questions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class QuestionDropout:
    """Which questions a training sample holds, drawn anew each time the sample is used. Held-out samples ask everything.

    Attributes:
        without: fraction of samples that hold no question.
        unsupervised: fraction of samples whose answers are read but carry no loss.
        target_dropout: probability that a target is not asked about, each on its own, in the remaining samples and in the
            unsupervised ones; at least one stays.
        shuffle: targets in random order instead of the instruction's.
    """

    without: float = 0.0
    unsupervised: float = 0.0
    target_dropout: float = 0.0
    shuffle: bool = False

    def __post_init__(self) -> None:
        for name in ("without", "unsupervised", "target_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a fraction, 0 to 1; got {getattr(self, name)}.")
        if self.without + self.unsupervised > 1:
            raise ValueError(
                f"without={self.without} and unsupervised={self.unsupervised} are fractions of the same samples; they "
                "must not exceed 1 together."
            )

    def draw(self, targets: tuple[str, ...], rng: np.random.Generator) -> tuple[tuple[str, ...], bool]:
        """What one use of a sample asks.

        Args:
            targets: of the sample, in the instruction's order.
            rng: of this use.

        Returns:
            The targets that are asked about, in order, and whether their answers carry loss.
        """
        kind = rng.random()
        kept = rng.random(len(targets)) >= self.target_dropout
        order = rng.permutation(len(targets))
        if kind < self.without or not targets:
            return (), True
        if not kept.any():
            kept[order[0]] = True
        chosen = [i for i in (order if self.shuffle else range(len(targets))) if kept[i]]
        return tuple(targets[i] for i in chosen), kind >= self.without + self.unsupervised
