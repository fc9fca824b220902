"""The acceptance cases of the wire contract, each under its number: what the clients send, raw, to a live server.

The bundled model is served as `bge-reranker-v2-m3`, the name that clients' documentation uses.
"""

import http.client
import json
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

import wire_checks as reads
from live_server import running
from rerankd.cache.memory import CACHE
from rerankd.http.app import create_app
from rerankd.metrics import Metrics
from rerankd.models.loader import Loader
from rerankd.models.pool import ModelPool
from rerankd.registry.resolve import Entry, resolve
from rerankd.registry.store import Store
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.settings import AuthSettings, Settings

MODEL = "bge-reranker-v2-m3"
FULL_NAME = "BAAI/bge-reranker-v2-m3"
KEY = "acceptance-key"
Q = "What is the capital of France?"
D = ["bananas are yellow", "Paris is the capital of France", "France is a country", "bananas are yellow"]
PLAIN = {"query": Q, "documents": D}
NAMED = {"model": MODEL, **PLAIN}
NOBODY = "Bearer None"


@dataclass(frozen=True)
class Reply:
    """What came back, unparsed."""

    status: int
    raw: bytes
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class Live:
    """A server, and requests to it as clients write them."""

    def __init__(self, url: str) -> None:
        self._netloc = urlsplit(url).netloc

    def post(self, path: str, body: object, **headers: str) -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self._send("POST", path, raw, sent)

    def get(self, path: str, **headers: str) -> Reply:
        return self._send("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def ranked(self, path: str, body: object, **headers: str) -> Any:
        """Post what must be answered 200; return the decoded answer."""
        reply = self.post(path, body, **headers)
        assert reply.status == 200, reply.raw
        return reply.body

    def _send(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection(self._netloc, timeout=60)
        try:
            connection.request(method, path, raw, headers)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, response.read(), names)
        finally:
            connection.close()


def _service() -> RerankService:
    bundled = resolve("rerankd-zh-en")
    entry = Entry(MODEL, (MODEL, FULL_NAME), bundled.reference, bundled.card)
    metrics = Metrics()
    loader = Loader(store=Store(None), max_tokens=None, document_cache_bytes=1 << 20)
    return RerankService(
        pool=ModelPool([entry], loader.load, metrics),
        scheduler=Scheduler(workers=2, metrics=metrics),
        cache=CACHE.open("memory://", max_bytes=1 << 20),
        limits=Limits(),
        metrics=metrics,
    )


def _live(settings: Settings) -> Generator[Live]:
    with running(create_app(_service(), settings)) as url:
        live = Live(url)
        deadline = time.monotonic() + 60
        while live.get("/readyz").status != 200:
            assert time.monotonic() < deadline, live.get("/readyz").raw
            time.sleep(0.05)
        yield live


@pytest.fixture(scope="module")
def live() -> Generator[Live]:
    yield from _live(Settings())


@pytest.fixture(scope="module")
def locked() -> Generator[Live]:
    yield from _live(Settings(auth=AuthSettings(keys=(SecretStr(KEY),))))


def _standard(answer: Any, texts: Sequence[str] = D, *, count: int | None = None, documents: bool = True) -> None:
    """Read an answer as every client of the standard form does."""
    reads.scores_rank(answer["results"], texts, count=count)
    assert answer["results"][0]["index"] == texts.index(D[1])
    if not documents:
        reads.no_documents(answer, texts)
        return
    for reader in reads.STANDARD if count is not None and count < len(texts) else reads.STANDARD_WHOLE:
        reader(answer, texts)


def _tei(answer: Any, texts: Sequence[str] = D) -> None:
    reads.tei(answer, texts)
    assert answer[0]["index"] == texts.index(D[1])


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1//rerank", "/rerank"])
def test_01_dify_openai_api_compatible(live: Live, path: str) -> None:
    answer = live.ranked(path, {**NAMED, "top_n": 3})
    _standard(answer, count=3)
    reads.dify_openai_api_compatible(answer, D)


def test_02_dify_sdk_without_a_key(live: Live) -> None:
    answer = live.ranked("/v1/rerank", {**NAMED, "top_n": None, "return_documents": True}, Authorization=NOBODY)
    _standard(answer)
    scores = [place["relevance_score"] for place in answer["results"]]
    scaled = [(score - min(scores)) / (max(scores) - min(scores)) for score in scores]
    assert (max(scaled), min(scaled)) == (1.0, 0.0)


def _xinference(live: Live, **headers: str) -> None:
    model = live.get(f"/v1/models/{MODEL}", **headers).body
    assert (model["id"], model["model_type"]) == (MODEL, "rerank")
    body = {
        "model": MODEL, "documents": D, "query": Q, "top_n": None, "max_chunks_per_doc": None, "return_documents": True,
        "return_len": None, "kwargs": "{}",
    }  # fmt: skip
    answer = live.ranked("/v1/rerank", body, **headers)
    _standard(answer)
    reads.dify_cohere(answer, D)


def test_03_dify_xinference(live: Live) -> None:
    assert live.get("/v1/cluster/auth").body == {"auth": False}
    _xinference(live)


def test_04_dify_xinference_with_a_server_key(locked: Live) -> None:
    assert locked.get("/v1/cluster/auth").body == {"auth": True}
    _xinference(locked, Authorization=f"Bearer {KEY}")
    for refused in (
        locked.post("/v1/rerank", NAMED, Authorization="Bearer wrong"),
        locked.get(f"/v1/models/{MODEL}", Authorization="Bearer wrong"),
        locked.post("/v1/rerank", NAMED),
    ):
        assert refused.status == 401
        assert isinstance(refused.body["detail"], str)


def test_05_dify_localai(live: Live) -> None:
    answer = live.ranked("/rerank", {**NAMED, "top_n": None}, Authorization=NOBODY)
    _standard(answer)
    reads.dify_localai(answer, D)


def test_06_dify_huggingface_tei(live: Live) -> None:
    info = live.get("/info").body
    assert next(iter(info["model_type"])) == "reranker"
    assert type(info["max_input_length"]) is int
    assert info["max_input_length"] > 0
    assert info["max_client_batch_size"] >= 100
    texts = [f"{text} {i}" for i in range(25) for text in D]
    answer = live.ranked("/rerank", {"query": Q, "texts": texts, "return_text": True})
    assert len(answer) == 100
    reads.dify_tei(answer, texts)


def test_07_dify_jina_gpustack_cohere_voyage_ollama(live: Live) -> None:
    jina = {**NAMED, "top_n": None, "return_documents": False}
    _standard(live.ranked("/v1/rerank", jina, Authorization="Bearer k"), documents=False)
    _standard(live.ranked("/v1/rerank", {**NAMED, "top_n": 3}, Authorization="Bearer k"), count=3)
    cohere = live.ranked("/v1/rerank", {**NAMED, "top_n": None, "return_documents": True}, Authorization="Bearer k")
    reads.dify_cohere(cohere, D)
    voyage = {**NAMED, "top_k": None, "return_documents": True}
    reads.voyageai(live.ranked("/v1/rerank", voyage, Authorization="Bearer k"), D)
    ollama = live.ranked("/api/rerank", {**NAMED, "top_n": 2})
    reads.dify_ollama(ollama, D)
    reads.scores_rank(ollama["results"], D, count=2)


def test_08_ragflow_jina_and_siliconflow(live: Live) -> None:
    texts = ["Is it sunny today?"]
    one = {"model": MODEL, "query": "What's the weather?", "documents": texts, "top_n": 1}
    reads.ragflow(live.ranked("/v1/rerank", one, Authorization="Bearer k"), texts)
    more = {**one, "return_documents": False, "max_chunks_per_doc": 1024, "overlap_tokens": 80}
    reads.ragflow(live.ranked("/v1/rerank", more, Authorization="Bearer k"), texts)


def test_09_ragflow_xinference(live: Live) -> None:
    body = {"model": MODEL, "query": Q, "return_documents": "true", "return_len": "true", "documents": D}
    reads.ragflow(live.ranked("/v1/rerank", body), D)


def test_10_ragflow_localai(live: Live) -> None:
    answer = live.ranked("/rerank", {"model": f"{MODEL}___LocalAI", **PLAIN, "top_n": 4})
    _standard(answer)
    assert "query" not in answer


def test_11_ragflow_huggingface(live: Live) -> None:
    assert "rerank" in live.get("/info").body["model_type"]
    texts = [f"{text} {i}" for i in range(5) for text in D]
    for batch in (texts[:8], texts[8:16], texts[16:]):
        body = {"query": Q, "texts": batch, "raw_scores": False, "truncate": True}
        reads.tei(live.ranked("/rerank", body), batch)


def test_12_ragflow_vllm_and_cohere(live: Live) -> None:
    body = {**NAMED, "top_n": 4, "return_documents": False}
    _standard(live.ranked("/v1/rerank", body, Authorization="Bearer k", X_Fern_Language="Python"), documents=False)


def test_13_open_webui(live: Live) -> None:
    texts = [f"{text} {i}" for i in range(13) for text in D][:50]
    body = {"model": MODEL, "query": Q, "documents": texts, "top_n": 50}
    answer = live.ranked("/v1/rerank", body, Authorization="Bearer ")
    assert sorted(place["index"] for place in answer["results"]) == list(range(50))
    reads.scores_rank(answer["results"], texts)


@pytest.mark.parametrize("path", ["/v1/rerank", "//v1/rerank", "/v1/v1/rerank", "/v2/rerank", "/v1/v2/rerank"])
def test_14_cohere_clients(live: Live, path: str) -> None:
    answer = live.ranked(path, {**NAMED, "top_n": None}, Authorization="Bearer x")
    _standard(answer)
    assert answer["meta"]["api_version"]["version"] == ("2" if "/v2" in path else "1")
    objects = [{"t": f"title {i}", "text": text} for i, text in enumerate(D)]
    body = {"model": MODEL, "query": Q, "documents": objects, "rank_fields": ["t", "text"], "return_documents": True}
    for place in live.ranked(path, body)["results"]:
        assert place["document"]["t"] == f"title {place['index']}"


def test_15_maxkb_vllm(live: Live) -> None:
    answer = live.ranked("/v2/rerank", NAMED, Authorization="Bearer x")
    _standard(answer)
    assert all(place["document"]["text"] for place in answer["results"])


def test_16_litellm(live: Live) -> None:
    wanted = {**NAMED, "top_n": 2, "return_documents": True}
    for path in ("/v2/rerank", "/v1/v2/rerank", "/v1/rerank", "/v1/v1/rerank"):
        reads.litellm_cohere(live.ranked(path, wanted), D)
    reads.litellm_cohere(live.ranked("/v1/rerank", {**wanted, "max_chunks_per_doc": 10}), D)
    for path in ("/rerank", "/v1/rerank"):
        reads.litellm_hosted_vllm(live.ranked(path, wanted), D)
        reads.voyageai(live.ranked("/v1/rerank", {**NAMED, "return_documents": True}), D)
        reads.voyageai(live.ranked("/v1/rerank", {**NAMED, "top_k": 2, "return_documents": True}), D)
        tei = {
            "query": Q, "texts": D, "return_text": True, "top_n": 2, "raw_scores": False,
            "truncation_direction": "Right", "truncate": False,
        }  # fmt: skip
        answer = live.ranked(path, tei)
        assert [place["text"] for place in answer] == [D[1], D[2]]
        reads.scores_rank(answer, D, score="score", count=2)
    reads.litellm_infinity(live.ranked("/infinity/rerank", wanted), D)
    reads.litellm_infinity(live.ranked("/rerank", {**wanted, "return_documents": False}), D)
    with pytest.raises(AssertionError, match="not a string"):  # the documented limit: hosted_vllm/ wants an object
        reads.litellm_infinity(live.ranked("/rerank", wanted), D)


def test_17_voyageai(live: Live, locked: Live) -> None:
    body = {"documents": D, "query": Q, "model": MODEL, "top_k": 2, "truncation": True}
    answer = live.ranked("/v1/rerank", body, Authorization="Bearer x")
    reads.voyageai(answer, D)
    assert len(answer["data"]) == 2
    unknown = live.post("/v1/rerank", {**body, "model": "nope"}, Authorization="Bearer x")
    assert unknown.status == 404
    assert "'nope' is not served here" in unknown.body["detail"]
    assert locked.post("/v1/rerank", body, Authorization="Bearer bad").status == 401


@pytest.mark.parametrize("prefix", ["", "/infinity"])
def test_18_infinity_client(live: Live, prefix: str) -> None:
    body = {**PLAIN, "return_documents": False, "raw_scores": False, "model": "default/not-specified"}
    for wanted in (False, True):
        answer = live.ranked(f"{prefix}/rerank", {**body, "return_documents": wanted})
        reads.infinity_client(answer, D)
        reads.scores_rank(answer["results"], D)
        assert all(place["document"] == (D[place["index"]] if wanted else None) for place in answer["results"])
        assert answer["object"] == "rerank"
    models = live.get(f"{prefix}/models").body
    assert models["object"] == "list"
    assert {item["owned_by"] for item in models["data"]} == {"infinity"}
    assert all(isinstance(item["stats"], dict) and item["capabilities"] == ["rerank"] for item in models["data"])
    refused = live.post(f"{prefix}/rerank", {**body, "documents": []})
    assert refused.status == 422
    (problem,) = refused.body["detail"]
    assert {"loc", "msg", "type"} <= set(problem)


def test_19_langchain_llamaindex_haystack(live: Live) -> None:
    _standard(live.ranked("/v2/rerank", {**NAMED, "top_n": 3, "max_tokens_per_doc": None}), count=3)
    for path in ("/v1/rerank", "/v1/v1/rerank"):
        _standard(live.ranked(path, {**NAMED, "top_n": 3}), count=3)
    _tei(live.ranked("/rerank", {"query": Q, "texts": D}))
    haystack = {"query": Q, "texts": D, "raw_scores": False, "truncate": True, "truncation_direction": "Left"}
    _tei(live.ranked("/rerank", haystack))
    _standard(live.ranked("/v2/rerank", {**NAMED, "top_n": 4, "max_tokens_per_doc": 4096}))
    reads.haystack_jina(live.ranked("/v1/rerank", {**NAMED, "top_n": None}), D)
    siliconflow = {**NAMED, "top_n": 2, "return_documents": False, "max_chunks_per_doc": 1024, "overlap_tokens": 80}
    _standard(live.ranked("/v1/rerank", siliconflow), count=2, documents=False)
    unknown = live.post("/v1/rerank", {**NAMED, "model": "nope"}).body
    assert "results" not in unknown
    assert "'nope' is not served here" in unknown["detail"]


def test_20_user_shapes_a_and_b(live: Live) -> None:
    answer = live.ranked("/v1/rerank", {**NAMED, "top_n": 2})
    _standard(answer, count=2)
    reads.user_shape_a(answer, D)
    reads.user_shape_b(answer, D)
    assert answer["model"] == MODEL
    assert len(answer["results"]) == len(answer["data"]) == 2
    assert live.get("/readyz").body == {"status": "ready"}
    assert {MODEL, FULL_NAME} <= {item["id"] for item in live.get("/v1/models").body["data"]}


def test_21_user_shapes_c_and_d(live: Live) -> None:
    answer = live.ranked("/rerank", {**PLAIN, "top_k": 2})
    reads.user_shape_c(answer, D)
    assert [place["text"] for place in answer["ranked_results"]] == [D[1], D[2]]
    answer = live.ranked("/rerank", PLAIN)
    reads.user_shape_d(answer, D)
    assert answer["query"] == Q
    assert answer["results"][0]["document"] == D[1]
    health = live.get("/health").body
    assert (health["status"], health["model_loaded"]) == ("healthy", True)


def test_22_milvus_and_weaviate(live: Live) -> None:
    reads.milvus_vllm(live.ranked("/rerank", PLAIN), D)
    reads.weaviate(live.ranked("/rerank", {**PLAIN, "property": ""}), D)
    refused = live.post("/rerank", {"query": Q, "documents": [], "property": ""})
    assert refused.status == 400
    assert isinstance(refused.body["error"], str)
    assert live.get("/.well-known/ready").status <= 299


def test_23_tei_natives(live: Live) -> None:
    empty = live.post("/rerank", {"query": Q, "texts": []})
    assert (empty.status, empty.body) == (400, {"error": "`texts` cannot be empty", "error_type": "Empty"})
    body = {"query": Q, "texts": D, "surprise": {"a": 1}}
    plain = {place["index"]: place["score"] for place in live.ranked("/rerank", body)}
    raw = {place["index"]: place["score"] for place in live.ranked("/rerank", {**body, "raw_scores": True})}
    for index, logit in raw.items():
        assert 1 / (1 + math.exp(-logit)) == pytest.approx(plain[index], abs=1e-6)
    _tei(live.ranked("/", body))
    _tei(live.ranked("/invocations", body))
    predicted = live.ranked("/predict", {"inputs": [[Q, D[1]], [Q, D[0]]]})
    assert [set(item[0]) for item in predicted] == [{"score", "label"}] * 2
    assert [item[0]["score"] for item in predicted] == [plain[1], plain[0]]
    long = live.post("/rerank", {"query": Q, "texts": ["word " * 20_000], "truncate": False})
    assert (long.status, long.body["error_type"]) == (422, "Validation")
    headers = live.post("/rerank", body).headers
    assert all(
        headers[f"x-{name}-time"].isdigit() for name in ("compute", "total", "tokenization", "queue", "inference")
    )
    assert int(headers["x-compute-tokens"]) > 0
    assert int(headers["x-compute-characters"]) == sum(len(Q) + len(text) for text in D)


def test_24_cherry_studio_and_elasticsearch_hugging_face(live: Live) -> None:
    answer = live.ranked("/v1/rerank", {"query": Q, "texts": D, "return_text": True}, Authorization="Bearer k")
    reads.dify_tei(answer, D)
    assert live.post("/v1/rerank", {"query": Q, "texts": D, "documents": D}).status == 400
    answer = live.ranked("/tei/rerank", {"documents": D, "query": Q, "top_n": 2})
    reads.elasticsearch_hugging_face(answer, D)
    assert [place["index"] for place in answer] == [1, 2]


def test_25_elasticsearch_cohere_and_opensearch(live: Live) -> None:
    for path in ("/v1/rerank", "/v2/rerank"):
        raw = live.post(path, {**NAMED, "return_documents": True, "top_n": 4}).raw
        reads.elasticsearch_cohere(raw)
        reads.opensearch_cohere(raw)


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_26_what_clients_get_wrong(live: Live, path: str) -> None:
    for absent in ({"top_n": 0}, {"top_n": None}, {}, {"top_n": 100}):
        reads.scores_rank(live.ranked(path, {**NAMED, **absent})["results"], D)
    assert live.post(path, {**NAMED, "top_n": -1}).status == 400
    reads.scores_rank(live.ranked(path, {**NAMED, "top_n": "2"})["results"], D, count=2)
    scores = {place["index"]: place["relevance_score"] for place in live.ranked(path, NAMED)["results"]}
    assert scores[0] == scores[3]
    assert list(scores).index(0) < list(scores).index(3)
    assert len(live.ranked(path, {**NAMED, "documents": [{"text": "x"}]})["results"]) == 1
    assert len(live.ranked(path, {**NAMED, "documents": ["", *D]})["results"]) == 5
    empty = live.post(path, {**NAMED, "documents": []})
    assert empty.status == 400
    assert isinstance(empty.body["detail"], str)
    assert live.post(path, json.dumps(NAMED).encode(), Content_Type="text/plain").status == 200
