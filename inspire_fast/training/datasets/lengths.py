"""Lengths of all training dialogues, known before the first step: a run never meets a sample that does not fit.

A dialogue is its text and its action ids. The text of a sample is at most that of its instruction with the longest
answers and states; the action ids are counted. Only dialogues whose sum exceeds a limit are written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from inspire_fast.core.types import Observation, Sample
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Part
from inspire_fast.data.training_transform import TrainingTransform
from inspire_fast.data.truths import left_out, true_answers
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.render import STATE_BINS, PromptFields, Rendered, asked, render
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.action import BLOCK

WRITTEN_OUT = 20_000  # dialogues, the longest ones first; some seconds


@dataclass(frozen=True, kw_only=True)
class Longest:
    """The longest dialogue of a run's training samples.

    Attributes:
        ids: number of text and action ids; no sample has more.
        supervised: number of ids with loss, likewise.
        where: the sample nearest to the limits or furthest beyond, for people.
    """

    ids: int
    supervised: int
    where: str

    def __str__(self) -> str:
        return f"at most {self.ids} ids, {self.supervised} supervised"

    def require_fit(self, max_token_len: int, max_supervised: int) -> None:
        """Refuses limits that a sample exceeds.

        Raises:
            ValueError: names the longest sample and the limits that would fit.
        """
        if self.ids > max_token_len or self.supervised > max_supervised:
            raise ValueError(
                f"The longest training dialogue has {self.ids} ids, and {self.supervised} ids are supervised "
                f"({self.where}); the config allows data.max_token_len={max_token_len} and "
                f"data.max_supervised={max_supervised}, and nothing is cut. Set `--data.max-token-len "
                f"{max(self.ids, max_token_len)} --data.max-supervised {max(self.supervised, max_supervised)}`."
            )


def longest_dialogue(parts: Sequence[Part[ChunkSource]], transform: TrainingTransform) -> Longest:
    """Counts the ids of every training sample of every dataset; reads no image.

    Raises:
        ValueError: a chunk cannot be encoded, or a frame lacks facts that the script asks about.
    """
    found = [_longest_of(part, transform_of(part, transform)) for part in parts if len(part.source)]
    over = [max(f.ids - transform.max_token_len, f.supervised - transform.max_supervised) for f in found]
    return Longest(
        ids=max(f.ids for f in found),
        supervised=max(f.supervised for f in found),
        where=found[int(np.argmax(over))].where,
    )


def transform_of(part: Part[ChunkSource], transform: TrainingTransform) -> TrainingTransform:
    """The part's own transform, or the run's."""
    return part.transform if isinstance(part.transform, TrainingTransform) else transform


def _longest_of(part: Part[ChunkSource], transform: TrainingTransform) -> Longest:
    source, limits = part.source, np.array([transform.max_token_len, transform.max_supervised])
    tasks, numbers = source.task_numbers()
    _require_labels(part, transform)
    state = longest_state(transform.vocabulary, source.states(slice(0, 1)).shape[-1])
    sums = _text_lengths(source, tasks, transform, state)[numbers] + _action_lengths(part, transform)[:, None]
    candidates = np.flatnonzero((sums > limits).any(axis=1))
    longest_first = candidates[np.argsort(-(sums[candidates] - limits).max(axis=1), kind="stable")][:WRITTEN_OUT]
    for i in tqdm(longest_first.tolist(), f"{part.name}: dialogues near the limit", disable=None):
        tokens = _written_out(transform, without_images(source, i), state if transform.state_noise else None).tokens
        sums[i] = len(tokens), np.count_nonzero(tokens.supervised)
    longest = int((sums - limits).max(axis=1).argmax())
    episode, frame = source.location(longest)
    where = f"{part.name}, episode {episode}, frame {frame}, {tasks[numbers[longest]]!r:.80}"
    return Longest(ids=int(sums[:, 0].max()), supervised=int(sums[:, 1].max()), where=where)


def _require_labels(part: Part[ChunkSource], transform: TrainingTransform) -> None:
    """Refuses frames without facts where the script needs them, as the transform does when it meets one."""
    needed = transform.script.asks_about_targets and transform.unlabelled == "refuse"
    if needed and len(missing := np.flatnonzero(~part.source.labelled())):
        transform.facts_of(without_images(part.source, int(missing[0])))


def _action_lengths(part: Part[ChunkSource], transform: TrainingTransform) -> np.ndarray:
    """Number of action ids of each sample, int64 `[n]`; 0 if the script does not act."""
    source, lengths = part.source, list[int]()
    if not transform.script.acts:
        return np.zeros(len(source), np.int64)
    with tqdm(total=len(source), desc=f"{part.name}: lengths", unit="sample", disable=None) as bar:
        for start in range(0, len(source), BLOCK):
            block = slice(start, start + BLOCK)
            chunks = transform.inputs.normalizer.actions(source.chunks(block), source.states(block))
            lengths += map(len, transform.vocabulary.action.encode_batch(chunks))
            bar.update(len(chunks))
    return np.array(lengths)


def _text_lengths(
    source: ChunkSource, tasks: Sequence[str], transform: TrainingTransform, state: np.ndarray
) -> np.ndarray:
    """(ids, supervised ids) of each task's longest dialogue without its action ids, int64 `[tasks, 2]`."""
    script, vocabulary, scenes = transform.script, transform.vocabulary, source.first_facts()
    answers = {question: form_of(question).extreme(max, vocabulary) for question in script.questions}
    lengths: list[tuple[int, int]] = []
    for task in tasks:
        scene = scenes.get(task)
        targets = script.asked(GROUNDINGS[script.grounding].targets(task, scene)) if scene else ()
        fields = PromptFields(instruction=task, state=state, targets=targets)
        given = [answers[question] for question, _ in asked(script, fields)]
        tokens = render(script, fields, vocabulary, answers=given, action_ids=[0]).tokens
        lengths.append((len(tokens) - script.acts, int(np.count_nonzero(tokens.supervised)) - script.acts))
    return np.array(lengths)


def longest_state(vocabulary: Vocabulary, dims: int) -> np.ndarray:
    """A normalised state `[dims]` whose numbers take as many ids as any."""
    number = max(range(-1, STATE_BINS), key=lambda n: len(vocabulary.text.encode(f" {n}")))
    return np.full(dims, 2 * (number + 0.5) / STATE_BINS - 1)


def without_images(source: ChunkSource, i: int) -> Sample:
    """A sample as far as its dialogue needs it."""
    part = slice(i, i + 1)
    observation = Observation(images={}, state=source.states(part)[0], prompt=source.task(i))
    facts = source.facts_of(i)
    return Sample(observation=observation, actions=source.chunks(part)[0] if source.acts else None, facts=facts)


def _written_out(transform: TrainingTransform, sample: Sample, state: np.ndarray | None) -> Rendered:
    """The sample's whole dialogue, with another normalised state if one is given."""
    if state is None or sample.actions is None:
        return transform.render(sample)
    facts = transform.facts_of(sample)
    targets = tuple(target.phrase for target in facts.targets) if facts else ()
    silent = left_out(transform.script, facts)
    fields = PromptFields(instruction=sample.observation.prompt, state=state, targets=targets, left_out=silent)
    return render(
        transform.script,
        fields,
        transform.vocabulary,
        answers=true_answers(transform.script, fields, facts),
        action_ids=transform.action_ids(sample.actions, sample.observation.state) if transform.script.acts else None,
    )
