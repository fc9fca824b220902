"""Models by name."""

import pytest

from letters import CountingEngine, FakeLoader, entry
from rerankd.errors import ModelLoadError, ModelNotFound, UnsupportedModel
from rerankd.metrics import Metrics
from rerankd.models.pool import ModelPool
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
