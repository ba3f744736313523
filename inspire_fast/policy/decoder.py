"""The slot decoder: one compiled program runs the whole dialogue.

Prefill once; then, slot by slot, choose among the allowed answers and read the answer and the given text behind it in one
chunk; then write action tokens under the action tokenizer's grammar until every row owes nothing. Slots, texts and grammars
are data to the program: one program per shape bucket (rows, prompt, questions, text between blanks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.dialogue.render import Turn
from inspire_fast.dialogue.script import Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.gemma import KVCache
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.layout import Answers, Layout, Slot, lay_out
from inspire_fast.tokenizers.grammar import Grammar


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ActionTables:
    """The action grammar on the device: `n` states, `k` action ids, `o` owed (0..start)."""

    ids: jax.Array  # int32 [k] text id of each action id
    next_state: jax.Array  # int32 [n, k], -1 illegal
    spent: jax.Array  # int32 [n, k]
    alive: jax.Array  # bool [n, o + 1]
    accepting: jax.Array  # bool [n]
    start: jax.Array  # int32 []
    owed: jax.Array  # int32 []


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One row's dialogue, filled in.

    Attributes:
        answers: one per question slot, in order.
        answer_probabilities: probability of each among the allowed answers (1 where it was forced).
        action_ids: ids of the action tokenizer, a complete chunk.
        action_log_probability: of the chunk under the grammar, nats; NaN where it was written without.
        problem: why there is no chunk; always empty under the grammar.
    """

    answers: tuple[str, ...]
    answer_probabilities: tuple[float, ...]
    action_ids: tuple[int, ...]
    action_log_probability: float
    problem: str = ""


class Decoder:
    """Fills the blanks of one script with one model.

    Args:
        model: the network.
        script: must end in an action slot.
        vocabulary: of the model.
        horizon, action_dim: shape of a chunk.

    Raises:
        ValueError: the script does not act, or an answer cannot be spelled unambiguously.
    """

    def __init__(
        self, model: Pi0Fast, script: Script, vocabulary: Vocabulary, *, horizon: int, action_dim: int
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
        self.model = model
        self.script = script
        self.vocabulary = vocabulary
        grammar = vocabulary.action.grammar(horizon, action_dim)
        self._max_actions = grammar.longest()
        self._tables = _action_tables(grammar, vocabulary)
        self.answers = {q.name: Answers(q, vocabulary) for q in script.questions}

    def decode(
        self,
        images: Mapping[str, np.ndarray],
        image_mask: Mapping[str, np.ndarray],
        turns: Sequence[Turn],
        *,
        forced: Sequence[Sequence[str]] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Decoded]:
        """Runs the dialogue for every row.

        Args:
            images: camera -> uint8 `[b, h, w, 3]`.
            image_mask: camera -> bool `[b]`.
            turns: one per row; rows may differ in prompt and number of targets.
            forced: per row, the answers to write instead of the model's own.
            temperature: of the action slot; 0 is greedy. Answers are always the most likely ones.
            seed: for sampling.

        Raises:
            ValueError: a forced answer that is not allowed, or their number is not the number of questions.
        """
        dialogues = lay_out(self.script, turns, self.vocabulary, self.answers, forced)
        layout = dialogues.layout
        pad = len(layout.real) - len(turns)
        result = _run(
            self.model,
            {k: jnp.asarray(np.pad(v, [(0, pad)] + [(0, 0)] * 3)) for k, v in images.items()},
            {k: jnp.asarray(np.pad(v, (0, pad), constant_values=True)) for k, v in image_mask.items()},
            layout,
            self._tables,
            jnp.float32(temperature),
            jax.random.key(seed),
            max_actions=self._max_actions,
        )
        symbols, probabilities, actions, counts, log_probability = jax.device_get(result)
        return [
            Decoded(
                answers=tuple(self.answers[q.name].word(symbols[row, slot]) for slot, q in enumerate(questions)),
                answer_probabilities=tuple(float(p) for p in probabilities[row, : len(questions)]),
                action_ids=tuple(int(i) for i in actions[row, : counts[row]]),
                action_log_probability=float(log_probability[row]),
            )
            for row, questions in enumerate(dialogues.questions)
        ]


def _action_tables(grammar: Grammar, vocabulary: Vocabulary) -> ActionTables:
    return ActionTables(
        ids=jnp.asarray(vocabulary.from_action(np.arange(vocabulary.action.vocab_size))),
        next_state=jnp.asarray(grammar.next_state, jnp.int32),
        spent=jnp.asarray(grammar.spent, jnp.int32),
        alive=jnp.asarray(grammar.alive),
        accepting=jnp.asarray(grammar.accepting),
        start=jnp.int32(grammar.start),
        owed=jnp.int32(grammar.owed),
    )


@partial(jax.jit, static_argnames=("max_actions",))
def _run(
    model: Pi0Fast,
    images: dict[str, jax.Array],
    image_mask: dict[str, jax.Array],
    layout: Layout,
    tables: ActionTables,
    temperature: jax.Array,
    key: jax.Array,
    *,
    max_actions: int,
) -> tuple[jax.Array, ...]:
    """The whole dialogue; see `Decoder.decode`. Shapes come from `layout` alone."""
    questions, _, depth = layout.slots.forced.shape
    capacity = layout.ids.shape[1] + questions * (depth + layout.slots.then.shape[2]) + max_actions
    hidden, cache = model.prefill(images, image_mask, layout.ids, layout.lengths, layout.block, capacity)

    def answer(
        carry: tuple[jax.Array, KVCache], slot: Slot
    ) -> tuple[tuple[jax.Array, KVCache], tuple[jax.Array, jax.Array]]:
        last, cache, chosen, probability = _answer(model, *carry, slot)
        return (last, cache), (chosen, probability)

    start = (_at(hidden, layout.lengths - 1), cache)
    (last, cache), (symbols, probabilities) = jax.lax.scan(answer, start, layout.slots)
    actions, counts, log_probability = _act(model, last, cache, tables, layout.real, temperature, key, max_actions)
    return symbols.swapaxes(0, 1), probabilities.swapaxes(0, 1), actions, counts, log_probability


def _at(hidden: jax.Array, index: jax.Array) -> jax.Array:
    """`[b, m, w]`, `[b]` -> `[b, w]`."""
    return jnp.take_along_axis(hidden, jnp.maximum(index, 0)[:, None, None], axis=1)[:, 0]


def _answer(
    model: Pi0Fast, last: jax.Array, cache: KVCache, slot: Slot
) -> tuple[jax.Array, KVCache, jax.Array, jax.Array]:
    """One question slot: walks the trie, then reads the answer's last id and the text behind it in one chunk."""
    rows, depth = slot.forced.shape
    state = jnp.zeros(rows, jnp.int32)
    ended = ~slot.active
    final = jnp.zeros(rows, jnp.int32)
    log_probability = jnp.zeros(rows)
    chosen = []
    for step in range(depth):
        following = slot.next_state[state]
        logits = jnp.where(following >= 0, model.logits(last, slot.answer_ids), -jnp.inf)
        forced = slot.forced[:, step]
        symbol = jnp.where(forced >= 0, forced, jnp.argmax(logits, axis=-1)).astype(jnp.int32)
        gained = jnp.take_along_axis(jax.nn.log_softmax(logits), symbol[:, None], axis=1)[:, 0]
        log_probability += jnp.where(ended | (forced >= 0), 0.0, gained)
        chosen.append(jnp.where(ended, -1, symbol))
        now = jnp.take_along_axis(following, symbol[:, None], axis=1)[:, 0]
        state = jnp.where(ended, state, now)
        token = slot.answer_ids[symbol]
        final = jnp.where(ended, final, token)
        ended = ended | slot.accepting[state]
        if step + 1 < depth:  # rows whose answer goes on read this id now; the others wait for the chunk
            hidden, cache = model.extend(cache, token[:, None], (~ended).astype(jnp.int32))
            last = jnp.where(ended[:, None], last, hidden[:, 0])
    chunk = jnp.concatenate([final[:, None], slot.then], axis=1)
    reach = jnp.concatenate([jnp.zeros((rows, 1), jnp.int32), slot.reach + 1], axis=1)
    lengths = jnp.where(slot.active, 1 + slot.then_lengths, 0)
    hidden, cache = model.extend(cache, chunk, lengths, cache.length[:, None] + reach)
    last = jnp.where(slot.active[:, None], _at(hidden, lengths - 1), last)
    return last, cache, jnp.stack(chosen, axis=1), jnp.exp(log_probability)


def _act(
    model: Pi0Fast,
    last: jax.Array,
    cache: KVCache,
    tables: ActionTables,
    real: jax.Array,
    temperature: jax.Array,
    key: jax.Array,
    max_actions: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The action slot: ids `[b, max_actions]`, how many of them are real `[b]`, log-probability `[b]`."""
    rows = last.shape[0]

    def unfinished(carry: tuple) -> jax.Array:
        step, _, _, _, done, _, _, _ = carry
        return (step < max_actions) & ~done.all()

    def step_once(carry: tuple) -> tuple:
        step, last, state, owed, done, cache, out, total = carry
        rest = owed[:, None] - tables.spent[state]
        following = tables.next_state[state]
        legal = (following >= 0) & (rest >= 0) & tables.alive[following, jnp.maximum(rest, 0)]
        logits = jnp.where(legal, model.logits(last, tables.ids), -jnp.inf)
        noise = jax.random.gumbel(jax.random.fold_in(key, step), logits.shape) * temperature
        symbol = jnp.argmax(logits + noise, axis=-1)
        at = symbol[:, None]
        gained = jnp.take_along_axis(jax.nn.log_softmax(logits), at, axis=1)[:, 0]
        total = total + jnp.where(done, 0.0, gained)
        out = out.at[:, step].set(jnp.where(done, -1, symbol))
        state = jnp.where(done, state, jnp.take_along_axis(following, at, axis=1)[:, 0])
        owed = jnp.where(done, owed, jnp.take_along_axis(rest, at, axis=1)[:, 0])
        done = done | ((owed == 0) & tables.accepting[state])
        hidden, cache = model.extend(cache, tables.ids[symbol][:, None], (~done).astype(jnp.int32))
        return step + 1, hidden[:, 0], state, owed, done, cache, out, total

    start = (
        jnp.int32(0),
        last,
        jnp.full(rows, tables.start),
        jnp.full(rows, tables.owed),
        ~real,
        cache,
        jnp.full((rows, max_actions), -1, jnp.int32),
        jnp.zeros(rows),
    )
    *_, out, total = jax.lax.while_loop(unfinished, step_once, start)
    return out, (out >= 0).sum(axis=1), total
