"""The measures and the calibration that the card's figures come from."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

TRAINING = Path(__file__).parents[2] / "training"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(TRAINING))
    modules: list[ModuleType] = [importlib.import_module(name) for name in ("measures", "rerankd.training.calibration")]
    return {name: value for module in modules for name, value in vars(module).items()}


def test_reciprocal_rank_breaks_ties_by_the_order_of_the_list(recipe: dict[str, Any]) -> None:
    reciprocal_rank = recipe["reciprocal_rank"]
    assert reciprocal_rank([1.0, 3.0, 2.0], [False, False, True]) == 0.5
    assert reciprocal_rank([1.0, 1.0, 1.0], [False, False, True]) == 1 / 3
    assert reciprocal_rank([1.0], [False]) == 0.0
    assert reciprocal_rank([-float(place) for place in range(11)], [False] * 10 + [True]) == 0.0


def test_weights_give_the_relevant_pairs_their_prior(recipe: dict[str, Any]) -> None:
    relevant = np.array([True, False, False, True, False])
    weights = recipe["weights_for_prior"](relevant, 0.1)
    assert weights[relevant].sum() == pytest.approx(0.1)
    assert weights.sum() == pytest.approx(1.0)


def test_the_fit_finds_the_slope_and_bias_that_made_the_data(recipe: dict[str, Any]) -> None:
    generator = np.random.default_rng(1)
    scores = generator.normal(-4, 2, 200_000)
    relevant = generator.random(len(scores)) < 1 / (1 + np.exp(-(0.7 * scores + 1.2)))
    found = recipe["fit"](scores, relevant, np.full(len(scores), 1 / len(scores)))
    assert found.slope == pytest.approx(0.7, abs=0.02)
    assert found.bias == pytest.approx(1.2, abs=0.06)
    np.testing.assert_allclose(found.scores(found.logits(scores[:9])), scores[:9])


def test_calibration_error_is_the_gap_between_promise_and_truth(recipe: dict[str, Any]) -> None:
    probabilities = np.array([0.95, 0.95, 0.25, 0.25])
    relevant = np.array([True, False, False, False])
    found = recipe["calibration_error"](probabilities, relevant, np.ones(4))
    assert found == pytest.approx(0.5 * 0.45 + 0.5 * 0.25)


def test_paired_differences_carry_their_standard_error(recipe: dict[str, Any]) -> None:
    found = recipe["paired"]([1.0, 0.5, 1.0, 0.5], [0.5, 0.5, 0.5, 0.5])
    assert found == pytest.approx((0.25, np.sqrt(0.25**2 * 4 / 3) / 2))
