"""Something slow is asked once, not by everybody."""

import asyncio
import logging

import pytest

from rerankd.breaker import Breaker

pytestmark = pytest.mark.anyio


class Other:
    """The other side: answers, hangs, or fails."""

    def __init__(self) -> None:
        self.mood = "answers"
        self.asked = 0

    async def answer(self) -> str:
        self.asked += 1
        if self.mood == "hangs":
            await asyncio.sleep(60)
        if self.mood == "fails":
            raise LookupError
        return "yes"


@pytest.mark.parametrize("mood", ["hangs", "fails"])
async def test_after_one_failure_nobody_waits_until_a_probe_is_answered(
    mood: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other = Other()
    breaker = Breaker("it", other.answer, errors=(LookupError,), timeout_s=0.02)
    assert await breaker.ask(other.answer, "no") == "yes"
    other.mood = mood
    assert await breaker.ask(other.answer, "no") == "no"
    asked = other.asked
    assert [await breaker.ask(other.answer, "no") for _ in range(1000)] == ["no"] * 1000
    assert other.asked <= asked + 1
    other.mood = "answers"
    for _ in range(1000):
        if not breaker.open:
            break
        await asyncio.sleep(0.01)
    assert await breaker.ask(other.answer, "no") == "yes"
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == ["it is not used for now", "it is used"]


async def test_what_nobody_foresaw_is_not_hidden() -> None:
    async def broken() -> str:
        raise ZeroDivisionError

    breaker = Breaker("it", broken, errors=(LookupError,), timeout_s=1)
    with pytest.raises(ZeroDivisionError):
        await breaker.ask(broken, "no")


async def test_a_caller_that_hangs_up_does_not_open_it() -> None:
    other = Other()
    other.mood = "hangs"
    breaker = Breaker("it", other.answer, errors=(), timeout_s=30)
    task = asyncio.create_task(breaker.ask(other.answer, "no"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not breaker.open


async def test_closing_ends_the_probing() -> None:
    other = Other()
    other.mood = "hangs"
    breaker = Breaker("it", other.answer, errors=(), timeout_s=0.01)
    await breaker.ask(other.answer, "no")
    await breaker.close()
    asked = other.asked
    await asyncio.sleep(0.2)
    assert other.asked == asked
