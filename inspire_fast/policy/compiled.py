"""The compiled program: prefill, answers and actions of a batch of rows, in one call of the device.

1. The prompt is read. It ends at the first blank, or holds given answers: trusted ones, or a draft.
2. Drafted answers are verified in one pass; the longest prefix that the model agrees with is kept. A row continues from
   its first answer that is not kept. Where all are kept, step 3 has nothing to do.
3. Slot by slot, the model chooses among the allowed answers, then reads its choice and the text that follows in one
   chunk.
4. It writes action tokens under the action tokenizer's grammar until every row's chunk is complete.

Texts, tries and grammars are data, and so is the number of times that a loop runs: a call with one question does not
pay for the other slots, a call whose drafts are all kept does not pay for step 3.

Shapes: `b` rows, `q` question slots, `d` ids of the longest answer, `k` symbols (answer ids or action ids), `n` states,
`w` width of the network, `a` ids of the longest chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from inspire_fast.models.inference.cache import KVCache
from inspire_fast.models.inference.model import InferenceModel, logits, pick
from inspire_fast.policy.batching import Array, Layout, Slots


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ActionTables:
    """The action grammar on the device: `n` states, `k` action ids, `o` owed (0..start), `w` width of the network."""

    ids: jax.Array  # int32 [k] text id of each action id
    head: jax.Array  # [k, w] see `InferenceModel.head`
    next_state: jax.Array  # int32 [n, k], -1 where the id is not allowed
    spent: jax.Array  # int32 [n, k] how much of the chunk an id writes
    alive: jax.Array  # bool [n, o + 1] from this state, exactly so much can still be written
    accepting: jax.Array  # bool [n] a chunk may end in this state
    start: jax.Array  # int32 [] state of an empty chunk
    owed: jax.Array  # int32 [] what an empty chunk still has to write


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How each row's actions are drawn, and which of them are given: `b` rows, `a` ids at most.

    NumPy arrays until they enter the program.
    """

    temperature: Array  # float32 [b], 0 is greedy
    top_k: Array  # int32 [b], 0 is all
    seed: Array  # uint32 [b]
    forced: Array  # int32 [b, a] action ids to write instead of the model's choice, -1 where it chooses


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Result:
    """The filled dialogues as arrays; `decoder.Decoded` is one row of them."""

    symbols: jax.Array  # int32 [q, b, d] of each slot's trie, -1 after the answer's end
    log_probability: jax.Array  # float32 [q, b] of the answer among the allowed ones
    accepted: jax.Array  # bool [q, b] the answer was given in the prompt and is kept
    actions: jax.Array  # int32 [b, a], -1 after the chunk's end
    action_log_probability: jax.Array  # float32 [b]
    steps: jax.Array  # int32 [] tokens read one by one in the action slot


class Position(NamedTuple):
    """Where every row is in its dialogue."""

    last: jax.Array  # [b, w] the hidden state that predicts the next id
    cache: KVCache  # keys and values of everything read so far


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
    """The way of every row through the trie of one slot."""

    state: jax.Array  # int32 [b]
    ended: jax.Array  # bool [b] the answer is complete, or the row does not ask here
    symbols: jax.Array  # int32 [b, d] chosen so far, -1 elsewhere
    log_probability: jax.Array  # float32 [b]
    token: jax.Array  # int32 [b] text id of the last symbol, which the network has not read yet


class Chunk(NamedTuple):
    """The action chunk of every row, as far as it is written."""

    symbol: jax.Array  # int32 [b] the last action id, which the network has not read yet
    state: jax.Array  # int32 [b] of the grammar
    owed: jax.Array  # int32 [b] what is still to be written
    done: jax.Array  # bool [b]
    written: jax.Array  # int32 [b, a], -1 elsewhere
    log_probability: jax.Array  # float32 [b]


@jax.jit
def run(
    model: InferenceModel,
    images: dict[str, jax.Array],
    constant: dict[str, jax.Array],
    image_mask: dict[str, jax.Array],
    layout: Layout,
    tables: ActionTables,
    sampling: Sampling,
) -> Result:
    """The whole dialogue of all rows.

    Args:
        model: the network.
        images: uint8 `[b, h, w, 3]` of the cameras that see something.
        constant: tokens `[1, t, w]` of the other cameras, embedded once for all calls.
        image_mask: bool `[b]` per camera.
        layout: the dialogues.
        tables: the action grammar.
        sampling: how actions are drawn.
    """
    rows, slots = layout.ids.shape[0], layout.slots
    count, _, depth = slots.drafted.shape
    # Cameras that show the same in every call: all rows share their tokens.
    shared = {name: jnp.broadcast_to(one, (rows, *one.shape[1:])) for name, one in constant.items()}
    tokens = {**model.embed_images(images), **shared}
    # Of the prompt, few hidden states are needed: those that predict an id of a given answer (one place before it), and
    # the last one of every row, which predicts what follows the prompt.
    before = slots.start[:, :, None] - 1 + jnp.arange(depth)  # [q, b, d]
    wanted = jnp.concatenate([before.swapaxes(0, 1).reshape(rows, -1), layout.lengths[:, None] - 1], axis=1)
    # The cache holds the prompt, the answers and texts that may be read after it, and the longest chunk.
    capacity = layout.ids.shape[1] + layout.room + sampling.forced.shape[1]
    hidden, cache = model.prefill(tokens, image_mask, layout.ids, layout.lengths, layout.block, capacity, wanted)
    predicting = hidden[:, :-1].reshape(rows, count, depth, hidden.shape[2])  # [b, q, d, w]
    at = Position(last=hidden[:, -1], cache=cache)
    if count:
        at, answered, accepted = _answer(model, layout, predicting, at)
    else:  # a script without questions
        none = jnp.zeros((0, rows))
        answered, accepted = Answered(symbols=jnp.zeros((0, rows, 1), jnp.int32), log_probability=none), none > 0
    chunk, steps = _act(model, at, tables, sampling, layout.real)
    return Result(
        symbols=answered.symbols,
        log_probability=answered.log_probability,
        accepted=accepted,
        actions=chunk.written,
        action_log_probability=chunk.log_probability,
        steps=steps,
    )


def _answer(
    model: InferenceModel, layout: Layout, predicting: jax.Array, at: Position
) -> tuple[Position, Answered, jax.Array]:
    """Keeps or chooses the answer of every slot; returns also which given ones were kept, bool `[q, b]`."""
    slots, count = layout.slots, layout.slots.active.shape[0]
    head = model.head(slots.answer_ids)  # [q, k, w] what scores each slot's symbols
    holds, verified = _verify(predicting, head, layout)
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
        at, walk = _choose(model, at, jax.tree.map(lambda table: table[slot], slots), head[slot], mine)
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


def _legal_logits(hidden: jax.Array, head: jax.Array, following: jax.Array) -> jax.Array:
    """Logits of a trie's symbols; -inf on those that are not allowed."""
    return jnp.where(following >= 0, logits(hidden, head), -jnp.inf)


def _take(rows: jax.Array, symbol: jax.Array) -> jax.Array:
    """Entry `[b]` at each row's own symbol `[b]` of `[b, k]`."""
    return jnp.take_along_axis(rows, symbol[:, None], axis=1)[:, 0]


def _verify(hidden: jax.Array, head: jax.Array, layout: Layout) -> tuple[jax.Array, jax.Array]:
    """Kept answers of the prompt, bool `[q, b]` (a prefix of every row's slots), and their log-probability `[q, b]`.

    `hidden` is `[b, q, d, w]`, what predicts each id; `head` is `[q, k, w]`. Trusted answers are kept with probability
    1.
    """
    slots = layout.slots

    def walk(slot: Slots, head: jax.Array, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One slot: the tables have no first axis, `head` is `[k, w]`, `hidden` is `[b, d, w]`."""
        state = jnp.zeros(slot.start.shape, jnp.int32)
        same, total = jnp.ones(state.shape, bool), jnp.zeros(state.shape)
        for step in range(hidden.shape[1]):
            symbol, following = slot.drafted[:, step], slot.next_state[state]
            allowed = _legal_logits(hidden[:, step], head, following)
            here, symbol = symbol >= 0, jnp.maximum(symbol, 0)  # answers may be shorter than the longest one
            # The draft agrees where its symbol is the model's own choice among the allowed ones.
            same &= ~here | (jnp.argmax(allowed, axis=-1) == symbol)
            total += jnp.where(here, _take(jax.nn.log_softmax(allowed), symbol), 0.0)
            state = jnp.where(here, _take(following, symbol), state)
        return same, total

    same, total = jax.vmap(walk, in_axes=(0, 0, 1))(slots, head, hidden)
    # After the first wrong answer, the model would have read another text: later ones are not verified. The cumulative
    # product along the slots is 1 up to the first wrong one; slots that a row does not have count as right.
    right = (same | ~slots.active | layout.trusted).astype(jnp.int32)
    return (jnp.cumprod(right, axis=0) > 0) & slots.active, jnp.where(layout.trusted, 0.0, total)


def _choose(
    model: InferenceModel, at: Position, slot: Slots, head: jax.Array, mine: jax.Array
) -> tuple[Position, Walk]:
    """Walks one slot's trie for the rows `mine`, bool `[b]`; `slot` has no first axis, `head` is `[k, w]`."""
    rows, depth = slot.drafted.shape

    def choose(step: jax.Array, at: Position, walk: Walk) -> Walk:
        """Chooses the likeliest allowed symbol; rows that have ended stay as they are."""
        following = slot.next_state[walk.state]  # [b, k]
        allowed = _legal_logits(at.last, head, following)
        symbol = jnp.argmax(allowed, axis=-1).astype(jnp.int32)
        gained = _take(jax.nn.log_softmax(allowed), symbol)
        state = jnp.where(walk.ended, walk.state, _take(following, symbol))
        return Walk(
            state=state,
            ended=walk.ended | slot.accepting[state],
            symbols=walk.symbols.at[:, step].set(jnp.where(walk.ended, -1, symbol)),
            log_probability=walk.log_probability + jnp.where(walk.ended, 0.0, gained),
            token=jnp.where(walk.ended, walk.token, slot.answer_ids[symbol]),
        )

    def read_and_choose(carry: tuple[jax.Array, Position, Walk]) -> tuple[jax.Array, Position, Walk]:
        step, at, walk = carry
        # Rows whose answer goes on read their id now; for the others it begins the chunk that `_follow` reads.
        hidden, cache = model.extend(at.cache, walk.token[:, None], (~walk.ended).astype(jnp.int32))
        at = Position(last=jnp.where(walk.ended[:, None], at.last, hidden[:, 0]), cache=cache)
        return step + 1, at, choose(step, at, walk)

    none = jnp.zeros(rows, jnp.int32)
    walk = Walk(
        state=none,
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


def _act(
    model: InferenceModel, at: Position, tables: ActionTables, sampling: Sampling, real: jax.Array
) -> tuple[Chunk, jax.Array]:
    """Writes the chunks; returns also how many tokens were read one by one. Padding rows (not `real`) write nothing."""
    rows, most = sampling.forced.shape
    keys = jax.vmap(jax.random.key)(sampling.seed)  # one per row, so that rows do not depend on each other

    def write(step: jax.Array, last: jax.Array, chunk: Chunk) -> Chunk:
        """Chooses every row's next action id; rows that are done stay as they are."""
        rest = chunk.owed[:, None] - tables.spent[chunk.state]  # [b, k] owed after each id
        following = tables.next_state[chunk.state]  # [b, k]
        # An id is allowed if the grammar has it here, it writes no more than is owed, and the rest can still be
        # written.
        legal = (following >= 0) & (rest >= 0) & tables.alive[following, jnp.maximum(rest, 0)]
        allowed = jnp.where(legal, logits(last, tables.head), -jnp.inf)
        forced = sampling.forced[:, step]
        symbol = jnp.where(forced >= 0, forced, _draw(allowed, sampling, keys, step))
        state = jnp.where(chunk.done, chunk.state, _take(following, symbol))
        owed = jnp.where(chunk.done, chunk.owed, _take(rest, symbol))
        gained = _take(jax.nn.log_softmax(allowed), symbol)
        return Chunk(
            symbol=symbol,
            state=state,
            owed=owed,
            done=chunk.done | ((owed == 0) & tables.accepting[state]),
            written=chunk.written.at[:, step].set(jnp.where(chunk.done, -1, symbol)),
            log_probability=chunk.log_probability + jnp.where(chunk.done, 0.0, gained),
        )

    def read_and_write(carry: tuple[jax.Array, Chunk, KVCache]) -> tuple[jax.Array, Chunk, KVCache]:
        step, chunk, cache = carry
        # Rows that are done read nothing more.
        hidden, cache = model.extend(cache, tables.ids[chunk.symbol][:, None], (~chunk.done).astype(jnp.int32))
        return step + 1, write(step, hidden[:, 0], chunk), cache

    chunk = Chunk(
        symbol=jnp.zeros(rows, jnp.int32),
        state=jnp.full(rows, tables.start),
        owed=jnp.full(rows, tables.owed),
        done=~real,
        written=jnp.full((rows, most), -1, jnp.int32),
        log_probability=jnp.zeros(rows),
    )
    # The first id needs no reading: the hidden state that predicts it is there. Then id by id, until the last row is
    # done.
    carry = (jnp.int32(1), write(jnp.int32(0), at.last, chunk), at.cache)
    steps, chunk, _ = jax.lax.while_loop(lambda carry: (carry[0] < most) & ~carry[1].done.all(), read_and_write, carry)
    return chunk, steps - 1


def _draw(allowed: jax.Array, sampling: Sampling, keys: jax.Array, step: jax.Array) -> jax.Array:
    """int32 `[b]`: the most likely symbols, or drawn ones for rows with a temperature (Gumbel-max)."""

    def drawn() -> jax.Array:
        # Only ids at least as likely as the k-th one remain; noise from a Gumbel distribution, scaled by the
        # temperature, makes the largest sum a draw from the softmax at that temperature.
        ranked = jnp.sort(allowed, axis=-1, descending=True)
        last = jnp.where(sampling.top_k > 0, jnp.minimum(sampling.top_k, allowed.shape[1]), allowed.shape[1]) - 1
        least = jnp.take_along_axis(ranked, last[:, None], axis=1)
        noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, step), allowed.shape[1:]))(keys)
        warm = sampling.temperature[:, None]
        return jnp.argmax(jnp.where(allowed >= least, allowed, -jnp.inf) + noise * warm, axis=-1)

    # Without a warm row, nothing is sorted or drawn.
    greedy = jnp.argmax(allowed, axis=-1)
    return jax.lax.cond((sampling.temperature > 0).any(), drawn, lambda: greedy).astype(jnp.int32)
