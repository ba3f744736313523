"""Answers of the compiled program: drafts verified in one pass, then slot by slot a choice among the allowed ones."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from inspire_fast.models.inference.model import InferenceModel, logits, pick
from inspire_fast.policy.batching import Layout, Slots
from inspire_fast.policy.compiled.arrays import AnswerTables, Position, take


class Text(NamedTuple):
    """Given text of every row, `f` ids at most."""

    ids: jax.Array  # int32 [b, f]
    lengths: jax.Array  # int32 [b]
    attends_to: jax.Array  # int32 [b, f] see `Blank.attends_to`


class Answered(NamedTuple):
    """The answers of all slots, as far as they are known."""

    symbols: jax.Array  # int32 [q, b, d]
    log_probability: jax.Array  # float32 [q, b]


class Walk(NamedTuple):
    """The way of every row through the automaton of one slot's answers."""

    state: jax.Array  # int32 [b]
    ended: jax.Array  # bool [b] the answer is complete, or the row does not ask here
    symbols: jax.Array  # int32 [b, d] chosen so far, -1 elsewhere
    log_probability: jax.Array  # float32 [b]
    token: jax.Array  # int32 [b] text id of the last symbol, which the network has not read yet


def answer(
    model: InferenceModel, layout: Layout, tables: AnswerTables, predicting: jax.Array, at: Position
) -> tuple[Position, Answered, jax.Array]:
    """Keeps or chooses the answer of every slot; returns also which given ones were kept, bool `[q, b]`."""
    slots, count = layout.slots, layout.slots.active.shape[0]
    holds, verified = _verify(predicting, tables, layout)
    accepted = holds & layout.filled
    todo = slots.active & ~accepted  # [q, b]
    # A row with slots left to do goes back to where the first of them begins: cutting the cache's length forgets
    # everything that the prompt held from there on, and the hidden state before that place predicts the answer's first
    # id.
    asks, resume = todo.any(axis=0), todo.argmax(axis=0)  # [b] is a slot left, and which is the first
    read = jnp.where(asks, jnp.take_along_axis(slots.start, resume[None], axis=0)[0], layout.lengths)
    cache = replace(at.cache, length=model.config.image_tokens + read)
    last = jnp.where(asks[:, None], pick(predicting[:, :, 0], resume[:, None])[:, 0], at.last)
    answered = Answered(
        symbols=jnp.where(accepted[:, :, None], slots.drafted, -1),
        log_probability=jnp.where(accepted, verified, 0.0),
    )

    def fill(slot: jax.Array | int, text: Text, carry: tuple[Position, Answered]) -> tuple[Position, Answered]:
        """Fills one slot in the rows that have it to do; the others read nothing and keep what they have."""
        at, answered = carry
        mine = todo[slot]
        at, walk = _choose(model, at, jax.tree.map(lambda table: table[slot], slots), tables, mine)
        at = _follow(model, at, mine, walk.token, text)
        symbols = jnp.where(mine[:, None], walk.symbols, answered.symbols[slot])
        log_probability = jnp.where(mine, walk.log_probability, answered.log_probability[slot])
        return at, Answered(
            symbols=answered.symbols.at[slot].set(symbols),
            log_probability=answered.log_probability.at[slot].set(log_probability),
        )

    def ask(slot: jax.Array, carry: tuple[Position, Answered]) -> tuple[Position, Answered]:
        return fill(
            slot, Text(slots.continuation[slot], slots.continuation_lengths[slot], slots.attends_to[slot]), carry
        )

    def ask_last(_: jax.Array, carry: tuple[Position, Answered]) -> tuple[Position, Answered]:
        return fill(count - 1, Text(layout.suffix, layout.suffix_lengths, layout.suffix_attends_to), carry)

    # The first slot that any row has to do; rows are right-aligned, so that short dialogues skip the first slots.
    first = jnp.where(todo.any(), todo.any(axis=1).argmax(), count)
    # The last slot is apart, since its text has another shape. Both are loops even where they run once or not at all: a
    # conditional would copy the cache.
    carry = jax.lax.fori_loop(first, count - 1, ask, (Position(last=last, cache=cache), answered))
    at, answered = jax.lax.fori_loop(jnp.where(todo.any(), 0, 1), 1, ask_last, carry)
    return at, answered, accepted


def _legal_logits(hidden: jax.Array, head: jax.Array, allowed: jax.Array) -> jax.Array:
    """Logits of the symbols; -inf on those that are not allowed."""
    return jnp.where(allowed, logits(hidden, head), -jnp.inf)


def _verify(hidden: jax.Array, tables: AnswerTables, layout: Layout) -> tuple[jax.Array, jax.Array]:
    """Kept answers of the prompt, bool `[q, b]` (a prefix of every row's slots), and their log-probability `[q, b]`.

    `hidden` is `[b, q, d, w]`, what predicts each id. Trusted answers are kept with probability 1.
    """
    slots = layout.slots

    def walk(slot: Slots, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One slot: its arrays have no first axis, `hidden` is `[b, d, w]`."""
        state = slot.begin
        same, total = jnp.ones(state.shape, bool), jnp.zeros(state.shape)
        for step in range(hidden.shape[1]):
            symbol = slot.drafted[:, step]
            following, legal = tables.allowed(state, slot.drafted)
            allowed = _legal_logits(hidden[:, step], tables.head, legal)
            here, symbol = symbol >= 0, jnp.maximum(symbol, 0)  # answers may be shorter than the longest one
            # The draft agrees where its symbol is the model's own choice among the allowed ones.
            same &= ~here | (jnp.argmax(allowed, axis=-1) == symbol)
            total += jnp.where(here, take(jax.nn.log_softmax(allowed), symbol), 0.0)
            state = jnp.where(here, take(following, symbol), state)
        return same, total

    same, total = jax.vmap(walk, in_axes=(0, 1))(slots, hidden)
    # After the first wrong answer, the model would have read another text: later ones are not verified. The cumulative
    # product along the slots is 1 up to the first wrong one; slots that a row does not have count as right.
    right = (same | ~slots.active | layout.trusted).astype(jnp.int32)
    return (jnp.cumprod(right, axis=0) > 0) & slots.active, jnp.where(layout.trusted, 0.0, total)


def given_probabilities(hidden: jax.Array, tables: AnswerTables, layout: Layout) -> jax.Array:
    """Probability of every symbol at every place of the given answers, float32 `[q, b, d, k]`; `hidden` as above."""
    slots = layout.slots

    def walk(slot: Slots, hidden: jax.Array) -> jax.Array:
        state, maps = slot.begin, list[jax.Array]()
        for step in range(hidden.shape[1]):
            symbol = slot.drafted[:, step]
            following, legal = tables.allowed(state, slot.drafted)
            here = symbol >= 0
            maps.append(jax.nn.softmax(_legal_logits(hidden[:, step], tables.head, legal)) * here[:, None])
            state = jnp.where(here, take(following, jnp.maximum(symbol, 0)), state)
        return jnp.stack(maps, axis=1)

    found = jax.vmap(walk, in_axes=(0, 1))(slots, hidden)
    return jnp.where(slots.active[:, :, None, None], found, 0.0)


def _choose(
    model: InferenceModel, at: Position, slot: Slots, tables: AnswerTables, mine: jax.Array
) -> tuple[Position, Walk]:
    """Walks one slot's automaton for the rows `mine`, bool `[b]`; `slot` has no first axis."""
    rows, depth = slot.drafted.shape

    def choose(step: jax.Array, at: Position, walk: Walk) -> Walk:
        """Chooses the likeliest allowed symbol; rows that have ended stay as they are."""
        following, legal = tables.allowed(walk.state, walk.symbols)  # [b, k]
        allowed = _legal_logits(at.last, tables.head, legal)
        symbol = jnp.argmax(allowed, axis=-1).astype(jnp.int32)
        gained = take(jax.nn.log_softmax(allowed), symbol)
        state = jnp.where(walk.ended, walk.state, take(following, symbol))
        return Walk(
            state=state,
            ended=walk.ended | tables.accepting[state],
            symbols=walk.symbols.at[:, step].set(jnp.where(walk.ended, -1, symbol)),
            log_probability=walk.log_probability + jnp.where(walk.ended, 0.0, gained),
            token=jnp.where(walk.ended, walk.token, tables.ids[symbol]),
        )

    def read_and_choose(carry: tuple[jax.Array, Position, Walk]) -> tuple[jax.Array, Position, Walk]:
        step, at, walk = carry
        # Rows whose answer goes on read their id now; for the others it begins the chunk that `_follow` reads.
        hidden, cache = model.extend(at.cache, walk.token[:, None], (~walk.ended).astype(jnp.int32))
        at = Position(last=jnp.where(walk.ended[:, None], at.last, hidden[:, 0]), cache=cache)
        return step + 1, at, choose(step, at, walk)

    none = jnp.zeros(rows, jnp.int32)
    walk = Walk(
        state=slot.begin,
        ended=~mine,
        symbols=jnp.full((rows, depth), -1, jnp.int32),
        log_probability=jnp.zeros(rows),
        token=none,
    )
    walk = choose(jnp.int32(0), at, walk)
    if depth > 1:  # where every answer is one id, there is nothing to loop over, and less to compile
        carry = (jnp.int32(1), at, walk)
        _, at, walk = jax.lax.while_loop(lambda carry: ~carry[2].ended.all(), read_and_choose, carry)
    return at, walk


def _follow(model: InferenceModel, at: Position, mine: jax.Array, final: jax.Array, text: Text) -> Position:
    """Reads an answer's last id, int32 `[b]`, and the text that follows it in one chunk, in the rows `mine`."""
    chunk = jnp.concatenate([final[:, None], text.ids], axis=1)  # [b, 1 + f]
    # The answer's id sees itself; the text's places in the chunk are one later than in the text.
    sees = jnp.concatenate([jnp.zeros((len(mine), 1), jnp.int32), text.attends_to + 1], axis=1)
    lengths = jnp.where(mine, 1 + text.lengths, 0)  # the other rows read nothing
    hidden, cache = model.extend(at.cache, chunk, lengths, at.cache.length[:, None] + sees, lengths[:, None] - 1)
    return Position(last=jnp.where(mine[:, None], hidden[:, 0], at.last), cache=cache)
