"""Points, boxes and traces that a network answers on a dataset's samples, beside the truth and the baselines."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

from inspire_fast.core.types import Sample, SceneFacts
from inspire_fast.data.training_transform import ModelInput
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import Locations, place_of
from inspire_fast.evaluation.report.locations import (
    KINDS,
    Kind,
    Located,
    Means,
    Measure,
    measures,
    training_means,
)
from inspire_fast.policy.asking import Asked, ask
from inspire_fast.policy.decoder import Decoder
from inspire_fast.policy.openpi_decoder import OpenpiDecoder


def locate(
    decoder: Decoder | OpenpiDecoder,
    inputs: ModelInput,
    samples: Sequence[Sample],
    episodes: Sequence[Hashable],
    *,
    seed: int = 0,
) -> list[list[Located]]:
    """Answers of a network that are places, per sample.

    Every sample is asked twice: as it is, and under another instruction, that of a sample drawn from those that have
    one; once if all have the same.

    Args:
        decoder: of a script that asks.
        inputs: from observations to the network's input.
        samples: with facts.
        episodes: of the samples.
        seed: of the draw of other instructions.
    """
    told = _other_instructions([sample.observation.prompt for sample in samples], seed)
    own, other = ask(decoder, inputs, samples), [None] * len(samples)
    if told is not None:
        other = ask(decoder, inputs, samples, told=[samples[n] for n in told])
    return [
        [] if a is None else _located(a, b, episode, inputs.image_hw)
        for a, b, episode in zip(own, other, episodes, strict=True)
    ]


def means(scenes: Iterable[SceneFacts]) -> dict[Kind, Means]:
    """Means of the places in facts, by kind; see `training_means`."""
    found: dict[Kind, list[tuple[str, np.ndarray]]] = {kind: [] for kind in KINDS}
    for facts in scenes:
        for target in facts.targets:
            if target.point_px is not None:
                found["point"].append((target.phrase, np.array(target.point_px, float)))
            if target.box_px is not None:
                found["box"].append((target.phrase, np.array(target.box_px, float)))
        if facts.trace_px is not None:
            found["trace"].append(("", facts.trace_px.astype(float)))
    return {kind: training_means(places) for kind, places in found.items()}


def measures_by_kind(rows: Sequence[Located], trained: Mapping[Kind, Means]) -> dict[Kind, list[Measure]]:
    """Measures of each kind among the answers; `trained` are means of what the network was trained on."""
    return {
        kind: measures(mine, trained.get(kind)) for kind in KINDS if (mine := [row for row in rows if row.kind == kind])
    }


def _located(asked: Asked, shuffled: Asked | None, episode: Hashable, picture_hw: tuple[int, int]) -> list[Located]:
    """The answers to `point`, `box` and `trace`."""
    others = {} if shuffled is None else {(q.name, target): answer for q, target, answer in shuffled.answers}
    rows = []
    for question, target, answer in asked.answers:
        form, truth = form_of(question), _truth(question.name, target, asked.facts)
        if truth is None or not isinstance(form, Locations):
            continue
        kind, true_place, box = truth
        other = others.get((question.name, target))
        rows.append(
            Located(
                kind=kind,
                episode=episode,
                truth=true_place,
                answer=place_of(kind, answer, form.bins),
                shuffled=None if other is None else place_of(kind, other, form.bins),
                picture_hw=picture_hw,
                box=box,
                target=target,
            )
        )
    return rows


def _truth(question: str, target: str, facts: SceneFacts) -> tuple[Kind, np.ndarray, np.ndarray | None] | None:
    """Kind and place, exactly as labelled; and the box of a point's thing."""
    if question == "trace":
        return None if facts.trace_px is None else ("trace", facts.trace_px.astype(float), None)
    fact = next((one for one in facts.targets if one.phrase == target), None)
    box = None if fact is None or fact.box_px is None else np.array(fact.box_px, float)
    if question == "box" and box is not None:
        return "box", box, None
    if question == "point" and fact is not None and fact.point_px is not None:
        return "point", np.array(fact.point_px, float), box
    return None


def _other_instructions(prompts: Sequence[str], seed: int) -> list[int] | None:
    """For each sample the number of one with another instruction, drawn; None if all have the same one."""
    rng, by_prompt = np.random.default_rng(seed), dict[str, list[int]]()
    for n, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(n)
    if len(by_prompt) < 2:
        return None
    others = {prompt: [n for p, numbers in by_prompt.items() if p != prompt for n in numbers] for prompt in by_prompt}
    return [int(rng.choice(others[prompt])) for prompt in prompts]
