"""Any rerank server can be asked, and an answer that is none is an error."""

import pytest

from fake_service import FakeService, probability
from live_server import running_fake
from rerankd.bench.requests import BenchRequest
from rerankd.bench.targets import DIALECTS, HttpTarget, read_scores
from rerankd.errors import ConfigError, EngineFailure, RerankError, ServerUnreachable
from rerankd.settings import AuthSettings, Settings
from rerankd.types import JsonValue

REQUEST = BenchRequest("capital of France", ("bananas", "Paris, the capital", "France"))
EXPECTED = [probability(REQUEST.query, document) for document in REQUEST.documents]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        ({"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}, [0.1, 0.9]),
        ([{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}], [0.1, 0.9]),
        ({"data": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": -2}]}, [1.0, -2.0]),
        ({"rankings": [{"index": 1, "logit": 3.5}, {"index": 0, "logit": -1.0}]}, [-1.0, 3.5]),
        ({"scores": [0.25, 0.5]}, [0.25, 0.5]),
        ([0.25, 0.5], [0.25, 0.5]),
        ([0.25], None),
        ({"results": [{"index": 0, "score": 1}, {"index": 0, "score": 2}]}, None),
        ({"results": [{"index": 0, "score": "high"}, {"index": 1, "score": 2}]}, None),
        ({"detail": "no"}, None),
        ("no", None),
    ],
)
async def test_scores_are_found_in_every_form_or_not_at_all(answer: JsonValue, scores: list[float] | None) -> None:
    assert read_scores(answer, 2) == scores


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"auto"}))
async def test_a_server_is_asked_in_its_dialect(dialect: str) -> None:
    with running_fake(FakeService()) as url:
        async with HttpTarget(f"{url}/{dialect}", dialect=dialect) as target:
            scores = await target.rank(REQUEST)
    factor = 10 if dialect == "nim" else 1  # NIM answers with logits, which are ten times the fake's probabilities
    assert scores == pytest.approx([factor * score for score in EXPECTED], abs=1e-5)


@pytest.mark.parametrize(
    ("path", "reached"),
    [("", "/v1/rerank"), ("/v1", "/v1/rerank"), ("/tei", "/tei/rerank"), ("/v2/rerank", "/v2/rerank")],
)
async def test_how_a_server_wants_to_be_asked_is_found_out(path: str, reached: str) -> None:
    service = FakeService()
    with running_fake(service) as url:
        async with HttpTarget(url + path) as target:
            assert target.endpoint.removeprefix(url) in {reached, "/tei/v1/rerank"}
            assert await target.rank(REQUEST) == pytest.approx(EXPECTED, abs=1e-6)
            assert target.name == url.removeprefix("http://")
            assert target.local
    assert service.asked[-1][0].top_n in {None, 3}


async def test_the_key_is_sent_and_the_model_named() -> None:
    service = FakeService()
    keyed = Settings(auth=AuthSettings.model_validate({"keys": ["sesame"]}))
    with running_fake(service, keyed) as url:
        async with HttpTarget(url, key="sesame") as target:
            await target.rank(REQUEST)
        with pytest.raises(ServerUnreachable, match="HTTP 401"):
            await HttpTarget(url, dialect="jina", key="wrong").__aenter__()
    assert service.asked[-1][0].model == "tiny-reranker"


async def test_an_error_is_an_error_with_its_status() -> None:
    service = FakeService()
    with running_fake(service) as url:
        async with HttpTarget(url) as target:
            service.failure = EngineFailure("the model failed")
            with pytest.raises(RerankError, match=r"HTTP 500: .*the model failed"):
                await target.rank(REQUEST)


async def test_a_server_that_is_not_there_says_what_was_tried() -> None:
    with pytest.raises(ServerUnreachable, match=r"/v1/rerank \(standard\): the connection failed .*/rerank \(tei\)"):
        await HttpTarget("http://127.0.0.1:9").__aenter__()


@pytest.mark.parametrize("url", ["ftp://somewhere", "http://", "http://a:b"])
async def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="no URL"):
        HttpTarget(url)


async def test_an_unknown_dialect_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="known: auto, cohere"):
        HttpTarget("http://127.0.0.1:9", dialect="klingon")
