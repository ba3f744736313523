"""What a run will be taught, before it costs anything: samples as the network gets them, and how the answers are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from inspire_fast.core.types import Observation, Sample, SceneFacts
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Part, spread
from inspire_fast.data.training_transform import TrainingTransform, true_answers
from inspire_fast.dialogue.render import Kind, PromptFields, Rendered, end_ids
from inspire_fast.dialogue.script import ActionSlot
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.assets import load_stats, load_vocabulary, make_transform
from inspire_fast.training.datasets.sources import joined, open_parts, shares_drawn


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One sample as the network gets it.

    Attributes:
        part: name of its dataset.
        episode, frame: where it lies in that.
        instruction: of its episode.
        images: canonical camera -> uint8 `[h, w, 3]`, resized as for the network.
        source_hw: canonical camera -> height and width of its own picture, of which the facts' points are fractions.
        rendered: the whole dialogue.
        texts: what stands in each segment, blanks filled in.
        facts: what the answers come from.
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
        name: of the part.
        samples: how many there are.
        share: of the samples that training draws, 0 to 1.
        skipped: episode -> why it is left out.
        answers: (question, answer) -> count over its samples.
    """

    name: str
    samples: int
    share: float
    skipped: Mapping[int, str]
    answers: Mapping[tuple[str, str], int]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A run's training split at a glance.

    Attributes:
        config: of the run.
        samples: how many there are in the split.
        parts: its datasets.
        shown: some of them, evenly spread.
        answers: (question, answer) -> count over all samples, each once.
        by_task: instruction -> (target, question, answer) -> count.
        lengths: ids per dialogue of the shown samples.
        supervised: supervised ids of the shown samples.
    """

    config: TrainConfig
    samples: int
    parts: tuple[ShownPart, ...]
    shown: tuple[Shown, ...]
    answers: Mapping[tuple[str, str], int]
    by_task: Mapping[str, Mapping[tuple[str, str, str], int]]
    lengths: tuple[int, ...]
    supervised: tuple[int, ...]

    def answers_drawn(self) -> dict[tuple[str, str], float]:
        """(question, answer) -> how often training meets it in as many draws as there are samples."""
        drawn: Counter[tuple[str, str]] = Counter()
        for part in self.parts:
            for key, count in part.answers.items():
                drawn[key] += count * part.share * self.samples / part.samples  # pyright: ignore[reportArgumentType]
        return dict(drawn)


def inspect(config: TrainConfig, *, shown: int = 24, progress: Callable[[int], object] = lambda _: None) -> Inspection:
    """Looks at the run's training split. Pictures are decoded for the shown samples only.

    Args:
        config: of the run; its statistics and tokenizers must exist.
        shown: samples to show, evenly spread over the split; of several datasets at least one each.
        progress: called with the number of samples counted since the last call.

    Raises:
        FileNotFoundError: dataset, labels, statistics or tokenizers are missing; names the command that makes them.
        ValueError: a sample does not fit; nothing is cut.
    """
    parts = open_parts(config, "train")
    transform = make_transform(config, load_vocabulary(config), load_stats(config))
    source, shares = joined(parts), shares_drawn(parts)
    chosen: list[Shown] = []
    totals: Counter[tuple[str, str]] = Counter()
    by_task: dict[str, Counter[tuple[str, str, str]]] = {}
    about: list[ShownPart] = []
    for part in parts:
        wanted = min(max(round(shown * shares[part.name]), 1), len(part.source))
        chosen += [_show(transform, part, i) for i in dict.fromkeys(spread(part.source, wanted))]
        answers, tasks = _count(transform, part.source, progress)
        totals.update(answers)
        for task, counts in tasks.items():
            by_task.setdefault(task, Counter()).update(counts)
        about.append(
            ShownPart(
                name=part.name,
                samples=len(part.source),
                share=shares[part.name],
                skipped=part.source.skipped,
                answers=answers,
            )
        )
    return Inspection(
        config=config,
        samples=len(source),
        parts=tuple(about),
        shown=tuple(chosen),
        answers=totals,
        by_task=by_task,
        lengths=tuple(len(s.rendered.tokens) for s in chosen),
        supervised=tuple(int(s.rendered.tokens.supervised.sum()) for s in chosen),
    )


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
    """What a person reads in each segment; action ids are numbers of the action tokenizer, never text."""
    by_phrase = {t.phrase: t for t in facts.targets} if facts else {}
    texts: list[str] = []
    for index, piece in enumerate(rendered.pieces):
        if piece.kind is Kind.ANSWER:
            texts.append(" " + piece.slot.truth(by_phrase[piece.target]))  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        elif isinstance(piece.slot, ActionSlot):
            ids = rendered.tokens.ids[rendered.tokens.segment == index]
            end = len(end_ids(piece.slot, transform.vocabulary))
            actions = transform.vocabulary.to_action(ids[:-end])
            texts.append(" ".join(map(str, actions)) + f" {piece.slot.end}")
        else:
            texts.append(piece.text)
    return texts


def _count(
    transform: TrainingTransform,
    source: ChunkSource,
    progress: Callable[[int], object],
) -> tuple[Counter[tuple[str, str]], dict[str, Counter[tuple[str, str, str]]]]:
    """True answers of every sample of the split, from labels alone."""
    answers: Counter[tuple[str, str]] = Counter()
    by_task: dict[str, Counter[tuple[str, str, str]]] = {}
    questions = transform.script.questions
    for i in range(len(source)):
        episode, frame = source.location(i)
        task = source.dataset.task(source.dataset.episode(episode).start + frame)
        counts = by_task.setdefault(task, Counter())
        stored = source.facts.facts(episode, frame) if source.facts and questions else None
        seen = Observation(images={}, state=np.zeros(1), prompt=task)  # facts need neither pictures nor state
        scene = transform.facts_of(Sample(observation=seen, actions=None, facts=stored, robot=source.robot.name))
        if scene is not None:
            targets = transform.script.asked(tuple(t.phrase for t in scene.targets))
            fields = PromptFields(instruction=task, state=np.zeros(0), targets=targets)
            asked = [(target, q.name) for target in targets for q in questions]
            for (target, question), answer in zip(asked, true_answers(transform.script, fields, scene), strict=True):
                answers[question, answer] += 1
                counts[target, question, answer] += 1
        if i % 256 == 255:
            progress(256)
    progress(len(source) % 256)
    return answers, by_task
