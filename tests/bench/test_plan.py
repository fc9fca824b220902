"""The time given is what cells share."""

from hypothesis import given
from hypothesis import strategies as st

from rerankd.bench.plan import ROUNDS, plan_cell

SPEEDS = st.lists(st.floats(0.5, 5000), min_size=1, max_size=3)


@given(st.integers(1, 200), st.integers(1, 64), SPEEDS, st.floats(0.1, 100), st.booleans())
def test_a_cell_keeps_to_its_time_or_is_left_out(
    documents: int, clients: int, speeds: list[float], budget: float, insist: bool
) -> None:
    plan = plan_cell(documents, clients, speeds, budget, insist=insist)
    one_each = sum(documents / speed for speed in speeds) * clients
    if not plan.rounds:
        assert not insist
        assert one_each > 2.5 * budget * 0.999
        return
    assert 1 <= plan.rounds <= ROUNDS
    assert plan.requests >= clients
    assert plan.seconds <= max(2.5 * budget, one_each) * 1.001


def test_what_fits_gets_three_rounds_that_fill_the_time() -> None:
    plan = plan_cell(20, 4, [40.0], 30, insist=False)
    assert (plan.rounds, plan.requests, plan.seconds) == (3, 20, 30.0)
