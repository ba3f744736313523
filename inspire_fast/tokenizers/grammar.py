"""Token grammars: automata that allow, token by token, exactly the sequences that can be decoded.

A grammar is a small automaton with one counter, stored as plain arrays, so that a Python loop and a compiled one can
use the same description. FAST's byte automaton, fixed-length codes (uniform bins, VQ) and tries of answer words have
this form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """A deterministic automaton over `k` symbols with `n` states and a counter of the debt.

    Symbol `j` in state `s` leads to `next_state[s, j]` and pays `spent[s, j]` of the debt; `-1` in `next_state` forbids
    it. A sequence is complete when the debt is 0 and the state accepts.

    Attributes:
        next_state: int32 `[n, k]`.
        spent: int32 `[n, k]`, >= 0.
        accepting: bool `[n]`.
        owed: debt at the start.
        start: state at the start.
    """

    next_state: np.ndarray
    spent: np.ndarray
    accepting: np.ndarray
    owed: int
    start: int = 0

    def __post_init__(self) -> None:
        states, symbols = self.next_state.shape
        if self.spent.shape != (states, symbols) or self.accepting.shape != (states,):
            raise ValueError(
                f"Grammar tables disagree: next_state {self.next_state.shape}, spent {self.spent.shape}, "
                f"accepting {self.accepting.shape}."
            )
        if not self.alive[self.start, self.owed]:
            raise ValueError(f"The grammar allows no complete sequence at all ({symbols} symbols, {self.owed} owed).")

    @cached_property
    def alive(self) -> np.ndarray:
        """bool `[n, owed + 1]`: from this state with this much owed, some continuation is complete."""
        legal = self.next_state >= 0
        alive = np.zeros((len(self.accepting), self.owed + 1), bool)
        alive[:, 0] = self.accepting
        for owed in range(self.owed + 1):
            # Symbols that pay nothing connect states of equal debt, so each debt needs a fixed-point iteration.
            while True:
                rest = owed - self.spent
                payable = legal & (rest >= 0)
                now = alive[:, owed] | (payable & alive[self.next_state, np.maximum(rest, 0)]).any(axis=1)
                if (now == alive[:, owed]).all():
                    break
                alive[:, owed] = now
        return alive

    def allowed(self, state: int, owed: int) -> np.ndarray:
        """bool `[k]`: symbols after which the sequence can still be completed."""
        rest = owed - self.spent[state]
        legal = (self.next_state[state] >= 0) & (rest >= 0)
        return legal & self.alive[self.next_state[state], np.maximum(rest, 0)]

    def advance(self, state: int, owed: int, symbol: int) -> tuple[int, int]:
        """(state, owed) after reading one symbol.

        Raises:
            ValueError: the symbol is not allowed there.
        """
        if not self.allowed(state, owed)[symbol]:
            raise ValueError(f"Symbol {symbol} is not allowed in state {state} with {owed} owed.")
        return int(self.next_state[state, symbol]), int(owed - self.spent[state, symbol])

    def done(self, state: int, owed: int) -> bool:
        """True if the sequence is complete: no debt, and an accepting state."""
        return owed == 0 and bool(self.accepting[state])

    def accepts(self, symbols: Sequence[int]) -> bool:
        """True if the sequence obeys the grammar and is complete."""
        state, owed = self.start, self.owed
        for symbol in symbols:
            if not 0 <= symbol < self.next_state.shape[1] or not self.allowed(state, owed)[symbol]:
                return False
            state, owed = self.advance(state, owed, symbol)
        return self.done(state, owed)

    def longest(self) -> int:
        """Length of the longest complete sequence.

        Raises:
            ValueError: a cycle of the grammar pays nothing, so there is no longest sequence.
        """
        states = len(self.accepting)
        steps = np.full((states, self.owed + 1), -1)
        steps[self.accepting, 0] = 0
        for owed in range(self.owed + 1):
            for _ in range(states + 1):
                rest = owed - self.spent
                ahead = np.where((self.next_state >= 0) & (rest >= 0), steps[self.next_state, np.maximum(rest, 0)], -1)
                best = np.maximum(steps[:, owed], np.where(ahead >= 0, ahead + 1, -1).max(axis=1))
                if (best == steps[:, owed]).all():
                    break
                steps[:, owed] = best
            else:
                raise ValueError("The grammar has a cycle that pays nothing; its sequences have no longest length.")
        return int(steps[self.start, self.owed])


def fixed_length(symbols_per_position: Sequence[int], repeats: int) -> Grammar:
    """Grammar of fixed-length codes, in groups of positions that each have their own consecutive ids.

    Uniform bins have one position per group; residual VQ has one per code book, each with its own range of ids.
    """
    group = len(symbols_per_position)
    total = sum(symbols_per_position)
    next_state = np.full((group, total), -1, np.int32)
    offset = 0
    for position, count in enumerate(symbols_per_position):
        next_state[position, offset : offset + count] = (position + 1) % group
        offset += count
    return Grammar(
        next_state=next_state,
        spent=np.ones_like(next_state),
        accepting=np.arange(group) == 0,
        owed=group * repeats,
    )


def trie(sequences: Sequence[Sequence[int]]) -> tuple[np.ndarray, Grammar]:
    """Grammar of a finite set of id sequences.

    Returns:
        ids: int32 `[k]`, the distinct ids that occur, ascending; the grammar's symbols index into it.
        grammar: accepts exactly the given sequences.

    Raises:
        ValueError: no sequence, an empty one, a repeated one, or a prefix of another one (its end would be ambiguous).
    """
    if not sequences or any(len(s) == 0 for s in sequences):
        raise ValueError(f"A trie needs at least one non-empty id sequence; got {list(map(list, sequences))}.")
    ids = np.unique(np.concatenate([np.asarray(s, np.int32) for s in sequences]))
    column = {int(i): n for n, i in enumerate(ids)}
    edges: dict[tuple[int, int], int] = {}
    leaves: set[int] = set()
    states = 1
    for sequence in sequences:
        state = 0
        for token in sequence:
            if state in leaves:
                raise ValueError(f"Sequence {list(sequence)} continues or repeats another allowed sequence.")
            key = (state, column[int(token)])
            if key not in edges:
                edges[key] = states
                states += 1
            state = edges[key]
        if state in leaves or any(s == state for s, _ in edges):
            raise ValueError(f"Sequence {list(sequence)} begins or repeats another allowed sequence.")
        leaves.add(state)
    next_state = np.full((states, len(ids)), -1, np.int32)
    for (state, symbol), target in edges.items():
        next_state[state, symbol] = target
    accepting = np.isin(np.arange(states), list(leaves))
    return ids, Grammar(next_state=next_state, spent=np.zeros_like(next_state), accepting=accepting, owed=0)
