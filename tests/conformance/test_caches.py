"""What every cache promises."""

import math
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd import plugins
from rerankd.assembly import open_cache
from rerankd.cache.base import PairScore, pair_key
from rerankd.errors import ConfigError
from valkey_server import valkey

URLS = {"memory": "memory://", "off": "off://"}


@pytest.fixture(scope="module", autouse=True)
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        URLS["redis"] = f"{server.url}?timeout_ms=1000"
        yield


def test_every_cache_has_a_url_to_be_tested_with() -> None:
    assert set(plugins.names("cache")) == set(URLS)


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", plugins.names("cache"))
async def test_what_is_put_in_comes_out_or_is_forgotten(scheme: str) -> None:
    cache = open_cache(URLS[scheme], 1 << 20)
    scores = {pair_key("f", "q", str(i)): PairScore(i / 3, i, i % 2 == 0) for i in range(100)}
    await cache.put(scores)
    found = await cache.get(list(scores))
    assert len(found) == 100
    for entry, score in zip(found, scores.values(), strict=True):
        assert entry is None or entry == score
    await cache.close()


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", plugins.names("cache"))
async def test_an_unknown_key_is_none_and_nothing_is_nothing(scheme: str) -> None:
    cache = open_cache(URLS[scheme], 1 << 20)
    assert list(await cache.get([pair_key("f", "q", "d")])) == [None]
    assert list(await cache.get([])) == []
    await cache.put({})
    await cache.close()


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", plugins.names("cache"))
async def test_a_cache_of_no_bytes_remembers_nothing(scheme: str) -> None:
    cache = open_cache(URLS[scheme], 0)
    key = pair_key("f", "q", "d")
    await cache.put({key: PairScore(math.pi, 1, False)})
    assert list(await cache.get([key])) == [None]
    await cache.close()


@given(st.lists(st.text(max_size=5), min_size=3, max_size=3), st.lists(st.text(max_size=5), min_size=3, max_size=3))
def test_different_pairs_have_different_keys(one: list[str], other: list[str]) -> None:
    assert (pair_key(*one) == pair_key(*other)) == (one == other)


def test_a_text_cannot_move_from_the_query_into_the_document() -> None:
    assert pair_key("f", "ab", "c") != pair_key("f", "a", "bc")


def test_an_unknown_scheme_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"memory://, off://"):
        open_cache("memcached://host", 1)
