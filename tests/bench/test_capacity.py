"""The capacity answer is arithmetic on what was measured, and its queue is the textbook's where there is one."""

import numpy as np
import pytest

from rerankd.bench.capacity import Demand, answer, first_come_quantile, read_demand, simulate
from rerankd.errors import InvalidRequest


def test_a_question_is_read() -> None:
    assert read_demand("20x150@5") == Demand(20, 150, 5.0)
    assert read_demand(" 1 x 1 @ 0.25 ") == Demand(1, 1, 0.25)


@pytest.mark.parametrize("text", ["", "20x150", "20@5", "0x150@5", "20x0@5", "20x150@0", "20x150@-1", "axb@c"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest, match="20x150@5"):
        read_demand(text)


def test_the_figures_are_what_a_hand_works_out() -> None:
    # 2 workers do 40 pairs of 170 tokens a second: a request of 20 takes one core 1 s, and 1.2 of them come a second.
    found = answer(Demand(20, 150, 1.2), pairs_per_s=40, tokens_per_s=40 * 170, workers=2)
    assert found.core_s_per_request == pytest.approx(1.0)
    assert found.cores_busy == pytest.approx(1.2)
    assert found.utilisation == pytest.approx(0.6)
    assert found.cores_needed == 2
    assert found.carried
    assert found.tokens_per_request == pytest.approx(20 * 170)
    assert found.tokens_per_s_per_core == pytest.approx(20 * 170)
    assert found.highest_requests_per_s == pytest.approx(1.4)
    assert found.expected_p50_s
    assert found.expected_p95_s
    assert 0.5 <= found.expected_p50_s < found.expected_p95_s


def test_a_queue_that_grows_without_end_has_no_expected_time() -> None:
    found = answer(Demand(20, 150, 2.0), pairs_per_s=40, tokens_per_s=6800, workers=2)
    assert found.utilisation == pytest.approx(1.0)
    assert not found.carried
    assert found.expected_p50_s is found.expected_p95_s is found.expected_p95_first_come_s is None


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
def test_one_document_and_one_worker_are_an_m_d_1_queue(utilisation: float) -> None:
    service = 0.1
    demand = Demand(1, 100, utilisation / service)
    times = np.concatenate([simulate(demand, core_s_per_request=service, workers=1, seed=seed) for seed in range(4)])
    pollaczek_khinchine = utilisation * service / (2 * (1 - utilisation))
    assert times.mean() - service == pytest.approx(pollaczek_khinchine, rel=0.1)
    expected = first_come_quantile(service, utilisation, 0.95)
    assert np.quantile(times, 0.95) == pytest.approx(expected, rel=0.12)


def test_a_lonely_request_uses_all_workers() -> None:
    times = simulate(Demand(8, 100, 1e-6), core_s_per_request=4.0, workers=4)
    assert max(times) == pytest.approx(1.0, abs=1e-4)  # to the rounding of arrival times around 4e8 s
    assert first_come_quantile(1.0, 1e-9, 0.95) == 1.0
