"""The HTTP client, against a real server on a real socket."""

import asyncio
import socket
import time
from collections.abc import Callable, Generator
from contextlib import closing

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fake_service import MODEL, FakeService, probability, rank
from http_app import DOCUMENTS, QUERY
from live_server import running, running_fake
from rerankd import AsyncClient, Client, errors
from rerankd.settings import AuthSettings, Settings
from rerankd.types import Document, ModelState, Pair, Ranking, RerankRequest, ScoreType

PAIRS: list[Pair | tuple[str, str]] = [("a", "x"), Pair("b", "y"), ("a", "z"), ("b", "y"), ("a", "x")]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Generator[str]:
    with running_fake(service) as url:
        yield url


def test_a_ranking_is_what_the_service_made(url: str) -> None:
    with Client(url) as client:
        ranking = client.rank(QUERY, DOCUMENTS, top_n=2)
    made = rank(RerankRequest(QUERY, tuple(Document(text) for text in DOCUMENTS), top_n=2))
    assert isinstance(ranking, Ranking)
    assert ranking.items == made.items
    assert (ranking.model, ranking.score_type) == (MODEL.id, ScoreType.PROBABILITY)
    assert ranking.usage.tokens == made.usage.tokens


def test_objects_keep_their_fields_on_the_way(url: str, service: FakeService) -> None:
    with Client(url, model="tiny") as client:
        client.rank(QUERY, [Document("a", {"page": 3}), "b"])
    request = service.asked[0][0]
    assert request.documents == (Document("a", {"page": 3, "text": "a"}), Document("b"))
    assert request.model == "tiny"


def test_scores_keep_the_order_of_the_pairs_with_one_request_per_query(url: str, service: FakeService) -> None:
    with Client(url) as client:
        scores = client.score(PAIRS)
        assert client.score([]) == []
    assert scores == [probability(*pair) for pair in (("a", "x"), ("b", "y"), ("a", "z"), ("b", "y"), ("a", "x"))]
    assert len(service.asked) == 2


def test_models_are_read_back_once_each(url: str) -> None:
    with Client(url) as client:
        assert client.models() == (MODEL,)


@pytest.mark.anyio
async def test_the_asynchronous_client_gives_the_same(url: str) -> None:
    def blocking() -> tuple[Ranking, list[float], object]:
        with Client(url) as client:
            return client.rank(QUERY, DOCUMENTS), client.score(PAIRS), client.models()

    async with AsyncClient(url) as client:
        answers = await client.rank(QUERY, DOCUMENTS), await client.score(PAIRS), await client.models()
    assert answers == await asyncio.to_thread(blocking)


ERRORS: list[errors.RerankError] = [
    errors.InvalidRequest("bad"),
    errors.RequestTooLarge("big"),
    errors.NotAuthenticated("who"),
    errors.NotAllowed("no"),
    errors.ModelNotFound("x", ["y"]),
    errors.RateLimited("slower", retry_after_s=30),
    errors.Overloaded("full", retry_after_s=40),
    errors.ModelNotReady("loading", retry_after_s=50),
    errors.DeadlineExceeded("late"),
    errors.EngineFailure("broken"),
    errors.ModelLoadError("no model"),
    errors.DownloadFailed("no network"),
    errors.UnsupportedModel("odd"),
]


@pytest.mark.parametrize("error", ERRORS, ids=[error.kind for error in ERRORS])
def test_an_error_comes_back_as_the_same_exception(url: str, service: FakeService, error: errors.RerankError) -> None:
    service.failure = error
    with Client(url) as client, pytest.raises(type(error)) as caught:
        client.rank(QUERY, DOCUMENTS)
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    if isinstance(error, errors.TryLater):
        assert isinstance(caught.value, errors.TryLater)
        assert caught.value.retry_after_s == error.retry_after_s


def test_the_field_at_fault_comes_back(url: str) -> None:
    with Client(url) as client, pytest.raises(errors.InvalidRequest) as caught:
        client.rank(QUERY, DOCUMENTS, top_n=-1)
    assert caught.value.field == "top_n"


def test_a_key_is_sent_and_its_absence_is_told() -> None:
    with running_fake(FakeService(), Settings(auth=AuthSettings(keys=(SecretStr("sesame"),)))) as url:
        with Client(url, api_key="sesame") as client:
            assert len(client.rank(QUERY, DOCUMENTS)) == 4
        with Client(url) as client, pytest.raises(errors.NotAuthenticated, match="an API key is required"):
            client.rank(QUERY, DOCUMENTS)


def test_a_full_queue_is_tried_again_after_the_wait_asked_for(url: str, service: FakeService) -> None:
    service.failure = errors.Overloaded("full", retry_after_s=1)
    started = time.monotonic()
    with Client(url, retries=1) as client, pytest.raises(errors.Overloaded):
        client.rank(QUERY, DOCUMENTS)
    assert len(service.asked) == 2
    assert 1 <= time.monotonic() - started < 5


def test_a_long_wait_is_left_to_the_caller(url: str, service: FakeService) -> None:
    service.failure = errors.ModelNotReady("loading", retry_after_s=60)
    with Client(url) as client, pytest.raises(errors.ModelNotReady):
        client.rank(QUERY, DOCUMENTS)
    assert len(service.asked) == 1


def test_what_will_not_change_is_not_tried_again(url: str, service: FakeService) -> None:
    service.failure = errors.EngineFailure("broken")
    with Client(url) as client, pytest.raises(errors.EngineFailure):
        client.rank(QUERY, DOCUMENTS)
    assert len(service.asked) == 1


def test_an_answer_that_does_not_come_ends_in_a_timeout(url: str, service: FakeService) -> None:
    service.hold = asyncio.Event()
    with Client(url, timeout_s=0.2) as client, pytest.raises(errors.DeadlineExceeded, match=r"within 0\.2 s"):
        client.rank(QUERY, DOCUMENTS)
    assert len(service.asked) == 1


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def test_no_server_is_told_with_the_remedy() -> None:
    url = f"http://127.0.0.1:{_free_port()}"
    with Client(url, retries=1) as client, pytest.raises(errors.ServerUnreachable, match="rerankd serve"):
        client.rank(QUERY, DOCUMENTS)


def _answering(answer: Callable[[], Response]) -> FastAPI:
    app = FastAPI(openapi_url=None)

    async def anything(_: Request) -> Response:
        return answer()

    app.add_route("/v1/rerank", anything, methods=["POST"])
    return app


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, "<html>"), (200, "[]"), (200, "{}"), (200, '{"results": [{"index": 0}]}'), (404, "nothing"), (302, "")],
)
def test_another_server_is_not_taken_for_ours(status: int, body: str) -> None:
    with (
        running(_answering(lambda: PlainTextResponse(body, status))) as url,
        Client(url) as client,
        pytest.raises(errors.ServerUnreachable),
    ):
        client.rank(QUERY, DOCUMENTS)


def test_another_rerank_servers_errors_are_read_by_status() -> None:
    with (
        running(_answering(lambda: PlainTextResponse('{"message": "who are you"}', 401))) as url,
        Client(url + "/v1/") as client,
        pytest.raises(errors.NotAuthenticated, match="who are you"),
    ):
        client.rank(QUERY, DOCUMENTS)


def test_a_loading_server_tells_its_models_state() -> None:
    with running_fake(FakeService(state=ModelState.LOADING)) as url, Client(url) as client:
        assert client.models()[0].state is ModelState.LOADING


def test_arguments_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="http://"):
        Client("localhost:8036")
    with Client("http://127.0.0.1:1") as client, pytest.raises(TypeError, match="put it in a list"):
        client.rank(QUERY, "one long text")
