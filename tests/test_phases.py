"""Phases: noted where time is spent, whoever records."""

import asyncio

import pytest

from rerankd import phases


def test_nobody_has_to_record() -> None:
    phases.note("score", 1.0, 2.0)
    with phases.recording() as recorded:
        pass
    assert recorded.seconds == {}


def test_a_phase_counts_although_it_fails_and_a_sum_goes_on_where_the_list_is_full() -> None:
    with phases.recording() as recorded:
        with pytest.raises(ValueError, match="no"), phases.phase("read"):
            raise ValueError("no")
        for start in range(1000):
            phases.note("score", start, start + 0.5)
    assert recorded.seconds["read"] >= 0
    assert recorded.seconds["score"] == pytest.approx(500)
    assert len(recorded.kept) == 256


@pytest.mark.anyio
async def test_tasks_of_one_call_share_its_phases_and_two_calls_do_not_mix() -> None:
    async def part(number: int) -> None:
        await asyncio.sleep(0)
        phases.note(f"part-{number}", 0, 1)

    async def call(*numbers: int) -> set[str]:
        with phases.recording() as recorded:
            await asyncio.gather(*(part(number) for number in numbers))
            return set(recorded.seconds)

    assert await asyncio.gather(call(1, 2), call(3)) == [{"part-1", "part-2"}, {"part-3"}]
