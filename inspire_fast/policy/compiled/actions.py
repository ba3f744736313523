"""Actions of the compiled program: ids written under the grammar until every row's chunk is complete."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from inspire_fast.models.inference.cache import KVCache
from inspire_fast.models.inference.model import InferenceModel, logits
from inspire_fast.policy.compiled.arrays import ActionTables, Position, Sampling, take


class Chunk(NamedTuple):
    """The action chunk of every row, as far as it is written."""

    symbol: jax.Array  # int32 [b] the last action id, which the network has not read yet
    state: jax.Array  # int32 [b] of the grammar
    owed: jax.Array  # int32 [b] what is still to be written
    done: jax.Array  # bool [b]
    written: jax.Array  # int32 [b, a], -1 elsewhere
    log_probability: jax.Array  # float32 [b]


def act(
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
        state = jnp.where(chunk.done, chunk.state, take(following, symbol))
        owed = jnp.where(chunk.done, chunk.owed, take(rest, symbol))
        gained = take(jax.nn.log_softmax(allowed), symbol)
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
