"""Models by name, and which of them stay in memory."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letters import CountingEngine, FakeLoader, entry
from rerankd.engines.base import Encoding
from rerankd.errors import EngineFailure, ModelLoadError, ModelNotFound, ModelNotReady, UnsupportedModel
from rerankd.metrics import Metrics
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Report
from rerankd.models.pool import ModelPool
from rerankd.models.residence import Counted, Policy, Resident, surplus
from rerankd.registry.resolve import Entry
from rerankd.types import ModelState

pytestmark = pytest.mark.anyio


async def test_a_model_is_found_as_clients_write_it() -> None:
    engine = CountingEngine()
    entries = [entry("letters", "Some/Letters-Rerank-v2"), entry("other")]
    pool = ModelPool(entries, FakeLoader(engine).load, Metrics())
    for name in ("", "default", "not-specified", "default/not-specified", "LETTERS", "some/letters-rerank-v2",
                 "letters-rerank-v2", "letters___OpenAI-API", "owner/letters", "owner/letters___VLLM"):  # fmt: skip
        assert pool.info(name).id == "letters", name
    assert pool.info("Other___VLLM").id == "other"
    for name in ("letter", "unknown", "___", "some"):
        with pytest.raises(ModelNotFound, match="letters, other"):
            pool.info(name)
    await pool.close()


async def test_states_are_told_from_registration_to_the_end() -> None:
    metrics = Metrics()
    pool = ModelPool([entry("letters")], FakeLoader(CountingEngine()).load, metrics)
    assert pool.info("").state is ModelState.RESOLVING
    await pool.start()
    assert (await pool.wait()).state is ModelState.READY
    assert b'rerankd_model_state{model="letters",state="ready"} 1.0' in metrics.text()
    await pool.close()
    assert b'rerankd_model_state{model="letters",state="ready"} 0.0' in metrics.text()


async def test_one_model_that_fails_does_not_keep_the_others_from_loading() -> None:
    def refuse(name: str) -> None:
        if name == "bad":
            raise UnsupportedModel("it is a picture")

    pool = ModelPool([entry("bad"), entry("good")], FakeLoader(CountingEngine(), refuse).load, Metrics())
    await pool.start()
    assert (await pool.wait("good")).state is ModelState.READY
    with pytest.raises(UnsupportedModel):
        await pool.wait("bad")
    assert pool.info("bad").failure == "it is a picture"
    await pool.close()


async def test_a_fault_of_ours_while_loading_is_not_waited_for_for_ever() -> None:
    def crash(_: str) -> None:
        raise ZeroDivisionError("ours")

    pool = ModelPool([entry("bad")], FakeLoader(CountingEngine(), crash).load, Metrics())
    await pool.start()
    with pytest.raises(ZeroDivisionError):
        await pool.wait()
    assert pool.info("").state is ModelState.FAILED
    with pytest.raises(ModelLoadError):
        async with pool.use(""):
            pass
    await pool.close()


# --- staying in memory


class Loads:
    """Loads letter models of one megabyte, each with an engine of its own; remembers what was loaded and closed."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.closed: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def load(self, entry: Entry, report: Report) -> LoadedModel:
        assert self.gate.wait(10)
        self.loaded.append(entry.id)
        engine = ClosingEngine(entry.id, self.closed)
        return replace(FakeLoader(engine).load(entry, report), memory_bytes=1 << 20)


class ClosingEngine(CountingEngine):
    def __init__(self, name: str, closed: list[str]) -> None:
        super().__init__()
        self._name, self._closed = name, closed

    def close(self) -> None:
        self._closed.append(self._name)


@asynccontextmanager
async def served(loads: Loads, *names: str, **policy: Any) -> AsyncGenerator[ModelPool]:
    pool = ModelPool([entry(name) for name in names], loads.load, Metrics(), Policy(**policy))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen within ten seconds")


def loaded_now(pool: ModelPool) -> set[str]:
    return {info.id for info in pool.infos() if info.state is ModelState.READY}


async def test_without_preloading_the_first_request_begins_the_load_and_is_told_to_come_back() -> None:
    async with served(Loads(), "a", "b", preload="default") as pool:
        await pool.wait("a")
        assert pool.info("b").state is ModelState.UNLOADED
        with pytest.raises(ModelNotReady):
            async with pool.use("b"):
                pass
        await pool.wait("b")
        async with pool.use("b") as model:
            assert model.info.id == "b"
            assert pool.info("b").in_flight == 1
        assert pool.info("b").in_flight == 0


async def test_a_budget_for_one_model_holds_one_and_a_request_for_the_other_waits_for_it() -> None:
    loads = Loads()
    async with served(loads, "a", "b", preload="none", memory_bytes=1 << 20) as pool:
        await pool.wait("a")
        await pool.wait("b")
        for name in ("a", "b") * 5:
            async with pool.use(name) as model:
                assert model.info.id == name
                assert loaded_now(pool) == {name}
    assert loads.loaded == ["a", "b"] + ["a", "b"] * 5
    assert sorted(loads.closed) == sorted(loads.loaded), "every network is freed, once"


async def test_a_model_in_use_is_never_unloaded_however_small_the_budget() -> None:
    loads = Loads()
    async with served(loads, "a", "b", preload="none", memory_bytes=1) as pool:
        await pool.wait("a")
        async with pool.use("a"):
            await pool.wait("b")
            assert loaded_now(pool) == {"a", "b"}
            async with pool.use("b"):
                assert loads.closed == []
            assert loaded_now(pool) == {"a"}, "what is not in use goes"
        assert loaded_now(pool) == set()


async def test_a_model_larger_than_the_whole_budget_is_served_and_said(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Loads(), "a", "b", preload="none", memory_bytes=1) as pool:
        await pool.wait("a")
        async with pool.use("a") as model:
            assert model.info.id == "a"
    assert "more than the whole budget" in caplog.text


async def test_a_pinned_model_stays() -> None:
    async with served(Loads(), "a", "b", preload="none", memory_bytes=1 << 20, pinned=frozenset({"a"})) as pool:
        await pool.wait("a")
        await pool.wait("b")
        assert loaded_now(pool) == {"a", "b"}
        async with pool.use("b"):
            pass
        assert loaded_now(pool) == {"a"}


async def test_a_model_nobody_asks_for_is_unloaded_and_comes_back_with_the_next_request() -> None:
    loads = Loads()
    async with served(loads, "a", idle_s=0.1) as pool:
        await pool.wait("a")
        await until(lambda: pool.info("a").state is ModelState.UNLOADED)
        async with pool.use("a") as model:
            assert model.info.id == "a"
    assert loads.loaded == ["a", "a"]


async def test_a_model_that_is_unloaded_while_it_still_runs_is_freed_after_that_run() -> None:
    closed: list[str] = []
    counted = Counted(ClosingEngine("a", closed))
    engine = counted._engine
    assert isinstance(engine, CountingEngine)
    engine.gate.clear()
    encoding = Encoding(np.array([1, 1]), np.array([0, 0]))
    running = asyncio.create_task(asyncio.to_thread(counted.run, [encoding]))
    await until(lambda: counted._running > 0)
    closing = asyncio.create_task(asyncio.to_thread(counted.close))
    await asyncio.sleep(0.05)
    assert not closed
    engine.gate.set()
    await asyncio.gather(running, closing)
    assert closed == ["a"]
    with pytest.raises(EngineFailure, match="was unloaded"):
        counted.run([encoding])


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 99), st.integers(0, 2)), max_size=6),
    st.integers(1, 20),
    st.integers(0, 9),
)
def test_the_budget_is_kept_by_the_least_recently_used_or_by_nobody(
    models: list[tuple[int, int, int]], budget: int, incoming: int
) -> None:
    residents = [Resident(str(i), size, used, flying) for i, (size, used, flying) in enumerate(models)]
    policy = Policy(memory_bytes=budget, pinned=frozenset({"0"}))
    chosen = surplus(residents, incoming, policy, ("1",))
    left = [resident for resident in residents if resident.id not in chosen]
    free = [resident for resident in left if not resident.in_flight and resident.id not in ("0", "1")]
    assert not {"0", "1"} & set(chosen)
    assert not [resident for resident in residents if resident.id in chosen and resident.in_flight]
    assert sum(resident.memory_bytes for resident in left) + incoming <= budget or not free
    gone = [resident for resident in residents if resident.id in chosen]
    assert all(went.last_used <= stays.last_used for went in gone for stays in free)
