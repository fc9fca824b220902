"""What a caller may use in a window of time."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.errors import ConfigError, RateLimited, RequestTooLarge
from rerankd.service import counters
from rerankd.service.counters import MemoryCounters, SharedCounters, open_counters
from rerankd.service.quotas import Quotas, read_quota
from rerankd.types import Unit
from valkey_server import valkey

pytestmark = pytest.mark.anyio


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def quotas(*per_key: str, per_address: tuple[str, ...] = (), storage: counters.Counters | None = None) -> Quotas:
    by_key, by_address = [read_quota(text) for text in per_key], [read_quota(text) for text in per_address]
    return Quotas(MemoryCounters() if storage is None else storage, per_key=by_key, per_address=by_address)


async def test_a_key_uses_its_own_share_and_nobody_elses() -> None:
    clock = Clock()
    limited = quotas("2 requests/minute", storage=MemoryCounters(now=clock))
    for _ in range(2):
        await limited.account("").identify("a")
    with pytest.raises(RateLimited, match="2 requests/minute are allowed") as refused:
        await limited.account("").identify("a")
    assert refused.value.retry_after_s == pytest.approx(60, abs=0.01)
    await limited.account("").identify("b")


async def test_an_address_and_a_key_are_counted_apart() -> None:
    limited = quotas("9 requests/minute", per_address=("2 requests/minute",))
    account = limited.account("a")  # an address that is spelt like a key
    await account.take(Unit.REQUESTS, 1)
    await account.identify("a")
    left = sorted(standing.remaining for standing in account.standings.values())
    assert left == [1, 8]


async def test_what_is_refused_is_not_used() -> None:
    limited = quotas("10 pairs/minute")
    account = limited.account("")
    await account.identify("a")
    await account.take(Unit.PAIRS, 7)
    with pytest.raises(RateLimited):
        await account.take(Unit.PAIRS, 5)
    await account.take(Unit.PAIRS, 3)


async def test_more_than_any_window_holds_is_too_large_and_not_for_later() -> None:
    account = quotas("10 pairs/minute").account("")
    await account.identify("a")
    with pytest.raises(RequestTooLarge, match="11 pairs at once, and 10 pairs/minute are allowed"):
        await account.take(Unit.PAIRS, 11)


async def test_tokens_are_charged_beyond_what_was_left_and_then_nothing_is_left() -> None:
    account = quotas("100 tokens/hour").account("")
    await account.identify("a")
    await account.check(Unit.TOKENS)
    await account.charge(Unit.TOKENS, 250)
    with pytest.raises(RateLimited, match="100 tokens/hour"):
        await account.check(Unit.TOKENS)


@pytest.mark.parametrize("used", [1, 2, 7, 10])
@pytest.mark.parametrize("wanted", [1, 3, 10])
@pytest.mark.parametrize("after_s", [0.0, 59.0, 61.0, 110.0])
async def test_what_was_refused_is_let_through_at_the_time_that_was_said_and_not_before(
    used: int, wanted: int, after_s: float
) -> None:
    clock = Clock()
    account = quotas("10 pairs/minute", storage=MemoryCounters(now=clock)).account("")
    await account.identify("a")
    await account.take(Unit.PAIRS, used)
    clock.now += after_s
    try:
        await account.take(Unit.PAIRS, wanted)
    except RateLimited as refused:
        clock.now += refused.retry_after_s - 0.01
        with pytest.raises(RateLimited):
            await account.take(Unit.PAIRS, wanted)
        clock.now += 0.01
        await account.take(Unit.PAIRS, wanted)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 12)), max_size=60))
def test_at_no_border_is_there_twice_the_amount(steps: list[tuple[float, int]]) -> None:
    async def run() -> list[tuple[float, int]]:
        clock = Clock()
        account = quotas("30 pairs/minute", storage=MemoryCounters(now=clock)).account("")
        await account.identify("a")
        taken: list[tuple[float, int]] = []
        for pause, amount in steps:
            clock.now += pause
            with suppress(RateLimited):
                await account.take(Unit.PAIRS, amount)
                taken.append((clock.now, amount))
        return taken

    taken = asyncio.run(run())
    for first, (began, _) in enumerate(taken):
        for last in range(first, len(taken)):
            seconds = taken[last][0] - began
            assert sum(amount for _, amount in taken[first : last + 1]) <= 30 * (1 + seconds / 60) + 1


async def test_the_reset_is_when_all_is_there_again() -> None:
    clock = Clock()
    account = quotas("10 pairs/minute", storage=MemoryCounters(now=clock)).account("")
    await account.identify("a")
    await account.take(Unit.PAIRS, 4)
    (standing,) = account.standings.values()
    assert standing.remaining == 6
    clock.now += standing.reset_s
    await account.take(Unit.PAIRS, 10)


async def test_limits_of_its_own_stand_for_those_of_all_keys_in_the_same_unit() -> None:
    limited = quotas("1 requests/minute", "5 requests/day", "4 pairs/minute")
    accounts = [limited.account("") for _ in range(3)]
    for account in accounts:
        await account.identify("a", ("3 requests/minute",))
    with pytest.raises(RateLimited, match="3 requests/minute"):
        await limited.account("").identify("a", ("3 requests/minute",))
    with pytest.raises(RequestTooLarge, match="4 pairs/minute"):
        await accounts[0].take(Unit.PAIRS, 5)
    await limited.account("").identify("b")
    with pytest.raises(RateLimited, match="1 requests/minute"):
        await limited.account("").identify("b")


async def test_callers_at_the_same_moment_get_no_more_than_there_is() -> None:
    limited = quotas("50 requests/minute")

    async def ask() -> bool:
        try:
            await limited.account("").identify("a")
        except RateLimited:
            return False
        return True

    assert sum(await asyncio.gather(*(ask() for _ in range(120)))) == 50


@given(st.lists(st.integers(1, 12), max_size=60))
def test_no_more_is_ever_taken_than_a_window_holds(amounts: list[int]) -> None:
    async def run() -> int:
        account = quotas("30 pairs/day").account("")
        await account.identify("a")
        taken = 0
        for amount in amounts:
            try:
                await account.take(Unit.PAIRS, amount)
            except RateLimited:
                assert taken + amount > 30
            else:
                taken += amount
        return taken

    assert asyncio.run(run()) <= 30


async def test_counters_are_bounded_and_the_ones_in_use_stay() -> None:
    memory = MemoryCounters(most=100)
    for i in range(1000):
        await memory.add(f"address {i}", 1, window_s=3600)
        await memory.add("busy", 1, window_s=3600)
    assert len(memory) == 100
    assert (await memory.add("busy", 0, window_s=3600)).current == 1000


@pytest.mark.parametrize("text", ["", "600", "600 requests", "0 requests/minute", "1 words/minute", "-1 pairs/day"])
def test_what_is_no_quota_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 600 requests/minute"):
        read_quota(text)


def test_quotas_are_read_as_people_write_them() -> None:
    for text in ("600 requests/minute", " 600 Requests per minute", "600 requests / 1 minutes"):
        quota = read_quota(text)
        assert (quota.unit, quota.item.amount, quota.item.get_expiry()) == (Unit.REQUESTS, 600, 60)
    assert read_quota("5 tokens/10 seconds").item.get_expiry() == 10


@pytest.mark.parametrize("url", ["memcached://x", "redis//x", "http://x"])
def test_another_storage_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"limits\.storage"):
        open_counters(url)


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    pytest.fail("not within 10 s")


async def test_two_servers_share_one_count_in_valkey_and_go_on_alone_without_it(tmp_path: Path) -> None:
    with valkey(tmp_path) as server:
        both = [open_counters(server.url, timeout_s=1) for _ in range(2)]
        limited = [quotas("3 requests/day", storage=each) for each in both]
        for each in (0, 1, 0):
            await limited[each].account("").identify("a")
        for each in limited:
            with pytest.raises(RateLimited):
                await each.account("").identify("a")
        first = both[0]
        assert isinstance(first, SharedCounters)
        server.freeze()
        began = time.perf_counter()
        for _ in range(3):  # counted here, from nothing
            await limited[0].account("").identify("a")
        print(f"three requests while Valkey is frozen: {(time.perf_counter() - began) * 1000:.1f} ms")
        assert first.alone
        with pytest.raises(RateLimited):
            await limited[0].account("").identify("a")
        server.thaw()
        await _until(lambda: not first.alone)
        with pytest.raises(RateLimited):
            await limited[0].account("").identify("a")
        for each in limited:
            await each.close()
