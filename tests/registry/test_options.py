"""What is set for one model alone."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rerankd import Reranker
from rerankd.assembly import assemble
from rerankd.engines.base import Array, Encoding
from rerankd.engines.fake import FakeEngine
from rerankd.errors import ConfigError
from rerankd.registry.options import Options, read
from rerankd.settings import ModelsSettings, SchedulingSettings, Settings
from rerankd.types import Caller, Document, RerankRequest, ScoreType
from tiny import tiny_bert


def test_a_line_names_a_model_and_what_is_set_for_it() -> None:
    lines = ("bge: precision=fp32 max_tokens=512 activation=none pinned=yes threads=2", "org/name: ")
    assert read(lines) == {"bge": Options("fp32", 512, "none", pinned=True, threads=2), "org/name": Options()}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("bge", "is not written NAME: setting=value"),
        (": pinned=true", "is not written NAME"),
        ("bge: max_token=3", "did you mean max_tokens="),
        (
            "bge: speed=high",
            "there are precision, max_tokens, activation, pinned, threads, temperature, bias, check_golden",
        ),
        ("bge: max_tokens=3", "a number, at least 16"),
        ("bge: activation=tanh", "must be sigmoid or none"),
        ("bge: pinned=perhaps", "true or false"),
        ("bge: threads=0", "a number, at least 1"),
        ("bge: temperature=0", "a number above 0"),
        ("bge: bias=nan", "a number"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_remedy(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read([line])


def test_options_for_a_model_that_is_not_served_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match="names 'other', which is not served"):
        assemble(Settings(models=ModelsSettings(options=("other: pinned=true",))))


def test_a_models_own_limit_and_activation_hold_for_it_alone(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "mine")
    plain = Settings(models=ModelsSettings(default=str(folder), store=tmp_path / "store"))
    options = ("MINE: max_tokens=16 activation=none",)
    changed = Settings(models=plain.models.model_copy(update={"options": options}))
    documents = ["a fox", "Berlin"]
    with Reranker(settings=plain) as reranker:
        expected = reranker.rank("q", documents, raw_scores=True)
        assert reranker.info.score_type is ScoreType.PROBABILITY
    with Reranker(settings=changed) as reranker:
        assert (reranker.info.max_tokens, reranker.info.score_type) == (16, ScoreType.LOGIT)
        found = reranker.rank("q", documents)
    assert [hit.index for hit in found] == [hit.index for hit in expected]
    assert np.allclose([hit.score for hit in found], [hit.score for hit in expected])


def test_a_calibration_changes_scores_and_not_raw_ones_and_says_so(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "mine")
    plain = Settings(models=ModelsSettings(default=str(folder), store=tmp_path / "store"))
    options = ("mine: temperature=2 bias=-0.5",)
    changed = Settings(models=plain.models.model_copy(update={"options": options}))
    documents = ["a fox", "Berlin"]
    with Reranker(settings=plain) as reranker:
        raw = reranker.rank("q", documents, raw_scores=True)
        assert reranker.info.score_from == "sigmoid(raw)"
    with Reranker(settings=changed) as reranker:
        assert reranker.info.score_from == "sigmoid(raw / 2 - 0.5)"
        assert reranker.rank("q", documents, raw_scores=True).items == raw.items
        found = reranker.rank("q", documents)
    expected = [1 / (1 + np.exp(-(hit.score / 2 - 0.5))) for hit in raw]
    assert np.allclose([hit.score for hit in found], expected, atol=1e-6)


def test_a_models_own_precision_holds_where_all_others_have_another(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "mine")
    models = ModelsSettings(default=str(folder), store=tmp_path / "store", precision="int8")
    with Reranker(settings=Settings(models=models)) as reranker:
        assert reranker.info.precision.startswith("int8")
    own = models.model_copy(update={"options": ("mine: precision=fp32",)})
    with Reranker(settings=Settings(models=own)) as reranker:
        assert reranker.info.precision == "fp32"


async def _ranked_at_once(settings: Settings) -> None:
    service = assemble(settings)
    await service.start()
    try:
        await service.wait_ready()
        documents = tuple(Document(f"{i} a fox") for i in range(10))
        requests = [RerankRequest(model="", query=f"{i} what", documents=documents) for i in range(6)]
        answers = await asyncio.gather(*(service.rerank(request, Caller("anybody")) for request in requests))
        assert [len(answer.items) for answer in answers] == [10] * 6
    finally:
        await service.close()


@pytest.mark.parametrize(("option", "most"), [("threads=1", 1), ("threads=2", 2), ("threads=9", 4), ("", 4)])
def test_no_more_workers_than_its_threads_run_a_model_at_once(
    option: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, now, seen, answer = threading.Lock(), 0, 0, FakeEngine.run

    def run(engine: FakeEngine, batch: Sequence[Encoding]) -> Sequence[Array]:
        nonlocal now, seen
        with lock:
            now += 1
            seen = max(seen, now)
        time.sleep(0.002)
        with lock:
            now -= 1
        return answer(engine, batch)

    monkeypatch.setattr(FakeEngine, "run", run)
    models = ModelsSettings(
        default=str(tiny_bert(tmp_path / "tiny")), store=tmp_path / "store", engine="fake",
        options=(f"tiny: {option}",),
    )  # fmt: skip
    asyncio.run(_ranked_at_once(Settings(models=models, scheduling=SchedulingSettings(workers=4))))
    assert seen == most
