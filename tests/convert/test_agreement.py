"""The guard's figures against numpy's and scipy's."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from rerankd.convert.agreement import Agreement, agreement

Floats = NDArray[np.float32]

GOOD = Agreement(12, 144, 2.0, error=0.02, largest=0.1, spearman=0.995, lowest_spearman=0.98, top1=1.0, top5=0.98)


def _scores(noise: float) -> tuple[list[Floats], list[Floats]]:
    random = np.random.default_rng(3)
    truth = [np.round(random.normal(0, 2, 12), 1).astype(np.float32) for _ in range(5)]
    return truth, [scores + random.normal(0, noise, 12).astype(np.float32) for scores in truth]


def test_the_figures_are_those_of_numpy_and_scipy() -> None:
    truth, scores = _scores(0.5)
    found = agreement(truth, scores)
    before, after = np.concatenate(truth), np.concatenate(scores)
    assert (found.requests, found.pairs) == (5, 60)
    assert found.spread == pytest.approx(np.std(before), rel=1e-5)
    assert found.error == pytest.approx(np.std(after - before) / np.std(before), rel=1e-5)
    assert found.largest == pytest.approx(np.abs(after - before).max() / np.std(before), rel=1e-5)
    expected = [float(np.asarray(spearmanr(a, b))[0]) for a, b in zip(truth, scores, strict=True)]
    assert found.spearman == pytest.approx(np.mean(expected), abs=1e-9)
    assert found.lowest_spearman == pytest.approx(min(expected), abs=1e-9)


def test_first_documents_are_compared_request_by_request() -> None:
    truth = [np.array([3, 2, 1, 0, -1, -2], np.float32)] * 2
    scores = [np.array([2, 3, 1, 0, -1, -2], np.float32), np.array([3, 2, 1, 0, -2, -1], np.float32)]
    found = agreement(truth, scores)
    assert (found.top1, found.top5) == (0.5, 0.9)


def test_equal_scores_agree_whether_or_not_they_differ_among_themselves() -> None:
    same, flat = [np.arange(4, dtype=np.float32)], [np.zeros(4, np.float32)]
    for scores in (same, flat):
        found = agreement(scores, scores)
        assert (found.error, found.spearman, found.top1, found.passes) == (0, 1, 1, True)
    assert not agreement(same, flat).passes


@pytest.mark.parametrize("worse", [{"error": 0.05}, {"spearman": 0.99}, {"top1": 0.8}, {"top5": 0.8}])
def test_each_figure_alone_can_fail(worse: dict[str, float]) -> None:
    assert GOOD.passes
    assert not replace(GOOD, **worse).passes
