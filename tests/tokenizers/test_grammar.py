from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.tokenizers.grammar import Grammar, fixed_length, trie


def walk(grammar: Grammar, rng: np.random.Generator) -> list[int]:
    """A random complete sequence."""
    state, owed, symbols = grammar.start, grammar.owed, []
    while not grammar.done(state, owed):
        symbol = int(rng.choice(np.flatnonzero(grammar.allowed(state, owed))))
        state, owed = grammar.advance(state, owed, symbol)
        symbols.append(symbol)
    return symbols


def test_fixed_length_gives_each_position_its_own_ids() -> None:
    grammar = fixed_length([2, 3], repeats=2)
    assert grammar.allowed(0, 4).tolist() == [True, True, False, False, False]
    assert grammar.allowed(1, 3).tolist() == [False, False, True, True, True]
    assert grammar.accepts([0, 2, 1, 4])
    assert not grammar.accepts([0, 2, 1])
    assert not grammar.accepts([0, 2, 1, 4, 0])
    assert not grammar.accepts([2, 0, 1, 4])
    assert grammar.longest() == 4


def test_trie_of_several_lengths() -> None:
    ids, grammar = trie([[7], [5, 9], [5, 3, 3]])
    assert ids.tolist() == [3, 5, 7, 9]
    for sequence in ([7], [5, 9], [5, 3, 3]):
        assert grammar.accepts(np.searchsorted(ids, sequence).tolist())
    assert not grammar.accepts(np.searchsorted(ids, [5, 3]).tolist())
    assert grammar.longest() == 3


@pytest.mark.parametrize("sequences", [[], [[]], [[1], [1, 2]], [[1, 2], [1]], [[1], [1]]])
def test_trie_refuses_what_has_no_clear_end(sequences: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="sequence"):
        trie(sequences)


def test_a_grammar_without_any_sequence_is_refused() -> None:
    never = np.full((1, 2), -1, np.int32)
    with pytest.raises(ValueError, match="no complete sequence"):
        Grammar(next_state=never, spent=np.ones_like(never), accepting=np.array([True]), owed=1)


@given(seed=st.integers(0, 1000))
def test_every_allowed_walk_completes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    states, symbols = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    next_state = rng.integers(-1, states, (states, symbols)).astype(np.int32)
    spent = rng.integers(1, 4, (states, symbols)).astype(np.int32)
    try:
        grammar = Grammar(
            next_state=next_state, spent=spent, accepting=rng.random(states) < 0.5, owed=int(rng.integers(1, 12))
        )
    except ValueError:
        return  # no sequence at all exists in this draw
    found = walk(grammar, rng)
    assert grammar.accepts(found)
    assert len(found) <= grammar.longest()
