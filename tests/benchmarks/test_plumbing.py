"""Models are made, workers and servers are started and asked, as in the real comparisons, with a tiny model."""

from pathlib import Path

import numpy as np
import pytest

import start
from comparison import http_rounds, processes, servers, shapes, work, workers
from rerankd import Reranker


@pytest.mark.parametrize("model", ["tiny", "tiny_roberta"])
def test_a_made_model_tells_documents_apart(model: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    name: str = request.getfixturevalue(model)
    load = work.make(name, documents=8, count=2)
    with Reranker(shapes.reference(name)) as reranker:
        scores = [hit.score for one in load.requests for hit in reranker.rank(one.query, one.documents)]
    assert len(scores) == load.pairs == 16
    assert np.ptp(scores) > 1e-3


def test_a_model_is_made_once(tiny: str) -> None:
    first = (shapes.prepare(tiny) / "model.safetensors").stat()
    assert (shapes.prepare(tiny) / "model.safetensors").stat() == first


def test_no_pair_is_longer_than_the_limit(tiny: str) -> None:
    load = work.make(tiny, documents=4, count=2, doc_tokens=900)
    assert max(map(max, load.lengths)) <= 510
    assert min(map(min, load.lengths)) > 400


def test_a_worker_scores_as_the_library_does(tiny: str) -> None:
    load = work.make(tiny, documents=3, count=2)
    with workers.working([workers.RERANKD], tiny) as (worker,):
        answer = worker.score(load.requests)
    with Reranker(shapes.reference(tiny)) as reranker:
        rankings = [reranker.rank(one.query, one.documents, raw_scores=True) for one in load.requests]
    expected = [[hit.score for hit in sorted(ranking, key=lambda hit: hit.index)] for ranking in rankings]
    assert answer.scores == expected
    assert answer.seconds > 0


def test_a_worker_that_cannot_start_is_named_with_its_last_words(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "reference", lambda _name: "./nowhere")  # pyright: ignore[reportUnknownArgumentType]
    with pytest.raises(processes.Failed, match=r"(?s)rerankd.*nowhere"), workers.working([workers.RERANKD], tiny):
        pass


def test_a_server_is_measured_and_gone_afterwards(tiny: str) -> None:
    load = work.make(tiny, documents=3, count=5)
    with servers.serving([servers.RERANKD], tiny) as (server,):
        measured = http_rounds.measure(server, load, 2)
        assert server.memory().now > 0
    assert measured.figures["pairs_per_s"] > 0
    assert [len(scores) for scores in measured.scores] == [3] * 5
    with pytest.raises(processes.Failed):
        server.memory()


def test_the_first_score_comes_from_a_new_store(tiny: str, tmp_path: Path) -> None:
    assert start.first_score(tiny, tmp_path / "store")["seconds"] > 0
    assert list((tmp_path / "store" / "prepared").glob("*/model.onnx"))
