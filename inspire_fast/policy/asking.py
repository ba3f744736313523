"""Answers of a network to a dataset's samples: the questions that training asks about them, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inspire_fast.core.types import Sample, SceneFacts
from inspire_fast.data.training_transform import ModelInput
from inspire_fast.data.truths import facts_of, left_out
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.render import PromptFields
from inspire_fast.policy.decoder import Decoder
from inspire_fast.policy.openpi_decoder import OpenpiDecoder

_ROWS = 16  # per call of the network


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A sample's facts and the network's answers.

    Attributes:
        facts: of the targets that were asked about; places are of the picture as the network sees it.
        answers: (question, target, answer) of every question that the facts answer; the target is "" where the question
            is about the scene.
    """

    facts: SceneFacts
    answers: tuple[tuple[Question, str, str], ...]


def ask(
    decoder: Decoder | OpenpiDecoder,
    inputs: ModelInput,
    samples: Sequence[Sample],
    *,
    told: Sequence[Sample] | None = None,
) -> list[Asked | None]:
    """Asks about every sample what its facts answer; None where they answer nothing.

    Args:
        decoder: of a script that asks.
        inputs: from observations to the network's input.
        samples: with facts.
        told: for each sample another one, whose instruction and targets the network reads in place of the sample's own.
            Answers about its k-th target are then returned as answers about the sample's k-th.
    """
    found: list[Asked | None] = [None] * len(samples)
    for start in range(0, len(samples), _ROWS):
        numbers = range(start, min(start + _ROWS, len(samples)))
        plans = {n: _plan(decoder, inputs, samples[n], None if told is None else told[n]) for n in numbers}
        batch = {n: plan for n, plan in plans.items() if plan is not None}
        if not batch:
            continue
        rows = [decoder.plan(fields) for _, fields, _ in batch.values()]
        pictures = [inputs.images(samples[n].observation) for n in batch]
        images = {camera: np.stack([one[camera] for one in pictures]) for camera in decoder.cameras}
        for (n, (facts, _, own)), row, decoded in zip(batch.items(), rows, decoder.decode(images, rows), strict=True):
            given = zip(row.asked, decoded.answers, strict=True)
            answers = tuple((question, own[target], answer) for (question, target), answer in given if target in own)
            found[n] = Asked(facts=facts, answers=answers)
    return found


def _plan(
    decoder: Decoder | OpenpiDecoder, inputs: ModelInput, sample: Sample, told: Sample | None
) -> tuple[SceneFacts, PromptFields, dict[str, str]] | None:
    """Facts, what the network reads, and for each target that it reads the sample's own."""
    script, unlabelled = decoder.script, "ask_known"
    facts = facts_of(script, replace(sample, facts=inputs.facts(sample)), unlabelled)
    if facts is None:
        return None
    phrases = [target.phrase for target in facts.targets]
    observation, read = sample.observation, phrases
    if told is not None:
        other = facts_of(script, told, unlabelled)
        read = [target.phrase for target in other.targets] if other is not None else []
        observation = replace(observation, prompt=told.observation.prompt)
    own = dict(zip(read, phrases, strict=False)) | {"": ""}
    named = {phrase: name for name, phrase in own.items()}
    unknown = frozenset((question, named[phrase]) for question, phrase in left_out(script, facts) if phrase in named)
    return facts, inputs.prompt_fields(observation, tuple(read), unknown), own
