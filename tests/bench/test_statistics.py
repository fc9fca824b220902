"""Figures from samples agree with other people's implementations."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from rerankd.bench.statistics import latency, spearman, spread

SECONDS = st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=300)


@given(SECONDS)
def test_percentiles_are_numpys(seconds: list[float]) -> None:
    found = latency(seconds)
    assert found
    assert [found.p50_s, found.p95_s, found.p99_s] == pytest.approx(np.percentile(seconds, [50, 95, 99]).tolist())
    assert (found.mean_s, found.max_s) == (pytest.approx(np.mean(seconds)), max(seconds))
    assert found.p50_s <= found.p95_s <= found.p99_s <= found.max_s


def test_without_samples_there_are_no_figures() -> None:
    assert latency([]) is None
    assert spread([]) is None


def test_a_spread_is_the_middle_and_both_ends() -> None:
    found = spread([3.0, 1.0, 2.0])
    assert found
    assert (found.median, found.least, found.most) == (2.0, 1.0, 3.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_rank_correlation_is_scipys_ties_included(pairs: list[tuple[int, int]]) -> None:
    left, right = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = spearman(left, right)
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(cast("tuple[float, float]", spearmanr(left, right))[0])
