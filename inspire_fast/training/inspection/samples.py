"""Inspection of training data before training: samples as the network gets them, and the distribution of answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from inspire_fast.core.types import Observation, Sample, SceneFacts
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Part, spread
from inspire_fast.data.training_transform import TrainingTransform
from inspire_fast.data.truths import known_answer, left_out, truth_of
from inspire_fast.dialogue.render import PromptFields, Rendered, asked, end_ids
from inspire_fast.dialogue.script import ActionSlot
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.assets import load_stats, load_vocabulary, make_transform, with_transforms
from inspire_fast.training.datasets.lengths import transform_of
from inspire_fast.training.datasets.sources import open_parts, shares_drawn


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One sample as the network gets it.

    Attributes:
        part: name of its dataset.
        episode, frame: its place in that dataset.
        instruction: instruction of its episode.
        images: canonical camera -> uint8 `[h, w, 3]`, resized as for the network.
        source_hw: canonical camera -> height and width of the original image; points of the facts are fractions of it.
        rendered: the whole dialogue.
        texts: text of each segment, with filled-in blanks.
        facts: source of the answers.
    """

    part: str
    episode: int
    frame: int
    instruction: str
    images: Mapping[str, np.ndarray]
    source_hw: Mapping[str, tuple[int, int]]
    rendered: Rendered
    texts: tuple[str, ...]
    facts: SceneFacts | None


@dataclass(frozen=True, kw_only=True)
class ShownPart:
    """One dataset of a run's training split.

    Attributes:
        name: name of the part.
        samples: number of samples.
        share: share of the samples that training draws, 0 to 1.
        skipped: episode -> why it is left out.
        by_task: instruction -> (target, question, answer) -> count over its samples.
    """

    name: str
    samples: int
    share: float
    skipped: Mapping[int, str]
    by_task: Mapping[str, Mapping[tuple[str, str, str], int]]

    @property
    def answers(self) -> Counter[tuple[str, str]]:
        """(question, answer) -> count over its samples."""
        counts: Counter[tuple[str, str]] = Counter()
        for (_, question, answer), count in (item for task in self.by_task.values() for item in task.items()):
            counts[question, answer] += count
        return counts


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Overview of a run's training split.

    Attributes:
        config: config of the run.
        parts: its datasets.
        shown: some samples, evenly spread.
    """

    config: TrainConfig
    parts: tuple[ShownPart, ...]
    shown: tuple[Shown, ...]

    @property
    def samples(self) -> int:
        """Number of samples in the split."""
        return sum(part.samples for part in self.parts)

    @property
    def answers(self) -> Counter[tuple[str, str]]:
        """(question, answer) -> count over all samples, each once."""
        return sum((part.answers for part in self.parts), Counter())

    @property
    def by_task(self) -> dict[str, Counter[tuple[str, str, str]]]:
        """Instruction -> (target, question, answer) -> count."""
        counts: dict[str, Counter[tuple[str, str, str]]] = {}
        for part in self.parts:
            for task, answers in part.by_task.items():
                counts.setdefault(task, Counter()).update(answers)
        return counts

    @property
    def lengths(self) -> tuple[int, ...]:
        """Ids per dialogue of the shown samples."""
        return tuple(len(shown.rendered.tokens) for shown in self.shown)

    @property
    def supervised(self) -> tuple[int, ...]:
        """Supervised ids of the shown samples."""
        return tuple(int(shown.rendered.tokens.supervised.sum()) for shown in self.shown)

    def answers_drawn(self) -> dict[tuple[str, str], float]:
        """(question, answer) -> expected count in as many draws of training as there are samples."""
        drawn: Counter[tuple[str, str]] = Counter()
        for part in self.parts:
            for key, count in part.answers.items():
                drawn[key] += count * part.share * self.samples / part.samples  # pyright: ignore[reportArgumentType]
        return dict(drawn)


def inspect(config: TrainConfig, *, shown: int = 24, progress: Callable[[int], object] = lambda _: None) -> Inspection:
    """Inspects the run's training split. Images are decoded for the shown samples only.

    Args:
        config: config of the run; its statistics and tokenizers must exist.
        shown: number of samples to show, evenly spread over the split; at least one per dataset.
        progress: called with the number of samples counted since the last call.

    Raises:
        FileNotFoundError: dataset, labels, statistics or tokenizers are missing; names the command that makes them.
        ValueError: a sample does not fit; nothing is cut.
    """
    transform = make_transform(config, load_vocabulary(config), load_stats(config))
    parts = with_transforms(config, open_parts(config, "train"), transform)
    shares = shares_drawn(parts)
    samples: list[Shown] = []
    counted: list[ShownPart] = []
    for part in parts:
        wanted = min(max(round(shown * shares[part.name]), 1), len(part.source))
        own = transform_of(part, transform)
        samples += [_show(own, part, i) for i in dict.fromkeys(spread(part.source, wanted))]
        counted.append(_counted(own, part, shares[part.name], progress))
    return Inspection(config=config, parts=tuple(counted), shown=tuple(samples))


def _show(transform: TrainingTransform, part: Part[ChunkSource], i: int) -> Shown:
    sample = part.source[i]
    rendered, facts = transform.render(sample), transform.facts_of(sample)
    episode, frame = part.source.location(i)
    return Shown(
        part=part.name,
        episode=episode,
        frame=frame,
        instruction=sample.observation.prompt,
        images=transform.inputs.images(sample.observation),
        source_hw={name: (image.shape[0], image.shape[1]) for name, image in sample.observation.images.items()},
        rendered=rendered,
        texts=tuple(_texts(transform, rendered, facts)),
        facts=facts,
    )


def _texts(transform: TrainingTransform, rendered: Rendered, facts: SceneFacts | None) -> list[str]:
    """The text of each segment; action ids are shown as numbers of the action tokenizer."""
    texts: list[str] = []
    for index, piece in enumerate(rendered.pieces):
        if piece.slot and not isinstance(piece.slot, ActionSlot):
            texts.append(" " + truth_of(piece.slot, piece.target, facts))
        elif isinstance(piece.slot, ActionSlot):
            ids = rendered.tokens.ids[rendered.tokens.segment == index]
            end = len(end_ids(piece.slot, transform.vocabulary))
            actions = transform.vocabulary.to_action(ids[:-end])
            texts.append(" ".join(map(str, actions)) + f" {piece.slot.end}")
        else:
            texts.append(piece.text)
    return texts


def _counted(
    transform: TrainingTransform, part: Part[ChunkSource], share: float, progress: Callable[[int], object]
) -> ShownPart:
    """Counts the true answers of every sample of a part, from labels alone."""
    source = part.source
    by_task: dict[str, Counter[tuple[str, str, str]]] = {}
    questions = transform.script.questions
    for i in range(len(source)):
        episode, frame = source.location(i)
        task = source.dataset.task(source.dataset.episode(episode).start + frame)
        counts = by_task.setdefault(task, Counter())
        stored = source.facts_of(i) if questions else None
        seen = Observation(images={}, state=np.zeros(1), prompt=task)  # facts need neither images nor state
        scene = transform.facts_of(Sample(observation=seen, actions=None, facts=stored, robot=source.robot.name))
        if scene is not None:
            targets = transform.script.asked(tuple(t.phrase for t in scene.targets))
            silent = left_out(transform.script, scene)
            fields = PromptFields(instruction=task, state=np.zeros(0), targets=targets, left_out=silent)
            for question, target in asked(transform.script, fields):
                answer = known_answer(question, target, scene) if question.answers else None
                if answer is not None:  # locations are seldom twice the same: there is nothing to count
                    counts[target, question.name, answer] += 1
        if i % 256 == 255:
            progress(256)
    progress(len(source) % 256)
    return ShownPart(name=part.name, samples=len(source), share=share, skipped=source.skipped, by_task=by_task)
