"""Turns: fairness and bookkeeping, without threads."""

from hypothesis import given
from hypothesis import strategies as st

from rerankd.scheduler.batching import BACKGROUND, Bound, Share, Turns

costs = st.lists(st.integers(1, 50), min_size=1, max_size=20)


def drain(turns: Turns[str]) -> list[tuple[str, int]]:
    taken: list[tuple[str, int]] = []
    while turn := turns.take():
        taken.append((turn.job, turn.position))
    return taken


@given(st.lists(costs, min_size=1, max_size=8))
def test_every_sequence_is_given_out_exactly_once(jobs: list[list[int]]) -> None:
    turns: Turns[str] = Turns()
    for i, job in enumerate(jobs):
        turns.add(str(i), job)
    expected = [(str(i), position) for i, job in enumerate(jobs) for position in range(len(job))]
    assert sorted(drain(turns)) == sorted(expected)
    assert len(turns) == 0


def test_a_small_job_behind_a_huge_one_takes_turns_with_it() -> None:
    turns: Turns[str] = Turns()
    turns.add("huge", [100] * 1000)
    for _ in range(10):
        turns.take()
    turns.add("small", [100] * 5)
    order = [job for job, _ in drain(turns)]
    assert max(i for i, job in enumerate(order) if job == "small") <= 11


@given(st.integers(1, 6), st.integers(2, 30))
def test_equal_jobs_never_drift_apart_by_more_than_one_turn(jobs: int, length: int) -> None:
    turns: Turns[str] = Turns()
    for i in range(jobs):
        turns.add(str(i), [7] * length)
    done = dict.fromkeys(map(str, range(jobs)), 0)
    while turn := turns.take():
        done[turn.job] += 1
        assert max(done.values()) - min(done.values()) <= 1


@given(costs, st.integers(0, 19))
def test_cancelling_returns_the_cost_of_what_was_not_given_out(job: list[int], taken: int) -> None:
    turns: Turns[str] = Turns()
    ticket = turns.add("a", job)
    spent = sum(turn.cost for turn in [turns.take() for _ in range(min(taken, len(job)))] if turn)
    assert turns.cancel(ticket) == sum(job) - spent
    assert turns.cancel(ticket) == 0
    assert turns.take() is None


def test_a_late_comer_does_not_make_up_for_the_time_it_was_away() -> None:
    turns: Turns[str] = Turns()
    turns.add("early", [10] * 100)
    for _ in range(50):
        turns.take()
    turns.add("late", [10] * 100)
    first = [turn.job for turn in [turns.take() for _ in range(20)] if turn]
    assert 8 <= first.count("late") <= 12


def test_the_longest_sequences_of_a_job_run_first() -> None:
    turns: Turns[str] = Turns()
    turns.add("a", [3, 9, 1, 9])
    assert [position for _, position in drain(turns)] == [1, 3, 0, 2]


def test_a_small_job_beside_four_huge_ones_takes_about_twice_as_long_as_alone_and_they_go_on() -> None:
    turns: Turns[str] = Turns()
    for i in range(4):
        turns.add(f"huge {i}", [200] * 1000)
    for _ in range(400):  # their own cheap beginnings are over
        turns.take()
    turns.add("small", [200] * 5)
    order = [turn.job for turn in [turns.take() for _ in range(40)] if turn]
    place = max(i for i, job in enumerate(order) if job == "small")
    assert 8 <= place + 1 <= 12  # five of its own, and about as many of theirs


def test_a_huge_job_keeps_its_share_beside_an_endless_stream_of_small_ones() -> None:
    turns: Turns[str] = Turns()
    turns.add("huge", [100] * 10_000)
    for _ in range(100):
        turns.take()
    huge = 0
    for i in range(1000):
        turns.add(f"small {i}", [100])
        for turn in (turns.take(), turns.take()):
            huge += turn is not None and turn.job == "huge"
    assert huge >= 900  # one of the two turns that each round has


def test_many_small_jobs_of_one_share_get_no_more_than_one_big_job() -> None:
    turns: Turns[str] = Turns()
    turns.add("other", [500] * 200)
    share = Share()
    first = {"many": 0, "other": 0}
    turns.add("many", [500] * 4, share)
    for _ in range(200):
        turn = turns.take()
        assert turn
        first[turn.job] += 1
        if turn.job == "many" and first["many"] % 4 == 0:
            turns.add("many", [500] * 4, share)
    assert abs(first["many"] - first["other"]) <= 4


@given(st.integers(1, 50))
def test_the_background_lane_gets_little_beside_others_and_all_without(cost: int) -> None:
    turns: Turns[str] = Turns()
    turns.add("background", [cost] * 1000, Share(BACKGROUND))
    turns.add("interactive", [cost] * 64)
    beside = [turn.job for turn in [turns.take() for _ in range(60)] if turn]
    assert 0 < beside.count("background") <= 6
    drain(turns)
    assert len(turns) == 0


def test_what_is_ahead_of_a_small_job_is_as_much_of_each_other_as_of_it() -> None:
    turns: Turns[str] = Turns()
    turns.add("huge", [100] * 1000)
    turns.add("tiny", [3])
    assert sorted(turns.ahead(200)) == [("huge", 200), ("tiny", 3)]
    assert sorted(turns.ahead(10**9)) == [("huge", 100_000), ("tiny", 3)]


def test_a_group_at_its_bound_is_passed_over_and_goes_on_as_soon_as_it_may() -> None:
    turns: Turns[str] = Turns(4)
    turns.add("bounded", [10] * 100, group="a", bound=Bound(1))
    turns.add("free", [10] * 300, group="b")
    running: list[str] = []
    for _ in range(300):
        while len(running) < 4 and (turn := turns.take()):
            running.append(turn.job)
            turns.began("a" if turn.job == "bounded" else "b")
        assert running.count("bounded") == 1, "its one place is never empty while it waits, and there is no second"
        turns.ended("a" if running.pop(0) == "bounded" else "b")
    order = [job for job, _ in drain(turns)]
    assert order


def test_a_group_that_was_passed_over_has_no_debt_to_pay_before_a_newcomer_of_it_gets_its_turns() -> None:
    turns: Turns[str] = Turns(2)
    turns.add("old", [10] * 1000, group="a", bound=Bound(1))
    turns.add("other", [10] * 1000, group="b")
    for _ in range(100):  # one of a's for four of b's: it falls behind
        turn = turns.take()
        assert turn
        if turn.job == "old":
            turns.began("a")
            for _ in range(4):
                turns.take()
            turns.ended("a")
    turns.add("new", [10] * 1000, group="a", bound=Bound(1))
    first = [turn.job for turn in [turns.take() for _ in range(60)] if turn]
    assert abs(first.count("new") - first.count("old")) <= 5, "hundreds, were it to catch up"
    assert first.count("new") >= 15


def test_a_run_on_several_cores_waits_until_they_are_free_and_nobody_overtakes_it_for_ever() -> None:
    turns: Turns[str] = Turns(4)
    turns.add("narrow", [10] * 20, group="narrow")
    for _ in range(2):
        turns.take()
        turns.began("narrow")
    turns.add("wide", [10] * 20, group="wide", bound=Bound(1, cores=3))
    assert turns.take() is None, "it is the wide one's turn, and two cores are free: everybody waits"
    turns.ended("narrow")
    turn = turns.take()
    assert (turn.job if turn else "") == "wide"
    turns.began("wide")
    assert turns.take() is None, "no core is given out twice"
