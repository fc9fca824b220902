"""Intervals and tests against scipy's, corrections against the textbook, calibration and thresholds by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rerankd.evaluation import statistics
from rerankd.evaluation.calibration import calibration, thresholds
from rerankd.evaluation.statistics import Floats

ONE_SET = np.zeros(120, np.int64)


def two_systems(seed: int) -> Floats:
    random = np.random.default_rng(seed)
    first = random.choice([0.0, 0.25, 1 / 3, 0.5, 1.0], 120)
    second = np.clip(first + random.choice([0.0, 0.0, 0.2, -0.25], 120), 0, 1)
    return np.stack([first, second], axis=1)


def mean(values: Floats, axis: int = -1) -> Floats:
    return np.mean(values, axis=axis)


def test_intervals_are_those_of_scipys_percentile_bootstrap() -> None:
    values = two_systems(1)
    for column, found in enumerate(statistics.estimates(values, ONE_SET, resamples=20_000)):
        theirs = stats.bootstrap(
            (values[:, column],), mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        assert found.mean == pytest.approx(values[:, column].mean())
        # Two samples of the same distribution of means: their quantiles differ by less than a tenth of the interval.
        width = theirs.high - theirs.low
        assert found.low == pytest.approx(theirs.low, abs=width / 10)
        assert found.high == pytest.approx(theirs.high, abs=width / 10)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_p_values_are_those_of_scipys_permutation_test(shift: float) -> None:
    values = two_systems(2)
    gaps = values[:, 0] - values[:, 1] + shift
    found = statistics.permutation_p(gaps[:, None], ONE_SET, resamples=20_000, seed=0)[0]
    theirs = stats.permutation_test(
        (gaps,), mean, permutation_type="samples", n_resamples=20_000, vectorized=True, rng=np.random.default_rng(2)
    ).pvalue
    assert found == pytest.approx(theirs, abs=0.015)


def test_a_p_value_of_few_queries_is_the_exact_one() -> None:
    gaps = np.array([0.3, 0.2, 0.5, 0.1, -0.05])
    exact = stats.permutation_test((gaps,), mean, permutation_type="samples", n_resamples=1000).pvalue
    found = statistics.permutation_p(gaps[:, None], np.zeros(5, np.int64), resamples=50_000, seed=3)[0]
    assert found == pytest.approx(exact, abs=0.005)


def test_systems_that_never_differ_are_not_told_apart() -> None:
    found = statistics.differences(np.zeros((30, 1)), np.zeros(30, np.int64))[0]
    assert (found.mean, found.low, found.high, found.p, found.p_holm) == (0, 0, 0, 1, 1)
    assert (found.wins, found.draws, found.losses) == (0, 30, 0)
    assert not found.significant


def test_every_set_weighs_the_same_however_large() -> None:
    values = np.array([[1.0]] * 90 + [[0.0]] * 10)
    strata = np.repeat([0, 1], [90, 10])
    found = statistics.estimates(values, strata)[0]
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert statistics.weights(strata).sum() == pytest.approx(1)


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    values = two_systems(3)
    assert statistics.estimates(values, ONE_SET, seed=4) == statistics.estimates(values, ONE_SET, seed=4)
    assert statistics.estimates(values, ONE_SET, seed=4) != statistics.estimates(values, ONE_SET, seed=5)


def test_holm_corrects_as_in_the_textbook() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_helps_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = statistics.holm(p_values)
    assert all(after >= before for after, before in zip(corrected, p_values, strict=True))
    assert corrected.max() <= 1
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(corrected[order]) >= 0)


def test_calibration_error_is_the_gap_of_promise_and_truth() -> None:
    found = calibration(np.array([0.05, 0.05, 0.95, 0.95, 1.0]), np.array([False, True, True, True, True]))
    assert found.error == pytest.approx((2 * abs(0.05 - 0.5) + 3 * abs(2.9 / 3 - 1)) / 5)
    assert [one.pairs for one in found.bins] == [2, 3]
    assert found.bins[0].relevant == 0.5


def test_scores_drawn_from_their_own_probabilities_are_calibrated() -> None:
    random = np.random.default_rng(6)
    scores = random.random(50_000)
    assert calibration(scores, random.random(50_000) < scores).error < 0.01
    assert calibration(scores**3, random.random(50_000) < scores).error > 0.1


def test_thresholds_keep_what_they_promise() -> None:
    scores = np.array([0.9, 0.8, 0.8, 0.4, 0.3, 0.1])
    relevant = np.array([True, True, False, True, False, False])
    queries = np.array([0, 0, 1, 1, 2, 2])
    found = {(each.target, each.wanted): each for each in thresholds(scores, relevant, queries, precisions=(0.7, 0.9))}
    strict, lax = found["precision", 0.9], found["precision", 0.7]
    assert (strict.score, strict.precision, strict.recall) == pytest.approx((0.9, 1.0, 1 / 3))
    assert strict.kept == pytest.approx(1 / 3)
    assert strict.empty == pytest.approx(2 / 3)
    assert (lax.score, lax.precision, lax.recall) == pytest.approx((0.4, 0.75, 1.0))
    assert found["recall", 0.5].score == 0.8, "equal scores pass together"
    assert found["f1", None].score == 0.4


def test_thresholds_need_something_relevant() -> None:
    assert thresholds(np.array([0.5]), np.array([False]), np.array([0])) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40))
def test_a_suggested_threshold_reaches_its_target(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score / 10 for score, _ in pairs])
    relevant = np.array([flag for _, flag in pairs])
    for each in thresholds(scores, relevant, np.arange(len(pairs)) % 3):
        kept = scores >= each.score
        assert each.precision == pytest.approx(relevant[kept].mean())
        assert each.recall == pytest.approx(relevant[kept].sum() / relevant.sum())
        if each.wanted is not None:
            assert getattr(each, each.target) >= each.wanted
