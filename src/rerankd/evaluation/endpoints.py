"""Any rerank server by the whole URL of its endpoint: Cohere's body, else TEI's, and every usual form of answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeAlias, cast

import httpx2

from rerankd.client_wire import read_error
from rerankd.errors import DeadlineExceeded, InvalidRequest, ServerUnreachable, TryLater
from rerankd.types import JsonObject, JsonValue, Ranked, Ranking, ScoreType, Usage

_TRIES = 5
_LONGEST_WAIT_S = 10.0

Body: TypeAlias = Callable[[str, Sequence[str], str], JsonObject]


def _cohere(query: str, documents: Sequence[str], model: str) -> JsonObject:
    body = {"query": query, "documents": list(documents), "top_n": len(documents), "return_documents": False}
    return {**body, "model": model} if model else body


def _tei(query: str, documents: Sequence[str], model: str) -> JsonObject:
    del model
    return {"query": query, "texts": list(documents), "truncate": True}


_BODIES: Sequence[Body] = (_cohere, _tei)


class Endpoint:
    """One URL that reranks. The first request finds out which body it reads."""

    def __init__(self, url: str, *, api_key: str | None = None, model: str = "", timeout_s: float = 60) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._url = url
        self._model = model
        self._timeout_s = timeout_s
        self._body: Body | None = None
        local = httpx2.URL(url).host in {"localhost", "127.0.0.1", "::1"}
        self._http = httpx2.Client(headers=headers, timeout=timeout_s, trust_env=not local)

    def rank(self, query: str, documents: Sequence[str]) -> Ranking:
        """Rank all documents.

        Raises:
            RerankError: the server refused, or gave no answer, or one without a score for every document.
        """
        if self._body is not None:
            return self._read(self._sent(self._body(query, documents, self._model)), len(documents))
        refused: InvalidRequest | None = None
        for body in _BODIES:
            try:
                answer = self._sent(body(query, documents, self._model))
            except InvalidRequest as error:
                refused = refused or error
                continue
            self._body = body
            return self._read(answer, len(documents))
        raise refused or InvalidRequest("the endpoint refused every form of request")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _sent(self, body: JsonObject) -> JsonValue:
        for tries in range(_TRIES):
            try:
                response = self._http.post(self._url, json=body)
            except httpx2.TimeoutException as error:
                raise DeadlineExceeded(f"no answer from {self._url} within {self._timeout_s:g} s") from error
            except httpx2.HTTPError as error:
                raise ServerUnreachable(f"nothing answers at {self._url} ({type(error).__name__})") from error
            if response.is_success:
                return _json(response)
            failure = read_error(response)
            if not isinstance(failure, TryLater) or tries == _TRIES - 1:
                raise failure
            time.sleep(min(failure.retry_after_s, _LONGEST_WAIT_S))
        raise AssertionError("unreachable: the last try returns or raises")

    def _read(self, answer: JsonValue, count: int) -> Ranking:
        """Read a list of {index, score}, bare (TEI) or under "results" or "data"; `relevance_score` goes before."""
        nothing: JsonObject = {}
        fields = cast("JsonObject", answer) if isinstance(answer, Mapping) else nothing
        items = answer if isinstance(answer, list) else fields.get("results", fields.get("data"))
        try:
            ranked = [_ranked(cast("Mapping[str, float]", item)) for item in cast("Sequence[JsonValue]", items)]
        except (TypeError, KeyError, ValueError) as error:
            raise ServerUnreachable(f"the answer of {self._url} holds no ranking") from error
        if sorted(each.index for each in ranked) != list(range(count)):
            raise ServerUnreachable(f"{self._url} scored {len(ranked)} of {count} documents: it must score every one")
        usage = fields.get("usage")
        tokens = cast("Mapping[str, int]", usage).get("total_tokens") if isinstance(usage, Mapping) else None
        scores = [each.score for each in ranked]
        kind = ScoreType.PROBABILITY if all(0 <= score <= 1 for score in scores) else ScoreType.LOGIT
        return Ranking(tuple(ranked), str(fields.get("model", "")), kind, Usage(tokens=int(tokens or 0), pairs=count))


def _ranked(item: Mapping[str, float]) -> Ranked:
    return Ranked(int(item["index"]), float(item["relevance_score"] if "relevance_score" in item else item["score"]))


def _json(response: httpx2.Response) -> JsonValue:
    try:
        return cast("JsonValue", response.json())
    except ValueError as error:
        raise ServerUnreachable(f"the answer of {response.url} is not JSON") from error
