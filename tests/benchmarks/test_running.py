"""Rounds are interleaved, and a rival that falls out does not end the comparison."""

import pytest

from comparison import disturbance
from comparison.disturbance import OTHERS, undisturbed
from comparison.processes import Failed
from comparison.running import Options, interleave, largest_difference


@pytest.fixture(autouse=True)
def idle_machine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A fake: a machine whose other programs use so many cores in one watch after the other, then none."""
    cores: list[float] = []

    def others(_watch: disturbance.Watch) -> float:
        return cores.pop(0) if cores else 0.0

    monkeypatch.setattr(disturbance.Watch, "others", others)
    monkeypatch.setattr(disturbance, "_wait_until_idle", lambda: None)
    return cores


def test_rounds_alternate_between_the_subjects() -> None:
    order: list[tuple[str, int]] = []

    def measure(subject: str, number: int) -> dict[str, float]:
        order.append((subject, number))
        return {"seconds": float(len(order))}

    samples = interleave(["a", "b"], measure, rounds=2, called=str)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert {name: by_unit["seconds"] for name, by_unit in samples.items()} == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_a_subject_that_fails_is_left_out_from_then_on(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(subject: str, number: int) -> dict[str, float]:
        if subject == "b" and number == 1:
            raise Failed("no answer within 240 s")
        return {"seconds": 1.0}

    samples = interleave(["a", "b"], measure, rounds=3, called=str)
    assert {name: by_unit["seconds"] for name, by_unit in samples.items()} == {"a": [1.0, 1.0, 1.0], "b": [1.0]}
    assert capsys.readouterr().err.count("b failed: no answer within 240 s") == 1


def test_only_models_that_the_scenario_is_about_are_measured() -> None:
    assert Options(models=("bge-m3", "bge-base")).chosen("minilm-l6", "bge-base") == ["bge-base"]
    assert Options().chosen("minilm-l6", "bge-base") == ("minilm-l6", "bge-base")


def test_the_largest_difference_is_over_all_requests() -> None:
    assert largest_difference([[1.0, 2.0], [3.0]], [[1.5, 2.0], [1.0]]) == 2.0


def test_a_round_that_others_disturbed_is_measured_again(idle_machine: list[float]) -> None:
    idle_machine += [1.5, 0.1]
    figures = iter([{"seconds": 9.0}, {"seconds": 1.0}])
    assert undisturbed(lambda: next(figures)) == {"seconds": 1.0, OTHERS: 0.1}


def test_on_a_machine_that_is_never_idle_the_least_disturbed_of_three_counts(idle_machine: list[float]) -> None:
    idle_machine += [1.5, 0.5, 0.9]
    figures = iter([{"seconds": 9.0}, {"seconds": 2.0}, {"seconds": 5.0}])
    assert undisturbed(lambda: next(figures)) == {"seconds": 2.0, OTHERS: 0.5}
