"""The slot decoder: fills the blanks of one script with one network. `compiled.py` holds the program for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
import functools
import logging
import time

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.core.policy import RequestOptions
from inspire_fast.dialogue.forms import AnswerGrammar
from inspire_fast.dialogue.render import STATE_BINS, PromptFields, discretise
from inspire_fast.dialogue.script import Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.inference.model import InferenceModel
from inspire_fast.policy.answer_automata import Answers, joined
from inspire_fast.policy.batching import (
    PROMPT_BUCKETS,
    QUESTION_BUCKETS,
    Layout,
    Row,
    Sizes,
    lay_out,
    plan_row,
    sizes_of,
)
from inspire_fast.policy.compiled import ActionTables, AnswerTables, Result, Sampling, answer_maps, run
from inspire_fast.policy.seeds import NoiseSeeds
from inspire_fast.tokenizers.grammar import Grammar

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One row's dialogue, filled in.

    Attributes:
        answers: one per question slot, in order.
        answer_probabilities: probability of each among the allowed answers (1 where it was forced).
        action_ids: ids of the action tokenizer, a complete chunk; none from a script that does not act.
        action_log_probability: of the chunk under the grammar, nats; NaN where it was written without.
        accepted: how many of the answers were drafted (or forced) and stand.
        problem: why there is no chunk; always empty under the grammar.
    """

    answers: tuple[str, ...]
    answer_probabilities: tuple[float, ...]
    action_ids: tuple[int, ...]
    action_log_probability: float
    accepted: int = 0
    problem: str = ""

    @property
    def action_probability(self) -> float:
        """Of the whole chunk, among all chunks that the grammar allows."""
        return float(np.exp(self.action_log_probability))


class Decoder:
    """Fills the blanks of one script with one model.

    Args:
        model: the network, laid out for decoding.
        script: one that does not act is answered alone.
        vocabulary: of the model.
        horizon, action_dim: shape of a chunk.
        constant: camera -> uint8 `[h, w, 3]`, for cameras that show the same in every call (those that a robot lacks).
            They are embedded here, once, and never passed to `decode`.

    Raises:
        ValueError: the script has no blank, or asks more about one target than the largest bucket holds, or an answer
            cannot be spelled unambiguously; or the network lacks a constant camera.
    """

    def __init__(
        self,
        model: InferenceModel,
        script: Script,
        vocabulary: Vocabulary,
        *,
        horizon: int,
        action_dim: int,
        constant: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        if vocabulary.size != model.config.vocab_size:
            raise ValueError(
                f"The network has {model.config.vocab_size} ids, the tokenizers make {vocabulary.size}: they do not "
                "belong together."
            )
        if not script.acts and not script.questions:
            raise ValueError(f"Script {script.name!r} has no blank to fill: it neither asks nor acts.")
        once = len(script.scene_questions)
        each = len(script.questions) - once
        if (asked := (script.max_targets or 1) * each + once) > QUESTION_BUCKETS[-1]:
            raise ValueError(
                f"Script {script.name!r} asks {each} question(s) about each of up to {script.max_targets or 'all'} "
                f"targets and {once} about the scene, {asked} or more in all; the largest bucket holds "
                f"{QUESTION_BUCKETS[-1]}. Lower max_targets."
            )
        if unknown := set(constant or ()) - set(model.config.cameras):
            raise ValueError(
                f"The network has no cameras {sorted(unknown)}, which were given as constant; it has "
                f"{sorted(model.config.cameras)}."
            )
        self.model = model
        self.script = script
        self.vocabulary = vocabulary
        self.answers = {q.name: Answers(q, vocabulary) for q in script.questions}
        self._questions = tuple(self.answers[q.name] for q in script.questions)
        self.grammar = vocabulary.action.grammar(horizon, action_dim) if script.acts else None
        self.longest = self.grammar.longest() if self.grammar else 0
        self._tables = _action_tables(self.grammar, vocabulary, model) if self.grammar else None
        self._words = _answer_tables(joined(self._questions).grammar, model)
        images = {name: jnp.asarray(image)[None] for name, image in (constant or {}).items()}
        self._constant = jax.jit(lambda m, x: m.embed_images(x))(model, images)
        self._compiled: set[tuple[object, ...]] = set()
        self._warm: set[Sizes] = set()
        self._seeds = NoiseSeeds()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those whose images `decode` takes."""
        return tuple(name for name in self.model.config.cameras if name not in self._constant)

    @property
    def programs(self) -> int:
        """Shape buckets met so far, each of which has a compiled program."""
        return len(self._compiled)

    def plan(self, fields: PromptFields, forced: Sequence[str] | None = None) -> Row:
        """The dialogue of one request, ready for `decode`.

        Args:
            fields: instruction, state, targets.
            forced: answers to write instead of the model's own.

        Raises:
            ValueError: the prompt is longer than the largest bucket, or the answers do not fit the questions.
        """
        row = plan_row(self.script, fields, self.vocabulary, self.answers)
        if forced is not None:
            row = row.with_answers(forced, trusted=True)
        sizes_of([row], self._questions)
        return row

    def decode(
        self,
        images: Mapping[str, np.ndarray],
        rows: Sequence[Row],
        options: Sequence[RequestOptions] | None = None,
        *,
        image_mask: Mapping[str, np.ndarray] | None = None,
        actions: Sequence[Sequence[int] | None] | None = None,
        size: Sizes | None = None,
    ) -> list[Decoded]:
        """Fills the blanks of every row. What a row says does not depend on the others.

        Args:
            images: camera -> uint8 `[b, h, w, 3]`, all but the constant ones.
            rows: dialogues of `plan`, perhaps with answers; they may differ in everything.
            options: per row; `temperature`, `top_k` and `seed` count, for the action slot. None is greedy. Answers are
                always the likeliest.
            image_mask: camera -> bool `[b]`, all of them; None shows every camera.
            actions: per row, action ids to write instead of the model's choice, from the first on (to score a chunk, or
                to compare procedures on the same work).
            size: shape to pad to; None is `size_of` the rows.

        Raises:
            ValueError: too many rows, another number of options, or actions against the grammar.
        """
        options = options or [RequestOptions()] * len(rows)
        if len(options) != len(rows):
            raise ValueError(f"{len(options)} options for {len(rows)} rows: give one per row, or none at all.")
        layout = self.lay_out(rows, size)
        pad = len(layout.real) - len(rows)
        mask = image_mask or dict.fromkeys(self.model.config.cameras, np.ones(len(rows), bool))
        result = self._run(
            {camera: _padded(image, pad) for camera, image in images.items()},
            {camera: _padded(shown, pad) for camera, shown in mask.items()},
            layout,
            self._sampling(options, pad, actions or ()),
        )
        return [self._read(result, number, row) for number, row in enumerate(rows)]

    def answer_maps(self, images: Mapping[str, np.ndarray], rows: Sequence[Row]) -> list[tuple[np.ndarray, ...]]:
        """Probabilities of the ids of given answers, a heat map per coordinate where they are locations.

        Args:
            images: as of `decode`; every camera is shown.
            rows: dialogues with answers (`Row.with_answers`), the model's own or others.

        Returns:
            Per row and question float32 `[d, k]`: at each place of the answer, the probability of each of the `k`
            symbols of the question (`Answers.ids`; of locations, the bins), given the answer's symbols before it.

        Raises:
            ValueError: a row holds no answers.
        """
        if bare := [number for number, row in enumerate(rows) if row.given is None]:
            raise ValueError(f"Rows {bare} hold no answers to look at; write them in (`Row.with_answers`).")
        layout = self.lay_out(rows)
        pad = len(layout.real) - len(rows)
        seen = {camera: _padded(image, pad) for camera, image in images.items()}
        shown = dict.fromkeys(self.model.config.cameras, np.ones(len(layout.real), bool))
        found = jax.device_get(answer_maps(self.model, seen, self._constant, shown, layout, self._words))
        automaton, maps = joined(self._questions), list[tuple[np.ndarray, ...]]()
        for number, row in enumerate(rows):
            mine = zip(row.allowed, row.symbols, found[len(found) - len(row.allowed) :, number], strict=True)
            maps.append(tuple(one[: len(symbols), automaton.columns[own]] for own, symbols, one in mine))
        return maps

    def size_of(self, rows: Sequence[Row]) -> Sizes:
        """The shape that a call with these rows is padded to.

        That of the smallest program of `warm_up` that holds them; where there is none, their own.

        Raises:
            ValueError: see `sizes_of`.
        """
        own = sizes_of(rows, self._questions)
        return min((warm for warm in self._warm if warm.holds(own)), key=astuple, default=own)

    def lay_out(self, rows: Sequence[Row], size: Sizes | None = None) -> Layout:
        """The arrays that a call of `decode` hands to its program."""
        return lay_out(rows, self._questions, size or self.size_of(rows))

    def warm_up(self, prompts: Sequence[PromptFields], *, rows: Sequence[int] = (1,), speculate: bool = True) -> int:
        """Compiles every program that these dialogues can need; returns how many there are.

        Afterwards neither the robot's state nor an answer, however long, nor a mixture of these dialogues in one call
        has to wait for a compilation: calls are padded to the shapes compiled here.

        Args:
            prompts: instructions and targets as they will come. Their states are replaced by the ones with the shortest
                and with the longest text.
            rows: numbers of rows per call.
            speculate: calls draft their answers; otherwise the model is free, but for forced and kept answers.
        """
        for count in rows:
            shapes, largest = dict[Sizes, Row](), list[Sizes]()
            for fields in prompts:
                free = [self.plan(replace(fields, state=np.full_like(fields.state, end))) for end in self._state_ends()]
                least, most = (row.extreme_answers(end) for row, end in zip(free, (min, max), strict=True))
                given = [row.with_answers(own, trusted=False) for row, own in zip(free, (least, most), strict=True)]
                shortest, longest = given if speculate else free
                first, last = (sizes_of([row] * count, self._questions) for row in (shortest, longest))
                between = (size for size in PROMPT_BUCKETS if first.prompt <= size <= last.prompt)
                shapes |= {replace(last, prompt=size): shortest for size in between}
                largest.append(sizes_of([given[1]] * count, self._questions))
            # Unlike rows in one call, and answers that are given although the model is free to choose, need at most:
            shapes.setdefault(functools.reduce(Sizes.union, [*largest, *shapes]), next(iter(shapes.values())))
            logger.info("Compiling %d programs for calls with %d row(s) before the first request.", len(shapes), count)
            for size, row in shapes.items():
                image = np.zeros((count, *self.model.config.image_hw, 3), np.uint8)
                self.decode(dict.fromkeys(self.cameras, image), [row] * count, size=size)
            self._warm |= set(shapes)
        return self.programs

    def _state_ends(self) -> tuple[float, float]:
        """Normalised values, of those whose text has the fewest and the most ids."""
        values = np.arange(-1, STATE_BINS) * 2 / STATE_BINS - 1 + 1 / STATE_BINS
        lengths = [len(self.vocabulary.text.encode(" " + discretise(values[n : n + 1]))) for n in range(len(values))]
        return values[np.argmin(lengths)], values[np.argmax(lengths)]

    def _run(
        self, images: dict[str, np.ndarray], mask: dict[str, np.ndarray], layout: Layout, sampling: Sampling
    ) -> Result:
        """The program, fetched to the host; logs how long it took where it had to be compiled first."""
        key = (layout.room, *(leaf.shape for leaf in jax.tree.leaves((images, layout))))
        start = time.perf_counter()
        result = jax.device_get(
            run(self.model, images, self._constant, mask, layout, self._words, self._tables, sampling)
        )
        if key not in self._compiled:
            self._compiled.add(key)
            logger.info(
                "First call with %d row(s) and %d prompt ids: %.1f s, compilation included.",
                *(*layout.ids.shape, time.perf_counter() - start),
            )
        return result

    def _sampling(
        self, options: Sequence[RequestOptions], pad: int, actions: Sequence[Sequence[int] | None]
    ) -> Sampling:
        if pad:
            options = [*options, *[options[-1]] * pad]
        forced = np.full((len(options), self.longest), -1, np.int32)
        for row, ids in enumerate(actions):
            if ids is not None:
                self._require_legal(ids)
                forced[row, : len(ids)] = ids
        return Sampling(
            temperature=np.array([o.temperature for o in options], np.float32),
            top_k=np.array([o.top_k for o in options], np.int32),
            seed=np.array([self._seeds.of(o) for o in options], np.uint32),
            forced=forced,
        )

    def _require_legal(self, ids: Sequence[int]) -> None:
        if self.grammar is None:
            raise ValueError(f"Script {self.script.name!r} does not act, so that actions cannot be forced.")
        state, owed = self.grammar.start, self.grammar.owed
        for place, symbol in enumerate(ids):
            if self.grammar.done(state, owed) or not 0 <= symbol < self.grammar.next_state.shape[1]:
                raise ValueError(
                    f"Forced action id {symbol} at place {place} is unknown, or comes after a complete chunk."
                )
            state, owed = self.grammar.advance(state, owed, symbol)

    def _read(self, result: Result, number: int, row: Row) -> Decoded:
        mine = slice(result.symbols.shape[0] - len(row.allowed), None)
        chosen, automaton = zip(row.allowed, result.symbols[mine, number], strict=True), joined(self._questions)
        written = result.actions[number]
        return Decoded(
            answers=tuple(own.word(automaton.own(own, np.asarray(symbols))) for own, symbols in chosen),
            answer_probabilities=tuple(float(p) for p in np.exp(result.log_probability[mine, number])),
            action_ids=tuple(int(i) for i in written[written >= 0]),
            action_log_probability=float(result.action_log_probability[number]),
            accepted=int(result.accepted[mine, number].sum()),
        )


def _padded(rows: np.ndarray, pad: int) -> np.ndarray:
    """`pad` more rows, copies of the last one."""
    return np.concatenate([rows, np.repeat(rows[-1:], pad, axis=0)]) if pad else rows


def _answer_tables(grammar: AnswerGrammar, model: InferenceModel) -> AnswerTables:
    ids = jnp.asarray(grammar.ids)
    return AnswerTables(
        ids=ids,
        head=jax.jit(lambda m, i: m.head(i))(model, ids),
        next_state=jnp.asarray(grammar.next_state),
        accepting=jnp.asarray(grammar.accepting),
        not_below=jnp.asarray(grammar.not_below),
    )


def _action_tables(grammar: Grammar, vocabulary: Vocabulary, model: InferenceModel) -> ActionTables:
    ids = jnp.asarray(vocabulary.from_action(np.arange(vocabulary.action.vocab_size)))
    return ActionTables(
        ids=ids,
        head=jax.jit(lambda m, i: m.head(i))(model, ids),
        next_state=jnp.asarray(grammar.next_state, jnp.int32),
        spent=jnp.asarray(grammar.spent, jnp.int32),
        alive=jnp.asarray(grammar.alive),
        accepting=jnp.asarray(grammar.accepting),
        start=jnp.int32(grammar.start),
        owed=jnp.int32(grammar.owed),
    )
