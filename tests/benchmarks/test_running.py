"""Rounds are interleaved, and a rival that falls out does not end the comparison."""

import pytest

from comparison.processes import Failed
from comparison.running import Options, interleave, largest_difference


def test_rounds_alternate_between_the_subjects() -> None:
    order: list[tuple[str, int]] = []

    def measure(subject: str, number: int) -> dict[str, float]:
        order.append((subject, number))
        return {"seconds": float(len(order))}

    samples = interleave(["a", "b"], measure, rounds=2, called=str)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert samples == {"a": {"seconds": [1.0, 3.0]}, "b": {"seconds": [2.0, 4.0]}}


def test_a_subject_that_fails_is_left_out_from_then_on(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(subject: str, number: int) -> dict[str, float]:
        if subject == "b" and number == 1:
            raise Failed("no answer within 240 s")
        return {"seconds": 1.0}

    samples = interleave(["a", "b"], measure, rounds=3, called=str)
    assert samples == {"a": {"seconds": [1.0, 1.0, 1.0]}, "b": {"seconds": [1.0]}}
    assert capsys.readouterr().err.count("b failed: no answer within 240 s") == 1


def test_only_models_that_the_scenario_is_about_are_measured() -> None:
    assert Options(models=("bge-m3", "bge-base")).chosen("minilm-l6", "bge-base") == ["bge-base"]
    assert Options().chosen("minilm-l6", "bge-base") == ("minilm-l6", "bge-base")


def test_the_largest_difference_is_over_all_requests() -> None:
    assert largest_difference([[1.0, 2.0], [3.0]], [[1.5, 2.0], [1.0]]) == 2.0
