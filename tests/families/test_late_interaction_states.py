import tracemalloc

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
    assert (states.codes.nbytes + states.inverse_norms.nbytes) / states.tokens < 400


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


PAGE = 16 * (16 + 4) + 512
"""What sixteen states of width 16 take in the cache."""


def same(one: States, other: States) -> bool:
    return (
        np.array_equal(one.codes, other.codes)
        and np.array_equal(one.inverse_norms, other.inverse_norms)
        and (one.tokens, one.cut) == (other.tokens, other.cut)
    )


@given(
    puts=st.lists(st.integers(0, 60), max_size=60),
    bound=st.sampled_from([0, PAGE - 1, PAGE, 3 * PAGE, 10 * PAGE, 1 << 20]),
)
def test_what_is_put_in_comes_out_or_is_forgotten_and_the_bound_holds(puts: list[int], bound: int) -> None:
    cache = StateCache(bound)
    for key in puts:
        states = some_states(3 + key, key, width=16)
        cache.put(bytes([key]), states)
        assert cache.nbytes <= bound
        fits = -(-states.codes.shape[0] // 16) * PAGE <= bound
        assert (bytes([key]) in cache.get([bytes([key])])) == fits
        for held, found in cache.get([bytes([key]) for key in puts]).items():
            assert same(found, some_states(3 + held[0], held[0], width=16))


def test_memory_is_taken_at_the_first_put_and_never_grows() -> None:
    cache = StateCache(1 << 20)
    assert cache.nbytes == 0
    cache.put(b"a", some_states(10, 1))
    at_first = cache.nbytes
    assert (1 << 20) * 0.98 < at_first <= 1 << 20
    for key in range(300):
        cache.put(key.to_bytes(2, "little"), some_states(4 + key % 90, key))
    assert cache.nbytes == at_first


def test_the_states_used_longest_ago_are_forgotten_first() -> None:
    states = some_states(10, 7, width=16)
    cache = StateCache(3 * PAGE)
    for key in (b"a", b"b", b"c"):
        cache.put(key, states)
    cache.get([b"a"])
    cache.put(b"d", states)
    assert set(cache.get([b"a", b"b", b"c", b"d"])) == {b"a", b"c", b"d"}


def test_states_that_were_handed_out_stay_as_they_were() -> None:
    cache = StateCache(PAGE)
    cache.put(b"a", some_states(10, 1, width=16))
    held = cache.get([b"a"])[b"a"]
    cache.put(b"b", some_states(10, 2, width=16))
    assert same(held, some_states(10, 1, width=16))


@pytest.mark.parametrize("tokens", [4, 200])
def test_an_entry_takes_no_more_than_is_set_aside_for_it(tokens: int) -> None:
    def taken() -> int:
        return tracemalloc.get_traced_memory()[0]

    texts = [(key.to_bytes(16, "little"), some_states(tokens, 1, width=16)) for key in range(500)]
    cache = StateCache(500 * PAGE * -(-tokens // 16))
    tracemalloc.start()
    cache.put(*texts[0])
    before = taken()
    for key, states in texts[1:]:
        cache.put(key, states)
    grown = taken() - before
    tracemalloc.stop()
    assert len(cache.get([key for key, _ in texts])) == 500
    assert grown <= 500 * 512
