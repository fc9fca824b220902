import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.families._states import StateCache, States, quantise, similarities


def some_states(tokens: int, seed: int, width: int = 384) -> States:
    rows = np.random.default_rng(seed).normal(0, 1, (tokens, width)).astype(np.float32)
    return quantise(rows, np.arange(tokens) >= 3, cut=False)


def test_a_token_takes_four_tenths_of_a_kilobyte() -> None:
    states = some_states(503, 1)
    assert states.tokens == 503
    assert states.codes.shape == (501, 384)
    assert states.nbytes / states.tokens < 400


def test_the_direction_of_a_state_survives_eight_bits() -> None:
    rows = np.random.default_rng(2).normal(0, 1, (50, 384)).astype(np.float32)
    states = quantise(rows, np.ones(50, np.bool_), cut=False)
    units = states.codes[1:] * states.inverse_norms[1:, None]
    cosines = (units * rows).sum(axis=1) / np.linalg.norm(rows, axis=1)
    assert cosines.min() > 0.9998


def test_a_state_of_zeros_is_like_nothing_and_divides_nothing_by_zero() -> None:
    nothing = quantise(np.zeros((5, 8), np.float32), np.array([False, False, True, True, False]), cut=False)
    found = similarities(nothing, [nothing, some_states(6, 3, width=8)])
    assert found.cosine.tolist() == [0, 0]
    assert found.maxsim.tolist() == [0, 0]


def test_a_text_meets_itself_with_a_similarity_of_one() -> None:
    states = some_states(40, 4)
    found = similarities(states, [states])
    np.testing.assert_allclose([found.cosine[0], found.maxsim[0]], 1, atol=1e-6)


def test_no_documents_have_no_similarities() -> None:
    found = similarities(some_states(4, 5), [])
    assert found.cosine.shape == found.maxsim.shape == (0,)


def test_grouping_does_not_change_a_bit() -> None:
    query = some_states(20, 6)
    documents = [some_states(3 + 97 * (seed % 7), seed) for seed in range(40)]  # some 11,000 rows: several groups
    together = similarities(query, documents)
    alone = [similarities(query, [document]) for document in documents]
    assert together.cosine.tolist() == [one.cosine[0] for one in alone]
    assert together.maxsim.tolist() == [one.maxsim[0] for one in alone]


@given(puts=st.lists(st.integers(0, 9), max_size=60), bound=st.sampled_from([0, 700, 800, 2500, 5000, 1 << 20]))
def test_the_bound_holds_whatever_is_put_in(puts: list[int], bound: int) -> None:
    cache = StateCache(bound)
    for key in puts:
        states = some_states(3 + key, key, width=16)
        cache.put(bytes([key]), states)
        assert cache.nbytes <= bound
        assert cache.get([bytes([key])]).get(bytes([key])) is (states if states.nbytes <= bound else None)
    held = cache.get([bytes([key]) for key in range(10)])
    assert sum(states.nbytes for states in held.values()) == cache.nbytes


def test_the_states_used_longest_ago_are_forgotten_first() -> None:
    states = some_states(10, 7)
    cache = StateCache(3 * states.nbytes)
    for key in (b"a", b"b", b"c"):
        cache.put(key, states)
    cache.get([b"a"])
    cache.put(b"d", states)
    assert set(cache.get([b"a", b"b", b"c", b"d"])) == {b"a", b"c", b"d"}


@pytest.mark.parametrize("tokens", [4, 200])
def test_the_count_of_bytes_is_not_less_than_the_memory_taken(tokens: int) -> None:
    states = some_states(tokens, 8)
    taken = sum(map(sys.getsizeof, (states, states.codes, states.inverse_norms, b"0" * 16)))
    # A dictionary that grows holds its old and its new table for a moment: some 200 bytes a key at worst.
    assert taken + 200 <= states.nbytes
