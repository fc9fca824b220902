"""The memory cache: a table whose size never changes."""

import tracemalloc

import pytest

from rerankd.cache.base import PairScore, pair_key
from rerankd.cache.memory import CACHE

pytestmark = pytest.mark.anyio

ONE_SET = 8 * 32


def score(number: float) -> PairScore:
    return PairScore(number, 1, False)


async def test_the_least_recently_used_goes_first() -> None:
    cache = CACHE.open("memory://", max_bytes=ONE_SET)
    keys = [pair_key("f", "q", str(i)) for i in range(9)]
    for i in range(8):
        await cache.put({keys[i]: score(i)})
    await cache.get([keys[0]])
    await cache.put({keys[8]: score(8)})
    assert [entry and entry.raw for entry in await cache.get(keys)] == [0, None, 2, 3, 4, 5, 6, 7, 8]


async def test_a_key_that_is_put_again_takes_no_second_place() -> None:
    cache = CACHE.open("memory://", max_bytes=ONE_SET)
    keys = [pair_key("f", "q", str(i)) for i in range(8)]
    for number in range(3):
        await cache.put({key: score(number) for key in keys})
    assert [entry and entry.raw for entry in await cache.get(keys)] == [2.0] * 8


async def test_what_is_put_together_is_found_together() -> None:
    cache = CACHE.open("memory://", max_bytes=1 << 20)
    scores = {pair_key("f", "q", str(i)): PairScore(-i / 3, i, i % 3 == 0) for i in range(5000)}
    await cache.put(scores)
    found = await cache.get(list(scores))
    assert list(found) == list(scores.values())


async def test_memory_is_taken_at_the_start_and_never_grows() -> None:
    bound = 2_000_000
    tracemalloc.start()
    cache = CACHE.open("memory://", max_bytes=bound)
    at_start = tracemalloc.get_traced_memory()[0]
    assert bound * 0.9 < at_start < bound * 1.01
    for block in range(200):
        await cache.put({pair_key("f", str(block), str(i)): score(i) for i in range(1000)})
    assert tracemalloc.get_traced_memory()[0] < at_start + 10_000
    tracemalloc.stop()
