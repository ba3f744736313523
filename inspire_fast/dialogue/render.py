r"""Renderer of dialogues. Training and inference use the same function, so they read the same text.

text     <bos> Task: ... ;\n | Question: ... Answer: | left | ;\n | Action: | 7 9 2 | "|" <eos>
causal     0    0 0 0 0 0 0  |    1  1  1  1  1  1   |  1   |  1  |   1     | 1 1 1 |  1    1
supervised 0    0 0 0 0 0 0  |    0  0  0  0  0  0   |  1   |  0  |   1     | 1 1 1 |  1    1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import enum
import functools
from itertools import pairwise
import re

import numpy as np

from inspire_fast.core.types import TokenSequence
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.script import ActionSlot, Ask, Context, Forced, ForEachTarget, Script, Slot
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer

STATE_BINS = 256
_STATE_EDGES = np.linspace(-1, 1, STATE_BINS + 1)[:-1]


class Kind(enum.StrEnum):
    """Kind of a segment; losses are reported per kind."""

    CONTEXT = "context"
    FORCED = "forced"
    ANSWER = "answer"
    ACTION = "action"


@dataclass(frozen=True, kw_only=True)
class PromptFields:
    """Values of a script's placeholders.

    Attributes:
        instruction: words of the person.
        state: normalised state, float `[s]`, nominally within [-1, 1].
        targets: phrases to ask about, in the instruction's order.
        left_out: (question, target) that are not asked although the script would; the target of a question about the
            scene is "".
    """

    instruction: str
    state: np.ndarray
    targets: tuple[str, ...] = ()
    left_out: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One concrete segment.

    Attributes:
        kind, text, weight: see `Kind` and the script's segments.
        slot: question or action slot of a blank; None for text.
        target: phrase that the question is about; empty outside of questions about targets.
        joins: see `Context`.
        eos, bos: see `Forced`.
    """

    kind: Kind
    text: str = ""
    weight: float = 0.0
    slot: Question | ActionSlot | None = None
    target: str = ""
    joins: bool = False
    eos: bool = False
    bos: bool = False


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A dialogue up to its end or its first unfilled blank.

    Attributes:
        tokens: the sequence; its `segment` indexes `pieces`.
        pieces: all segments of the dialogue, including those after the unfilled blank.
        empty: index in `pieces` of the first unfilled blank, or None.
    """

    tokens: TokenSequence
    pieces: tuple[Piece, ...]
    empty: int | None


def clean(instruction: str) -> str:
    """openpi's cleaning: lower case, no outer spaces, underscores become spaces."""
    return instruction.lower().strip().replace("_", " ")


def discretise(state: np.ndarray) -> str:
    """Normalised state -> 256 bins of [-1, 1] as text; -1 means below the range, as in openpi."""
    return " ".join(map(str, (np.digitize(state, _STATE_EDGES) - 1).tolist()))


def _fills(segment: Context, fields: PromptFields) -> dict[str, str]:
    """What a context's placeholders stand for."""
    words = clean(fields.instruction) if segment.lower else re.sub(r"[_\n]", " ", fields.instruction.strip())
    missing = max(0, segment.state_dim - fields.state.shape[-1])
    return {"instruction": words, "state": discretise(np.pad(fields.state, (0, missing)))}


def unroll(script: Script, fields: PromptFields) -> tuple[Piece, ...]:
    """Segments of the script with all placeholders filled in, and blanks left open."""
    pieces: list[Piece] = []
    for segment in script.segments:
        if isinstance(segment, Context):
            fills = _fills(segment, fields)
            # One pass, because the instruction may contain the text "{state}".
            text = re.sub(r"\{(instruction|state)\}", lambda match: fills[match[1]], segment.text)  # noqa: B023
            pieces.append(Piece(kind=Kind.CONTEXT, text=text, joins=segment.joins))
        elif isinstance(segment, Forced):
            opens_action = script.acts and segment is script.segments[-2]
            kind = Kind.ACTION if opens_action else Kind.FORCED
            weight, eos, bos = segment.weight, segment.eos, segment.bos
            pieces.append(Piece(kind=kind, text=segment.text, weight=weight, eos=eos, bos=bos))
        elif isinstance(segment, ForEachTarget):
            for target in script.asked(fields.targets):
                pieces.extend(_ask(segment, target, fields.left_out))
        elif isinstance(segment, Ask):
            pieces.extend(_ask(segment, "", fields.left_out))
        else:
            pieces.append(Piece(kind=Kind.ACTION, weight=segment.weight, slot=segment))
    return tuple(pieces)


def asked(script: Script, fields: PromptFields) -> tuple[tuple[Question, str], ...]:
    """(question, target) of every question of the dialogue, in order; the target is "" for one about the scene."""
    return tuple((p.slot, p.target) for p in unroll(script, fields) if p.slot and not isinstance(p.slot, ActionSlot))


def nothing_of_the_scene(script: Script) -> frozenset[tuple[str, str]]:
    """What `PromptFields.left_out` holds for a dialogue that asks nothing about the scene."""
    return frozenset((question.name, "") for question in script.scene_questions)


def _ask(group: ForEachTarget | Ask, target: str, left_out: frozenset[tuple[str, str]]) -> list[Piece]:
    """Pieces of the questions about one target, or about the scene (""). Text before a slot words its question."""
    pieces: list[Piece] = []
    for segments in _by_question(group.segments):
        slots = [s for s in segments if isinstance(s, Slot)]
        if any((slot.question.name, target) in left_out for slot in slots):
            continue
        wording = slots[0].question.wording(target) if slots else ""
        fills = {"question": wording, "object": _without_article(target)}
        for segment in segments:
            if isinstance(segment, Slot):
                pieces.append(Piece(kind=Kind.ANSWER, weight=segment.weight, slot=segment.question, target=target))
                continue
            text = re.sub(r"\{(question|object)\}", lambda match: fills[match[1]], segment.text)  # noqa: B023
            if isinstance(segment, Context):
                pieces.append(Piece(kind=Kind.CONTEXT, text=text, target=target, joins=segment.joins))
            else:
                weight, eos, bos = segment.weight, segment.eos, segment.bos
                pieces.append(Piece(kind=Kind.FORCED, text=text, weight=weight, target=target, eos=eos, bos=bos))
    return pieces


@functools.lru_cache(maxsize=256)
def _by_question(segments: tuple[Context | Forced | Slot, ...]) -> tuple[tuple[Context | Forced | Slot, ...], ...]:
    """The segments, cut before each text that words the next question."""
    groups: list[list[Context | Forced | Slot]] = [[]]
    for segment in segments:
        opens = not isinstance(segment, Slot) and "{question}" in segment.text
        if opens and any(isinstance(s, Slot) for s in groups[-1]):
            groups.append([])
        groups[-1].append(segment)
    return tuple(map(tuple, groups))


def _without_article(phrase: str) -> str:
    return re.sub(r"^(?:the|a|an) ", "", phrase, flags=re.IGNORECASE)


@functools.lru_cache(maxsize=8)  # thousands of answers, needed for every sample
def _answer_words(questions: tuple[Question, ...], text: TextTokenizer) -> frozenset[int]:
    """Ids that occur in the words of some answer; locations are none."""
    return frozenset(i for q in questions for answer in q.answers for i in text.encode(" " + answer))


def render(
    script: Script,
    fields: PromptFields,
    vocabulary: Vocabulary,
    *,
    answers: Sequence[str] = (),
    action_ids: Sequence[int] | None = None,
) -> Rendered:
    """Renders a dialogue up to its first unfilled blank.

    Args:
        script: the dialogue with its blanks.
        fields: values of the script's placeholders.
        vocabulary: text and action ids.
        answers: answers for the question slots, in order; rendering stops at the first slot without one.
        action_ids: ids of the *action tokenizer* for the action slot.

    Raises:
        ValueError: more answers than slots, or an answer that its question does not allow.
    """
    return encode(script, fields, vocabulary).fill(answers, action_ids)


@dataclass(frozen=True, kw_only=True)
class Blank:
    """A blank and the given text after it, for a decoder.

    Attributes:
        piece: segment of the blank; `piece.slot` is a question or the action slot.
        continuation: int32 ids of the given text between this blank and the next one (or the end).
        attends_to: int32, for each id of `continuation` the index in `continuation` of the last id that it sees: its
            own if causal, the end of its segment if bidirectional.
    """

    piece: Piece
    continuation: np.ndarray
    attends_to: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """A dialogue whose given text is encoded and whose blanks are open. Training and inference fill the same one.

    Attributes:
        script, vocabulary: what it was made with.
        pieces: every concrete segment.
        ids: per segment the ids of its text; None for a blank.
    """

    script: Script
    vocabulary: Vocabulary
    pieces: tuple[Piece, ...]
    ids: tuple[list[int] | None, ...]

    def fill(self, answers: Sequence[str] = (), action_ids: Sequence[int] | None = None) -> Rendered:
        """Writes the dialogue up to the first blank that is not filled. Arguments and errors as for `render`."""
        slots = sum(piece.kind is Kind.ANSWER for piece in self.pieces)
        if len(answers) > slots:
            about = list(dict.fromkeys(p.target or "the scene" for p in self.pieces if p.kind is Kind.ANSWER))
            raise ValueError(f"{len(answers)} answers for a dialogue with {slots} questions about {about}.")
        writer, given = _Writer(), iter(answers)
        supervises = self.script.supervise_matches
        matches = _answer_words(self.script.questions, self.vocabulary.text) if supervises else frozenset[int]()
        for index, (piece, encoded) in enumerate(zip(self.pieces, self.ids, strict=True)):
            ids = _fill_of(piece, self.vocabulary, given, action_ids) if encoded is None else encoded
            if ids is None:
                return Rendered(tokens=writer.finish(), pieces=self.pieces, empty=index)
            if index == 0:
                ids = [self.vocabulary.text.bos_id, *ids]
            weights = [piece.weight] * len(ids)
            if matches and piece.target and not piece.weight:
                weights = [float(i in matches) for i in ids]
            writer.write(ids, index, weights, bidirectional=piece.kind is Kind.CONTEXT, joins=piece.joins)
        return Rendered(tokens=writer.finish(), pieces=self.pieces, empty=None)

    def blanks(self) -> tuple[Blank, ...]:
        """Every blank with the given text that follows it, for a decoder.

        A decoder that writes answers and continuations in turn writes exactly the ids that `fill` writes.
        """
        starts = [index for index, piece in enumerate(self.pieces) if piece.slot is not None]
        return tuple(self._blank(first, stop) for first, stop in pairwise([*starts, len(self.pieces)]))

    def _blank(self, first: int, stop: int) -> Blank:
        continuation: list[int] = []
        attends_to: list[int] = []
        for piece, ids in zip(self.pieces[first + 1 : stop], self.ids[first + 1 : stop], strict=True):
            at, end = len(continuation), len(continuation) + len(ids or ())
            attends_to += [end - 1] * (end - at) if piece.kind is Kind.CONTEXT else range(at, end)
            if piece.joins and at:  # the causal id before it sees the whole segment, too
                attends_to[at - 1] = end - 1
            continuation += ids or ()
        return Blank(
            piece=self.pieces[first],
            continuation=np.array(continuation, np.int32),
            attends_to=np.array(attends_to, np.int32),
        )


def encode(script: Script, fields: PromptFields, vocabulary: Vocabulary) -> Dialogue:
    """Unrolls a script and encodes its given text, once for all ways in which its blanks may be filled."""
    pieces = unroll(script, fields)
    ids = tuple(None if piece.slot is not None else _ids_of(piece, vocabulary) for piece in pieces)
    return Dialogue(script=script, vocabulary=vocabulary, pieces=pieces, ids=ids)


def _ids_of(piece: Piece, vocabulary: Vocabulary) -> list[int]:
    """Ids of given text. Only the context changes between calls, with the robot's state; the rest is encoded once."""
    if piece.kind is Kind.CONTEXT:
        return vocabulary.text.encode(piece.text)
    text = vocabulary.text
    return [*[text.bos_id] * piece.bos, *vocabulary.encode_once(piece.text), *[text.eos_id] * piece.eos]


def _fill_of(
    piece: Piece, vocabulary: Vocabulary, answers: Iterator[str], action_ids: Sequence[int] | None
) -> list[int] | None:
    """Ids that fill a blank; None where there is nothing to fill it with."""
    if isinstance(piece.slot, ActionSlot):
        if action_ids is None:
            return None
        return [*vocabulary.from_action(list(action_ids)).tolist(), *end_ids(piece.slot, vocabulary)]
    answer = next(answers, None)
    if answer is None or piece.slot is None:
        return None
    form = form_of(piece.slot)
    if not form.allows(answer):
        raise ValueError(f"{answer!r} is no answer to {piece.slot.name!r}; allowed: {form.listed()}.")
    return form.ids(answer, vocabulary)


def end_ids(slot: ActionSlot, vocabulary: Vocabulary) -> list[int]:
    """Ids that end an action chunk."""
    return vocabulary.text.encode(slot.end, eos=slot.eos)


class _Writer:
    """Collects the per-token arrays."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._block: list[int] = []
        self._segment: list[int] = []
        self._weight: list[float] = []
        self._last_causal = False

    def write(self, ids: list[int], segment: int, weights: list[float], *, bidirectional: bool, joins: bool) -> None:
        block = self._block[-1] if self._block else 0
        if bidirectional:  # one block, which is a new one only after causal ids
            self._block.extend([block + (self._last_causal and not joins)] * len(ids))
        else:  # each id is a block of its own
            self._block.extend(range(block + 1, block + 1 + len(ids)))
        if ids:
            self._last_causal = not bidirectional
        self._ids.extend(ids)
        self._segment.extend([segment] * len(ids))
        self._weight.extend(weights)

    def finish(self) -> TokenSequence:
        return TokenSequence(
            ids=np.array(self._ids, np.int32),
            block=np.array(self._block, np.int32),
            segment=np.array(self._segment, np.int32),
            weight=np.array(self._weight, np.float32),
        )
