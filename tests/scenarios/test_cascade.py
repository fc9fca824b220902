"""A fast model before one that is far too slow: the answer is there in time, with the large model's best.

SCENARIOS=full takes a model of bge-reranker-base's shape and five seconds, and judges the time.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from live import Server, serving
from long_runs import FULL, told
from tiny import tiny_bert

BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "std": 0.02,
        "max_position_embeddings": 512, "tokenizer_config": {"model_max_length": 512}}  # fmt: skip
DEADLINE_S = 5.0 if FULL else 1.0
DOCUMENTS = [
    f"Number {i}: " + "a reranker reads the query and the document together and returns one score; " * (6 + i % 7)
    for i in range(100 if FULL else 30)
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    large = tiny_bert(tmp_path / "large", **BASE)
    with serving(f"fast>large={large}", "--cache.url", "off://", cwd=tmp_path) as running:
        yield running


@pytest.mark.slow
def test_a_cascade_answers_in_time_with_the_large_models_scores_for_the_best(server: Server) -> None:
    body: dict[str, object] = {"query": "what does a reranker return?", "documents": DOCUMENTS}
    with httpx2.Client(base_url=server.url, timeout=120) as http:
        while any(model["state"] != "ready" for model in http.get("/v1/models").json()["data"]):
            time.sleep(0.05)
        for model in ("rerankd-zh-en", "large"):  # once each: first runs are slower
            assert _ask(http, body | {"documents": DOCUMENTS[:4], "model": model}).status_code == 200
        began = time.perf_counter()
        _ask(http, body | {"model": "rerankd-zh-en"})
        allowed_s = max(DEADLINE_S, 0.0 if FULL else 2.5 * (time.perf_counter() - began))  # as busy as the machine is
        whole = _ask(http, body | {"model": "large", "deadline_s": 110}).json()
        started = time.perf_counter()
        response = _ask(http, body, timeout_s=allowed_s)
        took = time.perf_counter() - started
    answer = response.json()
    exact = {hit["index"]: hit["relevance_score"] for hit in whole["results"]}
    first, *rest = answer["meta"]["stages"]
    scored = first["documents"]
    order = [hit["index"] for hit in answer["results"]]
    by_large = sorted(scored, key=lambda index: (-exact[index], index))
    common = len({*order[:5]} & {hit["index"] for hit in whole["results"][:5]})
    told(
        f"cascade: {len(DOCUMENTS)} documents, {allowed_s:.2f} s allowed, answered in {took:.2f} s; the large model "
        f"scored {len(scored)}; {common} of its own top 5 of all documents are among the answer's first 5"
    )
    assert first["model"] == "large"
    assert 0 < len(scored) < len(DOCUMENTS), "the deadline is meant to be too short for all"
    assert sorted(order) == list(range(len(DOCUMENTS)))
    assert order[: len(scored)] == by_large
    for hit in answer["results"][: len(scored)]:
        assert hit["relevance_score"] == pytest.approx(exact[hit["index"]], abs=1e-5)
    scores = [hit["relevance_score"] for hit in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert rest[0]["model"] == "rerankd-zh-en"
    if FULL:
        assert took < DEADLINE_S + 0.2


def _ask(http: httpx2.Client, body: dict[str, object], timeout_s: float | None = None) -> httpx2.Response:
    headers = {"x-request-timeout": str(timeout_s)} if timeout_s else {}
    response = http.post("/v1/rerank", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response
