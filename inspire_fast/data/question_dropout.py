"""Dropout of questions in training samples, so that a policy can also act without answering first.

A policy that always answered before it acted cannot act without answers. ECoT-Lite reports dropout of the reasoning as
the cure for its instability and cost: a policy trained with it can be told to skip the questions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspire_fast.core.ranges import Fraction, require_ranges


@dataclass(frozen=True, kw_only=True)
class QuestionDropout:
    """Random choice of a training sample's questions, drawn at every use. Held-out samples ask all questions.

    Attributes:
        without: fraction of samples without questions.
        unsupervised: fraction of samples whose answers are in the prompt but carry no loss.
        target_dropout: probability, for each target, that it is not asked about, in all samples with questions; at
            least one target stays.
        shuffle: targets in random order instead of the instruction's.
    """

    without: Fraction = 0.0
    unsupervised: Fraction = 0.0
    target_dropout: Fraction = 0.0
    shuffle: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.without + self.unsupervised > 1:
            raise ValueError(
                f"without={self.without} and unsupervised={self.unsupervised} are fractions of the same samples; they "
                "must not exceed 1 together."
            )

    def draw(self, targets: tuple[str, ...], rng: np.random.Generator) -> tuple[tuple[str, ...], bool]:
        """The questions of one use of a sample.

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
