"""The compiled dialogue: prefill, answers, actions, without a word to the host in between.

1. The prompt is read. It ends at the first blank, or holds answers that were given: trusted ones, or a draft.
2. Drafted answers are verified all at once: each is what the model chooses behind the text before it, or is not. What stands
   before the first that is not remains; the row goes on from there. Where all hold, nothing is left to do.
3. Slot by slot the model chooses among the allowed answers, and reads its choice and the given text behind it in one chunk.
4. It writes action tokens under the action tokenizer's grammar until every row owes nothing.

Texts, tries and grammars are data. How often a loop runs is data, too: a call with one question costs nothing of the other
slots, a call whose drafts hold nothing of step 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from inspire_fast.models.inference.cache import KVCache
from inspire_fast.models.inference.model import InferenceModel, logits, pick
from inspire_fast.policy.batching import Layout, Slots


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ActionTables:
    """The action grammar on the device: `n` states, `k` action ids, `o` owed (0..start), `w` width of the network."""

    ids: jax.Array  # int32 [k] text id of each action id
    head: jax.Array  # [k, w] see `InferenceModel.head`
    next_state: jax.Array  # int32 [n, k], -1 illegal
    spent: jax.Array  # int32 [n, k]
    alive: jax.Array  # bool [n, o + 1]
    accepting: jax.Array  # bool [n]
    start: jax.Array  # int32 []
    owed: jax.Array  # int32 []


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How each row's actions are drawn, and which of them are given: `b` rows, `a` ids at most."""

    temperature: jax.Array  # float32 [b], 0 is greedy
    top_k: jax.Array  # int32 [b], 0 is all
    seed: jax.Array  # uint32 [b]
    forced: jax.Array  # int32 [b, a] action ids to write instead of the model's choice, -1 where it chooses


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out; see `decoder.Decoded`."""

    symbols: jax.Array  # int32 [q, b, d] of each slot's trie, -1 behind the answer's end
    log_probability: jax.Array  # float32 [q, b] of the answer among the allowed ones
    accepted: jax.Array  # bool [q, b] it was given, and stands
    actions: jax.Array  # int32 [b, a], -1 behind the chunk's end
    action_log_probability: jax.Array  # float32 [b]
    steps: jax.Array  # int32 [] tokens read one by one in the action slot


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
        constant: tokens `[1, t, w]` of the other cameras, embedded once and for all.
        image_mask: bool `[b]` per camera.
        layout: the dialogues.
        tables: the action grammar.
        sampling: see there.
    """
    rows = layout.ids.shape[0]
    shared = {name: jnp.broadcast_to(one, (rows, *one.shape[1:])) for name, one in constant.items()}
    tokens = {**model.embed_images(images), **shared}
    slots, count = layout.slots, layout.slots.active.shape[0]
    depth = slots.drafted.shape[2]
    drafted = slots.start[:, :, None] - 1 + jnp.arange(depth)  # where each id of an answer in the prompt is predicted
    wanted = jnp.concatenate([drafted.swapaxes(0, 1).reshape(rows, -1), layout.lengths[:, None] - 1], axis=1)
    capacity = layout.ids.shape[1] + layout.room + sampling.forced.shape[1]  # ids that the cache holds, images apart
    hidden, cache = model.prefill(tokens, image_mask, layout.ids, layout.lengths, layout.block, capacity, wanted)
    hidden, last = hidden[:, :-1].reshape(rows, count, depth, hidden.shape[2]), hidden[:, -1]
    if not count:
        empty = jnp.zeros((0, rows))
        return _act(
            model, last, cache, layout, tables, sampling, (jnp.zeros((0, rows, 1), jnp.int32), empty, empty > 0)
        )
    head = model.head(slots.answer_ids)
    holds, verified = _verify(hidden, head, layout)
    accepted = holds & layout.filled
    todo = slots.active & ~accepted
    asks, resume = todo.any(axis=0), todo.argmax(axis=0)  # per row: whether a slot is left to do, and which comes first
    behind = jnp.where(asks, jnp.take_along_axis(slots.start, resume[None], axis=0)[0], layout.lengths)
    last = jnp.where(asks[:, None], pick(hidden[:, :, 0], resume[:, None])[:, 0], last)
    cache = KVCache(k=cache.k, v=cache.v, valid=cache.valid, length=model.config.image_tokens + behind)
    first = jnp.where(todo.any(), todo.any(axis=1).argmax(), count)
    said = (jnp.where(accepted[:, :, None], slots.drafted, -1), jnp.where(accepted, verified, 0.0))

    def ask(slot: jax.Array, carry: tuple) -> tuple:
        last, cache, said = carry
        at = jax.tree.map(lambda table: table[slot], slots)
        chosen, log_p, final, last, cache = _choose(model, last, cache, at, head[slot], todo[slot])
        last, cache = _follow(
            model, last, cache, todo[slot], final, at.continuation, at.continuation_lengths, at.attends_to
        )
        return last, cache, _say(said, slot, todo[slot], chosen, log_p)

    def ask_last(_: jax.Array, carry: tuple) -> tuple:
        last, cache, said = carry
        at = jax.tree.map(lambda table: table[-1], slots)
        chosen, log_p, final, last, cache = _choose(model, last, cache, at, head[-1], todo[-1])
        last, cache = _follow(
            model, last, cache, todo[-1], final, layout.suffix, layout.suffix_lengths, layout.suffix_attends_to
        )
        return last, cache, _say(said, jnp.int32(count - 1), todo[-1], chosen, log_p)

    # Loops, also where they run once or not at all: through a conditional, the cache would be copied.
    carry = jax.lax.fori_loop(first, count - 1, ask, (last, cache, said))
    last, cache, (symbols, log_probability) = jax.lax.fori_loop(jnp.where(todo.any(), 0, 1), 1, ask_last, carry)
    return _act(model, last, cache, layout, tables, sampling, (symbols, log_probability, accepted))


def _say(said: tuple, slot: jax.Array, mine: jax.Array, chosen: jax.Array, log_p: jax.Array) -> tuple:
    symbols, log_probability = said
    return (
        symbols.at[slot].set(jnp.where(mine[:, None], chosen, symbols[slot])),
        log_probability.at[slot].set(jnp.where(mine, log_p, log_probability[slot])),
    )


def _legal_logits(hidden: jax.Array, head: jax.Array, following: jax.Array) -> jax.Array:
    """Logits of a trie's symbols; -inf on those that lead nowhere."""
    return jnp.where(following >= 0, logits(hidden, head), -jnp.inf)


def _verify(hidden: jax.Array, head: jax.Array, layout: Layout) -> tuple[jax.Array, jax.Array]:
    """Which answers in the prompt stand (bool `[q, b]`, a prefix of every row's slots), and their log-probability `[q, b]`.

    `hidden` is `[b, q, d, w]`, what predicts each id; `head` is `[q, k, w]`. Trusted answers stand with probability 1.
    """
    slots = layout.slots

    def walk(slot: Slots, head: jax.Array, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.zeros(slot.start.shape, jnp.int32)
        same, total = jnp.ones(state.shape, bool), jnp.zeros(state.shape)
        for step in range(hidden.shape[1]):
            symbol, following = slot.drafted[:, step], slot.next_state[state]
            allowed = _legal_logits(hidden[:, step], head, following)
            here = symbol >= 0
            at = jnp.maximum(symbol, 0)[:, None]
            same &= ~here | (jnp.argmax(allowed, axis=-1) == symbol)
            total += jnp.where(here, jnp.take_along_axis(jax.nn.log_softmax(allowed), at, axis=1)[:, 0], 0.0)
            state = jnp.where(here, jnp.take_along_axis(following, at, axis=1)[:, 0], state)
        return same, total

    same, total = jax.vmap(walk, in_axes=(0, 0, 1))(slots, head, hidden)
    stands = jnp.cumprod((same | ~slots.active | layout.trusted).astype(jnp.int32), axis=0) > 0
    return stands & slots.active, jnp.where(layout.trusted, 0.0, total)


def _choose(
    model: InferenceModel, last: jax.Array, cache: KVCache, slot: Slots, head: jax.Array, mine: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, KVCache]:
    """Walks one slot's trie for the rows `mine`: symbols `[b, d]`, log-probability, the answer's last id (not read yet)."""
    rows, depth = slot.drafted.shape

    def choose(step: jax.Array, carry: tuple) -> tuple:
        last, cache, state, ended, chosen, total, _ = carry
        following = slot.next_state[state]
        allowed = _legal_logits(last, head, following)
        symbol = jnp.argmax(allowed, axis=-1).astype(jnp.int32)
        gained = jnp.take_along_axis(jax.nn.log_softmax(allowed), symbol[:, None], axis=1)[:, 0]
        total += jnp.where(ended, 0.0, gained)
        chosen = chosen.at[:, step].set(jnp.where(ended, -1, symbol))
        token = jnp.where(ended, carry[-1], slot.answer_ids[symbol])
        state = jnp.where(ended, state, jnp.take_along_axis(following, symbol[:, None], axis=1)[:, 0])
        return last, cache, state, ended | slot.accepting[state], chosen, total, token

    def read_and_choose(carry: tuple) -> tuple:
        step, (last, cache, state, ended, chosen, total, token) = carry
        # Rows whose answer goes on read this id now; for the others it begins the chunk.
        hidden, cache = model.extend(cache, token[:, None], (~ended).astype(jnp.int32))
        last = jnp.where(ended[:, None], last, hidden[:, 0])
        return step + 1, choose(step, (last, cache, state, ended, chosen, total, token))

    none = jnp.zeros(rows, jnp.int32)
    start = (last, cache, none, ~mine, jnp.full((rows, depth), -1, jnp.int32), jnp.zeros(rows), none)
    carry = choose(jnp.int32(0), start)
    if depth > 1:
        _, carry = jax.lax.while_loop(lambda c: ~c[1][3].all(), read_and_choose, (jnp.int32(1), carry))
    last, cache, _, _, chosen, total, final = carry
    return chosen, total, final, last, cache


def _follow(
    model: InferenceModel,
    last: jax.Array,
    cache: KVCache,
    mine: jax.Array,
    final: jax.Array,
    continuation: jax.Array,
    continuation_lengths: jax.Array,
    attends_to: jax.Array,
) -> tuple[jax.Array, KVCache]:
    """Reads an answer's last id and the text behind it in one chunk."""
    chunk = jnp.concatenate([final[:, None], continuation], axis=1)
    sees = jnp.concatenate([jnp.zeros((len(mine), 1), jnp.int32), attends_to + 1], axis=1)
    lengths = jnp.where(mine, 1 + continuation_lengths, 0)
    hidden, cache = model.extend(cache, chunk, lengths, cache.length[:, None] + sees, lengths[:, None] - 1)
    return jnp.where(mine[:, None], hidden[:, 0], last), cache


def _act(
    model: InferenceModel,
    last: jax.Array,
    cache: KVCache,
    layout: Layout,
    tables: ActionTables,
    sampling: Sampling,
    said: tuple[jax.Array, jax.Array, jax.Array],
) -> Result:
    """The action slot. A row whose chunk is complete reads nothing more; the loop ends with the last row's chunk."""
    rows, most = sampling.forced.shape
    keys = jax.vmap(jax.random.key)(sampling.seed)

    def write(
        step: jax.Array, last: jax.Array, state: jax.Array, owed: jax.Array, done: jax.Array, carry: tuple
    ) -> tuple:
        out, total = carry
        rest = owed[:, None] - tables.spent[state]
        following = tables.next_state[state]
        legal = (following >= 0) & (rest >= 0) & tables.alive[following, jnp.maximum(rest, 0)]
        allowed = jnp.where(legal, logits(last, tables.head), -jnp.inf)
        symbol = _draw(allowed, sampling, keys, step)
        forced = sampling.forced[:, step]
        symbol = jnp.where(forced >= 0, forced, symbol)
        at = symbol[:, None]
        total += jnp.where(done, 0.0, jnp.take_along_axis(jax.nn.log_softmax(allowed), at, axis=1)[:, 0])
        out = out.at[:, step].set(jnp.where(done, -1, symbol))
        state = jnp.where(done, state, jnp.take_along_axis(following, at, axis=1)[:, 0])
        owed = jnp.where(done, owed, jnp.take_along_axis(rest, at, axis=1)[:, 0])
        return symbol, state, owed, done | ((owed == 0) & tables.accepting[state]), (out, total)

    def step_once(carry: tuple) -> tuple:
        step, (symbol, state, owed, done, written), cache = carry
        hidden, cache = model.extend(cache, tables.ids[symbol][:, None], (~done).astype(jnp.int32))
        return step + 1, write(step, hidden[:, 0], state, owed, done, written), cache

    nothing = (jnp.full((rows, most), -1, jnp.int32), jnp.zeros(rows))
    start = write(jnp.int32(0), last, jnp.full(rows, tables.start), jnp.full(rows, tables.owed), ~layout.real, nothing)
    steps, (*_, (out, total)), _ = jax.lax.while_loop(
        lambda c: (c[0] < most) & ~c[1][3].all(), step_once, (jnp.int32(1), start, cache)
    )
    symbols, log_probability, accepted = said
    return Result(
        symbols=symbols,
        log_probability=log_probability,
        accepted=accepted,
        actions=out,
        action_log_probability=total,
        steps=steps - 1,
    )


def _draw(allowed: jax.Array, sampling: Sampling, keys: jax.Array, step: jax.Array) -> jax.Array:
    """int32 `[b]`: the most likely symbols, or drawn ones for rows with a temperature (Gumbel-max)."""

    def drawn() -> jax.Array:
        ranked = jnp.sort(allowed, axis=-1, descending=True)
        last = jnp.where(sampling.top_k > 0, jnp.minimum(sampling.top_k, allowed.shape[1]), allowed.shape[1]) - 1
        least = jnp.take_along_axis(ranked, last[:, None], axis=1)
        noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, step), allowed.shape[1:]))(keys)
        warm = sampling.temperature[:, None]
        return jnp.argmax(jnp.where(allowed >= least, allowed, -jnp.inf) + noise * warm, axis=-1)

    greedy = jnp.argmax(allowed, axis=-1)
    return jax.lax.cond((sampling.temperature > 0).any(), drawn, lambda: greedy).astype(jnp.int32)
