"""The slot decoder: fills the blanks of one script with one network. See `program` for what runs on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
import logging
import time
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.dialogue.render import PromptFields
from inspire_fast.dialogue.script import Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.inference.model import InferenceModel
from inspire_fast.policy.batching import PROMPT_BUCKETS, QUESTION_BUCKETS, Answers, Dialogues, Given, lay_out
from inspire_fast.policy.compiled import ActionTables, Result, Sampling, run
from inspire_fast.tokenizers.grammar import Grammar

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One row's dialogue, filled in.

    Attributes:
        answers: one per question slot, in order.
        answer_probabilities: probability of each among the allowed answers (1 where it was forced).
        action_ids: ids of the action tokenizer, a complete chunk.
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
        script: must end in an action slot.
        vocabulary: of the model.
        horizon, action_dim: shape of a chunk.
        constant: camera -> uint8 `[h, w, 3]`, for cameras that show the same in every call (those that a robot lacks).
            They are embedded here, once, and never passed to `decode`.

    Raises:
        ValueError: the script does not act, asks more about one target than the largest bucket holds, or an answer cannot be
            spelled unambiguously; or a constant camera is none of the network's.
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
        if not script.acts:
            raise ValueError(
                f"Script {script.name!r} has no action slot: it can be trained and can answer, but it cannot act."
            )
        if vocabulary.size != model.config.vocab_size:
            raise ValueError(
                f"The network has {model.config.vocab_size} ids, the tokenizers make {vocabulary.size}: they do not "
                "belong together."
            )
        if (asked := (script.max_targets or 1) * len(script.questions)) > QUESTION_BUCKETS[-1]:
            raise ValueError(
                f"Script {script.name!r} asks {len(script.questions)} question(s) about each of up to "
                f"{script.max_targets or 'all'} targets, {asked} or more in all; the largest bucket holds "
                f"{QUESTION_BUCKETS[-1]}. Lower max_targets."
            )
        if unknown := set(constant or ()) - set(model.config.cameras):
            raise ValueError(
                f"Constant cameras {sorted(unknown)} are none of the network's {sorted(model.config.cameras)}."
            )
        self.model = model
        self.script = script
        self.vocabulary = vocabulary
        self.answers = {q.name: Answers(q, vocabulary) for q in script.questions}
        self.grammar = vocabulary.action.grammar(horizon, action_dim)
        self.longest = self.grammar.longest()
        self._tables = _action_tables(self.grammar, vocabulary, model)
        images = {name: jnp.asarray(image)[None] for name, image in (constant or {}).items()}
        self._constant = jax.jit(lambda m, x: m.embed_images(x))(model, images)
        self._compiled: set[tuple[object, ...]] = set()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those whose images `decode` takes."""
        return tuple(name for name in self.model.config.cameras if name not in self._constant)

    @property
    def programs(self) -> int:
        """Shape buckets met so far, each of which has a compiled program."""
        return len(self._compiled)

    def decode(
        self,
        images: Mapping[str, np.ndarray],
        image_mask: Mapping[str, np.ndarray],
        prompts: Sequence[PromptFields],
        *,
        forced: Sequence[Sequence[str] | None] | None = None,
        drafts: Sequence[Sequence[str] | None] | None = None,
        temperature: float | Sequence[float] = 0.0,
        top_k: int | Sequence[int] = 0,
        seed: int | Sequence[int] = 0,
        actions: Sequence[Sequence[int] | None] | None = None,
        least: int = 0,
    ) -> list[Decoded]:
        """Runs the dialogue for every row. What a row says does not depend on the others.

        Args:
            images: camera -> uint8 `[b, h, w, 3]`, all but the constant ones.
            image_mask: camera -> bool `[b]`, all of them.
            prompts: one per row; rows may differ in prompt and number of targets.
            forced: per row, the answers to write instead of the model's own, or None.
            drafts: per row, answers that are likely, or None. They change how long the call takes and nothing else.
            temperature: of the action slot, one for all or one per row; 0 is greedy. Answers are always the likeliest.
            top_k: draw among the `k` likeliest action tokens; 0 is all.
            seed: for sampling.
            actions: per row, action ids to write instead of the model's choice, from the first on (to score a chunk, or to
                compare procedures on the same work).
            least: pad prompts to a bucket that holds so many ids, see `warm_up`.

        Raises:
            ValueError: a negative temperature or top_k, answers that do not fit the questions, actions against the grammar.
        """
        dialogues = self.lay_out(prompts, drafts, forced, least=least)
        layout, rows = dialogues.layout, len(dialogues.layout.real)
        pad = rows - len(prompts)
        sampling = self._sampling(len(prompts), pad, temperature, top_k, seed, actions)
        arguments = (
            {k: np.pad(v, [(0, pad)] + [(0, 0)] * 3) for k, v in images.items()},
            self._constant,
            {k: np.pad(v, (0, pad), constant_values=True) for k, v in image_mask.items()},
            layout,
            self._tables,
            sampling,
        )
        result = self._run(arguments, capacity=layout.ids.shape[1] + dialogues.room + self.longest)
        return self._read(result, dialogues)

    def warm_up(
        self,
        prompts: Sequence[PromptFields],
        *,
        rows: Sequence[int] = (1,),
        drafts: Callable[[PromptFields], Sequence[str] | None],
    ) -> int:
        """Compiles every program that these dialogues can need, whatever the state is; returns how many there are.

        Args:
            prompts: instructions and targets as they will come. Their states are replaced by the ones with the shortest and
                with the longest text, between which all others lie.
            rows: numbers of rows per call.
            drafts: draft of one prompt, as calls will have it.
        """
        for fields in prompts:
            drafted, lengths = drafts(fields), []
            for extreme in (-1.0, 1.0):
                known = replace(fields, state=np.full_like(fields.state, extreme))
                lengths.append(self.lay_out([known], [drafted]).layout.ids.shape[1])
            for size in (s for s in PROMPT_BUCKETS if lengths[0] <= s <= lengths[1]):
                for count in rows:
                    self._compile(replace(fields, state=np.full_like(fields.state, -1.0)), drafted, count, size)
        return self.programs

    def lay_out(
        self,
        prompts: Sequence[PromptFields],
        drafts: Sequence[Sequence[str] | None] | None = None,
        forced: Sequence[Sequence[str] | None] | None = None,
        *,
        least: int = 0,
    ) -> Dialogues:
        """The arrays that a call of `decode` hands to its program."""
        given = _given(prompts, forced, drafts)
        return lay_out(self.script, prompts, self.vocabulary, self.answers, given, least=least)

    def check(self, fields: PromptFields, forced: Sequence[str] | None = None) -> None:
        """Raises what `decode` would, without the network.

        Raises:
            ValueError: the prompt is longer than the largest bucket, or given answers do not fit the questions.
        """
        self.lay_out([fields], forced=[forced])

    def _compile(self, fields: PromptFields, drafted: Sequence[str] | None, rows: int, least: int) -> None:
        image = np.zeros((rows, *self.model.config.image_hw, 3), np.uint8)
        self.decode(
            dict.fromkeys(self.cameras, image),
            dict.fromkeys(self.model.config.cameras, np.ones(rows, bool)),
            [fields] * rows,
            drafts=[drafted] * rows,
            least=least,
        )

    def _run(self, arguments: tuple, *, capacity: int) -> Result:
        """The program, fetched to the host; says so where it had to be compiled first."""
        key = (capacity, *(leaf.shape for leaf in jax.tree.leaves((arguments[0], arguments[3]))))
        start = time.perf_counter()
        result = jax.device_get(run(self.model, *arguments, capacity=capacity))
        if key not in self._compiled:
            self._compiled.add(key)
            rows, prompt = arguments[3].ids.shape
            logger.info(
                "First call with %d row(s), %d prompt ids and %d text ids in all: %.1f s, compilation included.",
                *(rows, prompt, capacity, time.perf_counter() - start),
            )
        return result

    def _sampling(
        self,
        rows: int,
        pad: int,
        temperature: float | Sequence[float],
        top_k: int | Sequence[int],
        seed: int | Sequence[int],
        actions: Sequence[Sequence[int] | None] | None,
    ) -> Sampling:
        forced = np.full((rows + pad, self.longest), -1, np.int32)
        for row, ids in enumerate(actions or ()):
            if ids is not None:
                self._require_legal(ids)
                forced[row, : len(ids)] = ids
        warm, best = _per_row(temperature, rows, pad), _per_row(top_k, rows, pad)
        if not all(t >= 0 and np.isfinite(t) for t in warm) or min(best) < 0:
            raise ValueError(
                f"temperature and top_k must be finite and not negative; got {warm[:rows]} and {best[:rows]}."
            )
        return Sampling(
            temperature=np.array(warm, np.float32),  # pyright: ignore[reportArgumentType]
            top_k=np.array(best, np.int32),  # pyright: ignore[reportArgumentType]
            seed=np.array(_per_row(seed, rows, pad), np.uint32),  # pyright: ignore[reportArgumentType]
            forced=forced,  # pyright: ignore[reportArgumentType]
        )

    def _require_legal(self, ids: Sequence[int]) -> None:
        state, owed = self.grammar.start, self.grammar.owed
        for place, symbol in enumerate(ids):
            if self.grammar.done(state, owed) or not 0 <= symbol < self.grammar.next_state.shape[1]:
                raise ValueError(
                    f"Forced action id {symbol} at place {place} is unknown, or stands behind a complete chunk."
                )
            state, owed = self.grammar.advance(state, owed, symbol)

    def _read(self, result: Result, dialogues: Dialogues) -> list[Decoded]:
        decoded = []
        for row, questions in enumerate(dialogues.questions):
            mine = slice(result.symbols.shape[0] - len(questions), None)
            said = zip(questions, result.symbols[mine, row], strict=True)
            written = result.actions[row]
            decoded.append(
                Decoded(
                    answers=tuple(self.answers[q.name].word(np.asarray(symbols)) for q, symbols in said),
                    answer_probabilities=tuple(float(p) for p in np.exp(result.log_probability[mine, row])),
                    action_ids=tuple(int(i) for i in written[written >= 0]),
                    action_log_probability=float(result.action_log_probability[row]),
                    accepted=int(result.accepted[mine, row].sum()),
                )
            )
        return decoded


def _given(
    prompts: Sequence[PromptFields],
    forced: Sequence[Sequence[str] | None] | None,
    drafts: Sequence[Sequence[str] | None] | None,
) -> list[Given]:
    rows = []
    for row in range(len(prompts)):
        force, draft = (None if given is None else given[row] for given in (forced, drafts))
        stands = force if force is not None else draft
        rows.append(Given(answers=None if stands is None else tuple(stands), trusted=force is not None))
    return rows


def _per_row(value: T | Sequence[T], rows: int, pad: int) -> list[T]:
    values = list(value) if isinstance(value, Sequence) else [value] * rows
    if len(values) != rows:
        raise ValueError(f"{len(values)} values for {rows} rows: give one for all, or one per row.")
    return values + values[-1:] * pad


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
