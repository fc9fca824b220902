"""A typed client of a rerankd server: the same methods as the in-process Reranker, over HTTP.

Client and AsyncClient differ only in who waits. What is sent, how answers become types, and which failures are worth
a second try is said once, in functions that both use.
"""

import asyncio
import ipaddress
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, cast

import httpx2

from rerankd.client_wire import read_error, read_models, read_ranking, request_body
from rerankd.errors import DeadlineExceeded, RerankError, ServerUnreachable, TryLater
from rerankd.types import Document, JsonObject, JsonValue, ModelInfo, Pair, Ranking, RerankRequest

DEFAULT_URL = "http://127.0.0.1:8036"
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0

PairLike = Pair | tuple[str, str]
DocumentLike = str | Document


class Client:
    """Asks a server; blocks until it answers.

    `model` is what `rank` and `score` use where they name none; "" leaves the choice to the server. A request that
    meets a full queue, a loading model or a broken connection is sent again up to `retries` times, after the wait that
    the server asks for, unless that is longer than ten seconds.

        with Client() as client:
            for hit in client.rank("capital of France", ["Paris.", "Bananas."]):
                print(hit.index, hit.score)
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = 60,
        model: str = "",
        retries: int = 2,
    ) -> None:
        self._server = _Server(base_url, timeout_s, retries)
        self._model = model
        self._http = httpx2.Client(
            base_url=self._server.url,
            headers=_headers(api_key),
            timeout=timeout_s,
            trust_env=not _is_loopback(self._server.url),
        )

    def rank(
        self, query: str, documents: Sequence[DocumentLike], *, top_n: int | None = None, model: str = "",
        instruction: str = "",
    ) -> Ranking:  # fmt: skip
        """Rank documents by relevance to a query, best first.

        Raises:
            RerankError: what the server raised, by kind; ServerUnreachable where there was no answer.
        """
        request = _request(query, documents, top_n, model or self._model, instruction)
        return read_ranking(self._send("POST", "/v1/rerank", request_body(request)))

    def score(self, pairs: Sequence[PairLike], *, model: str = "") -> list[float]:
        """Score (query, document) pairs, in the order given; one request per distinct query.

        Raises:
            RerankError: as `rank`.
        """
        groups = _by_query(pairs)
        rankings = [self.rank(query, [document for _, document in group], model=model) for query, group in groups]
        return _in_order(groups, rankings)

    def models(self) -> tuple[ModelInfo, ...]:
        """List the server's models, its default first.

        Raises:
            RerankError: as `rank`.
        """
        return read_models(self._send("GET", "/v1/models", None))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _send(self, method: str, path: str, body: JsonObject | None) -> JsonObject:
        tries = 0
        while True:
            try:
                return self._server.read(self._http.request(method, path, json=body))
            except (httpx2.HTTPError, TryLater) as error:
                wait_s = self._server.wait_before_retry(error, tries)
                if wait_s is None:
                    raise self._server.failure(error) from _cause(error)
            tries += 1
            time.sleep(wait_s)


class AsyncClient:
    """Client, for asyncio: the same arguments and methods, awaited."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = 60,
        model: str = "",
        retries: int = 2,
    ) -> None:
        self._server = _Server(base_url, timeout_s, retries)
        self._model = model
        self._http = httpx2.AsyncClient(
            base_url=self._server.url,
            headers=_headers(api_key),
            timeout=timeout_s,
            trust_env=not _is_loopback(self._server.url),
        )

    async def rank(
        self, query: str, documents: Sequence[DocumentLike], *, top_n: int | None = None, model: str = "",
        instruction: str = "",
    ) -> Ranking:  # fmt: skip
        """Rank documents by relevance to a query, best first.

        Raises:
            RerankError: what the server raised, by kind; ServerUnreachable where there was no answer.
        """
        request = _request(query, documents, top_n, model or self._model, instruction)
        return read_ranking(await self._send("POST", "/v1/rerank", request_body(request)))

    async def score(self, pairs: Sequence[PairLike], *, model: str = "") -> list[float]:
        """Score (query, document) pairs, in the order given; one request per distinct query, one after the other.

        Raises:
            RerankError: as `rank`.
        """
        groups = _by_query(pairs)
        rankings = [await self.rank(query, [document for _, document in group], model=model) for query, group in groups]
        return _in_order(groups, rankings)

    async def models(self) -> tuple[ModelInfo, ...]:
        """List the server's models, its default first.

        Raises:
            RerankError: as `rank`.
        """
        return read_models(await self._send("GET", "/v1/models", None))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, method: str, path: str, body: JsonObject | None) -> JsonObject:
        tries = 0
        while True:
            try:
                return self._server.read(await self._http.request(method, path, json=body))
            except (httpx2.HTTPError, TryLater) as error:
                wait_s = self._server.wait_before_retry(error, tries)
                if wait_s is None:
                    raise self._server.failure(error) from _cause(error)
            tries += 1
            await asyncio.sleep(wait_s)


class _Server:
    """Where requests go, and what to make of an answer or of none."""

    def __init__(self, base_url: str, timeout_s: float, retries: int) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
        self.url = base_url.rstrip("/").removesuffix("/v1")
        self._timeout_s = timeout_s
        self._retries = retries

    def read(self, response: httpx2.Response) -> JsonObject:
        """Return the JSON object of a good answer; raise what a bad one means."""
        if not response.is_success:
            raise read_error(response)
        try:
            body = cast("JsonValue", response.json())
        except ValueError as error:
            raise self._unreachable("the answer is not JSON") from error
        if not isinstance(body, Mapping):
            raise self._unreachable("the answer is not a JSON object")
        return cast("JsonObject", body)

    def wait_before_retry(self, error: httpx2.HTTPError | TryLater, tries: int) -> float | None:
        """Say how long to wait for the next try, in seconds; None to give up."""
        lasting = isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout)
        passing = isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError | httpx2.ConnectTimeout | TryLater)
        if tries >= self._retries or lasting or not passing:
            return None
        wait_s = max(_FIRST_WAIT_S * 2**tries, error.retry_after_s if isinstance(error, TryLater) else 0.0)
        return wait_s if wait_s <= _LONGEST_WAIT_S else None

    def failure(self, error: httpx2.HTTPError | TryLater) -> RerankError:
        """Say what a failure means for the caller."""
        if isinstance(error, RerankError):
            return error
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return self._unreachable("nothing answers")
        if isinstance(error, httpx2.TimeoutException):
            return DeadlineExceeded(
                f"no answer from {self.url} within {self._timeout_s:g} s: raise timeout_s, or send fewer documents"
            )
        return self._unreachable(f"the connection broke ({type(error).__name__})")

    def _unreachable(self, what: str) -> ServerUnreachable:
        return ServerUnreachable(
            f"{what} at {self.url}: start a server with `rerankd serve`, or set base_url to where one runs"
        )


def _request(
    query: str, documents: Sequence[DocumentLike], top_n: int | None, model: str, instruction: str
) -> RerankRequest:
    if isinstance(documents, str):
        raise TypeError("documents must be a sequence of documents, got one string: put it in a list")
    wrapped = tuple(Document(item) if isinstance(item, str) else item for item in documents)
    return RerankRequest(query=query, documents=wrapped, model=model, top_n=top_n, instruction=instruction)


_Groups = Sequence[tuple[str, Sequence[tuple[int, str]]]]


def _by_query(pairs: Sequence[PairLike]) -> _Groups:
    groups: dict[str, list[tuple[int, str]]] = {}
    for place, pair in enumerate(pairs):
        query, document = (pair.query, pair.document) if isinstance(pair, Pair) else pair
        groups.setdefault(query, []).append((place, document))
    return list(groups.items())


def _in_order(groups: _Groups, rankings: Sequence[Ranking]) -> list[float]:
    scores: dict[int, float] = {}
    for (_, group), ranking in zip(groups, rankings, strict=True):
        if sorted(hit.index for hit in ranking) != list(range(len(group))):
            raise ServerUnreachable("the answer does not score every document once: is base_url a rerankd server?")
        scores |= {group[hit.index][0]: hit.score for hit in ranking}
    return [scores[place] for place in range(len(scores))]


def _cause(error: httpx2.HTTPError | TryLater) -> BaseException | None:
    return error.__cause__ if isinstance(error, TryLater) else error


def _headers(api_key: str | None) -> Mapping[str, str]:
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def _is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine: then a proxy from the environment is not meant."""
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
