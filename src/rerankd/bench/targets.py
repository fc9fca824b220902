"""What a load can be sent to: a model in this process, or a rerank server of any make."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, cast

import httpx2

from rerankd.bench.process import cpu_seconds
from rerankd.bench.requests import BenchRequest
from rerankd.errors import ConfigError, DeadlineExceeded, RerankError, ServerUnreachable
from rerankd.reranker import AsyncReranker
from rerankd.types import JsonObject, JsonValue

Body = Literal["standard", "tei", "voyage", "nim"]

DIALECTS: Mapping[str, tuple[tuple[str, Body], ...]] = {
    "auto": (
        ("/v1/rerank", "standard"),
        ("/rerank", "standard"),
        ("/v2/rerank", "standard"),
        ("/rerank", "tei"),
        ("/v1/rerank", "voyage"),
        ("/v1/ranking", "nim"),
    ),
    "cohere": (("/v2/rerank", "standard"), ("/v1/rerank", "standard")),
    "infinity": (("/rerank", "standard"),),
    "jina": (("/v1/rerank", "standard"),),
    "llamacpp": (("/v1/rerank", "standard"),),
    "nim": (("/v1/ranking", "nim"),),
    "tei": (("/rerank", "tei"),),
    "vllm": (("/v1/rerank", "standard"),),
    "voyage": (("/v1/rerank", "voyage"),),
    "xinference": (("/v1/rerank", "standard"),),
}
"""Paths and bodies to try, in order, for each way to speak to a server."""

_TIMEOUT_S = 300.0
_TRIED = BenchRequest("What is the capital of France?", ("Bananas are yellow.", "Paris is the capital of France."))


@dataclass(frozen=True, slots=True)
class InProcess:
    """A model in this process, by the same path from request to ranking as in the server."""

    reranker: AsyncReranker
    name: str = "rerankd"
    local: bool = True

    async def rank(self, request: BenchRequest) -> Sequence[float]:
        """See `load.Target`."""
        ranking = await self.reranker.rank(request.query, request.documents)
        scores = [0.0] * len(request.documents)
        for hit in ranking:
            scores[hit.index] = hit.score
        return scores

    def cpu_seconds(self) -> float | None:
        """CPU time of this process, the little that the load itself takes included."""
        return time.process_time()


class HttpTarget:
    """A server. An async context manager: entering it finds out how the server wants to be asked.

    `url` is the server's address, or the full URL that requests are posted to. `pid` is the server's process where it
    runs on this machine: then its CPU time is known.
    """

    def __init__(
        self, url: str, *, name: str = "", dialect: str = "auto", model: str = "", key: str = "", pid: int | None = None
    ) -> None:
        """Set up; nothing is sent yet.

        Raises:
            ConfigError: `url` is no URL, or there is no such dialect.
        """
        if dialect not in DIALECTS:
            raise ConfigError(f"dialect {dialect!r} is not known (known: {', '.join(DIALECTS)})")
        try:
            parsed = httpx2.URL(url if "://" in url else f"http://{url}")
        except httpx2.InvalidURL as error:
            raise ConfigError(f"{url!r} is no URL: {error}") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ConfigError(f"{url!r} is no URL of a server: write it like http://127.0.0.1:8036")
        self._url = str(parsed).rstrip("/")
        self.name = name or parsed.netloc.decode("ascii")
        self._ways = DIALECTS[dialect]
        self._model = model
        self._pid = pid
        self._endpoint = ""
        self._body: Body = self._ways[0][1]
        self._http = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=_TIMEOUT_S,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            trust_env=not _is_loopback(parsed.host),
        )
        self.local = _is_loopback(parsed.host)

    async def __aenter__(self) -> Self:
        """Find the endpoint by a small request, and the model's name where none is given.

        Raises:
            ServerUnreachable: nothing answers, or no way to ask gives scores; the message has every answer.
        """
        try:
            self._model = self._model or await self._first_model()
            await self._find_endpoint()
        except BaseException:
            await self._http.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._http.aclose()

    @property
    def endpoint(self) -> str:
        """The URL that requests are posted to."""
        return self._endpoint

    async def rank(self, request: BenchRequest) -> Sequence[float]:
        """See `load.Target`. Nothing is sent twice: an error is an error."""
        return await self._ask(self._endpoint, self._body, request)

    def cpu_seconds(self) -> float | None:
        """The server process's, where it is known."""
        return None if self._pid is None else cpu_seconds(self._pid)

    async def _find_endpoint(self) -> None:
        refusals: list[str] = []
        full = "rank" in httpx2.URL(self._url).path
        tried: set[tuple[str, Body]] = set()
        for path, body in self._ways:
            endpoint = self._url if full else self._url.removesuffix("/v1") + path
            if (endpoint, body) in tried:
                continue
            tried |= {(endpoint, body)}
            try:
                await self._ask(endpoint, body, _TRIED)
            except RerankError as error:
                refusals.append(f"{httpx2.URL(endpoint).path} ({body}): {error}")
                continue
            self._endpoint, self._body = endpoint, body
            return
        raise ServerUnreachable(f"{self._url} does not rerank: " + "; ".join(refusals))

    async def _ask(self, endpoint: str, body: Body, request: BenchRequest) -> Sequence[float]:
        try:
            response = await self._http.post(endpoint, json=_write(body, request, self._model))
            answer = cast("JsonValue", response.json()) if response.is_success else None
        except httpx2.TimeoutException as error:
            raise DeadlineExceeded(f"no answer within {_TIMEOUT_S:g} s") from error
        except httpx2.HTTPError as error:
            raise ServerUnreachable(f"the connection failed ({type(error).__name__})") from error
        except ValueError as error:
            raise ServerUnreachable("the answer is not JSON") from error
        if not response.is_success:
            raise ServerUnreachable(f"HTTP {response.status_code}: {response.text[:200]}")
        scores = read_scores(answer, len(request.documents))
        if scores is None:
            raise ServerUnreachable(f"the answer does not score every document once: {response.text[:200]}")
        return scores

    async def _first_model(self) -> str:
        """Ask for the name of the server's first model; "" where it does not tell."""
        base = self._url.partition("://")
        origin = f"{base[0]}://{base[2].partition('/')[0]}"
        for path in ("/v1/models", "/models"):
            try:
                listed = cast("JsonValue", (await self._http.get(origin + path, timeout=10)).json())
            except (httpx2.HTTPError, ValueError):
                continue
            data = listed.get("data") if isinstance(listed, dict) else None
            for item in data if isinstance(data, list) else ():
                if isinstance(item, dict) and item.get("id"):
                    return str(item["id"])
        return ""


def read_scores(answer: JsonValue, documents: int) -> list[float] | None:
    """Find a score per document, in their order, in an answer of any of the dialects; None where it is not there.

    Scores come as objects with an index in a list, bare or under `results`, `data` or `rankings`, or as plain numbers
    in input order, bare or under `scores`.
    """
    found = answer
    if isinstance(answer, dict):
        found = next((answer[key] for key in ("results", "data", "rankings", "scores") if key in answer), None)
    if not isinstance(found, list) or len(found) != documents:
        return None
    scores: dict[int, float] = {}
    for place, item in enumerate(found):
        index, score = _ranked(item, place)
        if isinstance(index, int) and isinstance(score, int | float):
            scores[index] = float(score)
    return [scores[i] for i in range(documents)] if sorted(scores) == list(range(documents)) else None


def _ranked(item: JsonValue, place: int) -> tuple[JsonValue, JsonValue]:
    if not isinstance(item, dict):
        return place, item
    score = next((item[key] for key in ("relevance_score", "score", "logit") if key in item), None)
    return item.get("index"), score


def _write(body: Body, request: BenchRequest, model: str) -> JsonObject:
    named: JsonObject = {"model": model} if model else {}
    texts = list(request.documents)
    match body:
        case "standard":
            # All are wanted, and no copies of them: some servers cut the list or send the texts back by default.
            return {**named, "query": request.query, "documents": texts, "top_n": len(texts), "return_documents": False}
        case "tei":
            return {"query": request.query, "texts": texts, "truncate": True}
        case "voyage":
            return {**named, "query": request.query, "documents": texts}
        case "nim":
            passages: JsonValue = [{"text": text} for text in texts]
            return {**named, "query": {"text": request.query}, "passages": passages, "truncate": "END"}


def _is_loopback(host: str) -> bool:
    """A proxy from the environment is not meant for what runs here."""
    return host in {"localhost", "::1"} or host.startswith("127.")
