"""Arrays that the parts of the compiled program share: the action grammar, sampling, the place of every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from inspire_fast.models.inference.cache import KVCache
from inspire_fast.policy.batching import Array


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
class AnswerTables:
    """The joined automaton of all questions' answers on the device: `n` states, `k` symbols; see `AnswerGrammar`."""

    ids: jax.Array  # int32 [k] text id of each symbol
    head: jax.Array  # [k, w] see `InferenceModel.head`
    next_state: jax.Array  # int32 [n, k]
    accepting: jax.Array  # bool [n]
    not_below: jax.Array  # int32 [n]

    def allowed(self, state: jax.Array, chosen: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Following states `[b, k]` and which symbols may come, bool `[b, k]`, after the symbols `chosen` `[b, d]`."""
        following, place = self.next_state[state], self.not_below[state]
        least = jnp.where(place < 0, -1, take(chosen, jnp.maximum(place, 0)))
        return following, (following >= 0) & (jnp.arange(following.shape[1]) >= least[:, None])


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


def take(rows: jax.Array, symbol: jax.Array) -> jax.Array:
    """Entry `[b]` at each row's own symbol `[b]` of `[b, k]`."""
    return jnp.take_along_axis(rows, symbol[:, None], axis=1)[:, 0]
