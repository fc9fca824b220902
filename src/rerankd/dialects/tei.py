"""Hugging Face's text-embeddings-inference: `texts` in, a bare array out; `/predict` for pairs; errors in its words.

Statuses, error types and headers are those of TEI 1.9 (`router/src/http`). Where TEI has no word, for keys and for
models, an error still has `error` and `error_type`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, RootModel, WithJsonSchema

from rerankd.dialects import errors
from rerankd.dialects.base import Answer, Call, Incoming, Reply, Route, Stamp
from rerankd.dialects.reading import Count, Documents, Flag, Name, Text, documents_from, read, show
from rerankd.errors import (
    DeadlineExceeded,
    EmptyDocuments,
    EngineFailure,
    InvalidRequest,
    ModelLoadError,
    ModelNotReady,
    NotAllowed,
    NotAuthenticated,
    RequestTooLarge,
    RerankError,
    TryLater,
)
from rerankd.types import Document, JsonObject, JsonValue, Ranking, RerankRequest

_LABEL = "LABEL_0"
_PAIR = "pair"
_PAIRS = "pairs"
_MOST_QUERIES = 1024
"""Changes of query in one `/predict`: each is a request of its own to the scheduler."""
_REFUSALS: tuple[tuple[type[RerankError], int, str], ...] = (
    (EmptyDocuments, 400, "Empty"),
    (InvalidRequest, 422, "Validation"),
    (NotAuthenticated, 401, "Unauthorized"),
    (NotAllowed, 403, "Forbidden"),
    (ModelNotReady, 503, "Unhealthy"),
    (ModelLoadError, 503, "Unhealthy"),
    (TryLater, 429, "Overloaded"),
    (DeadlineExceeded, 504, "Backend"),
    (EngineFailure, 424, "Backend"),
)
_RERANK: JsonObject = {
    "query": "What is the capital of France?",
    "texts": ["Bananas are yellow.", "Paris is the capital of France."],
    "return_text": True,
}
_PREDICT: JsonObject = {"inputs": [["What is the capital of France?", "Paris is the capital of France."]]}
_ONE_PAIR: JsonObject = {"inputs": ["What is the capital of France?", "Paris is the capital of France."]}

Inputs = Annotated[
    object,
    BeforeValidator(lambda value: value),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
                },
            ]
        }
    ),
]
"""One pair of query and text, or a list of pairs; `_pairs` reads it."""


class TeiRerankRequest(BaseModel):
    """A query and texts. Unknown keys are ignored; null means absent. `documents` is taken for `texts`, too."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    query: Text
    """What is looked for."""
    texts: Documents
    """The candidates."""
    truncate: Flag = True
    """False makes a text that is too long an error instead of a cut. Texts are always cut at their end."""
    raw_scores: Flag = False
    """Answer with the model's own numbers instead of probabilities."""
    return_text: Flag = False
    """Whether the answer repeats the texts."""
    return_documents: Flag = False
    """Elasticsearch's word for the same."""
    top_n: Count = None
    """How many to return, best first; absent or 0: all."""
    model: Name = ""
    """A served model's name; absent: the server's default."""


class TeiRank(BaseModel):
    """One place in the ranking."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    index: int
    """Position in the request's `texts`."""
    text: str | None = None
    """Only with `return_text: true`."""
    score: float
    """Between 0 and 1 unless raw scores were asked for; higher is better."""


class TeiRanking(RootModel[list[TeiRank]]):
    """The ranking, best first: a bare array."""


class TeiPredictRequest(BaseModel):
    """Pairs to score. Unknown keys are ignored; null means absent."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    inputs: Inputs
    """One pair `["query", "text"]`, or a list of pairs."""
    truncate: Flag = True
    """False makes a pair that is too long an error instead of a cut."""
    raw_scores: Flag = False
    """Answer with the model's own numbers instead of probabilities."""
    model: Name = ""
    """A served model's name; absent: the server's default."""


class TeiPrediction(BaseModel):
    """A pair's score under the only label a reranker has."""

    model_config = ConfigDict(extra="forbid")

    score: float
    label: str


class TeiPredictions(RootModel[list[TeiPrediction] | list[list[TeiPrediction]]]):
    """A list of one for one pair, a list of such lists for a list of pairs; in the order of the request."""


class TeiError(BaseModel):
    """What went wrong, in one sentence, and TEI's word for it."""

    model_config = ConfigDict(extra="forbid")

    error: str
    error_type: str


class _NothingSent(EmptyDocuments):
    """Nothing to score, in TEI's own sentence, which its clients compare."""

    def __init__(self, field: str) -> None:
        InvalidRequest.__init__(self, f"`{field}` cannot be empty", field=field)


@dataclass(frozen=True, slots=True)
class TeiDialect:
    """See the module."""

    name: str = "tei"

    @property
    def routes(self) -> Sequence[Route]:
        """TEI's own paths, and `/v1/rerank`, where Cherry Studio posts TEI's bodies."""
        return (
            Route(
                path="/rerank",
                summary="Rank documents by relevance to a query",
                request=TeiRerankRequest,
                response=TeiRanking,
                examples={"As TEI's clients send it": _RERANK},
                aliases=("/v1/rerank", "/", "/invocations"),
                error=TeiError,
            ),
            Route(
                path="/predict",
                summary="Score pairs of query and text",
                request=TeiPredictRequest,
                response=TeiPredictions,
                examples={"Pairs": _PREDICT, "One pair": _ONE_PAIR},
                error=TeiError,
            ),
        )

    def parse(self, incoming: Incoming) -> Call:
        """Read a body; see `TeiRerankRequest` and `TeiPredictRequest`."""
        return _parse_predict(incoming.body) if incoming.path == "/predict" else _parse_rerank(incoming.body)

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write the bare array, with what the work cost in headers."""
        del stamp  # TEI's answers have no id
        body = _ranks(call, rankings) if not call.reply.shape else _predictions(call, rankings)
        return Answer(200, body, _headers(call, rankings))

    def refuse(self, error: RerankError) -> Answer:
        """Write `error` and `error_type`. A body over the server's size is 413; too many texts are 422, as in TEI."""
        found = ((status, word) for kind, status, word in _REFUSALS if isinstance(error, kind))
        status, word = next(found, (errors.status_of(error), "Validation"))
        if isinstance(error, RequestTooLarge) and not error.field:
            status = errors.status_of(error)
        return Answer(status, {"error": str(error), "error_type": word})


def _parse_rerank(body: JsonValue) -> Call:
    key, body = _texts_of(body)
    wire = read(TeiRerankRequest, body)
    if not wire.texts:
        raise _NothingSent(key)
    request = RerankRequest(
        model=wire.model,
        query=wire.query,
        documents=documents_from(cast("list[JsonValue]", wire.texts), field=key),
        top_n=wire.top_n or None,
        raw_scores=wire.raw_scores,
        truncate=wire.truncate,
    )
    return Call((request,), Reply(documents=wire.return_text or wire.return_documents))


def _texts_of(body: JsonValue) -> tuple[str, JsonValue]:
    """Find the candidates under `texts` or `documents` (Elasticsearch); return the key, and the body with `texts`."""
    if not isinstance(body, Mapping):
        return "texts", body
    sent = cast("JsonObject", body)
    if sent.get("documents") is None:
        return "texts", sent
    if sent.get("texts") is not None:
        raise InvalidRequest("`texts` and `documents` were both sent: send one of them", field="texts")
    return "documents", {**sent, "texts": sent["documents"]}


def _parse_predict(body: JsonValue) -> Call:
    wire = read(TeiPredictRequest, body)
    shape, pairs = _pairs(cast("JsonValue", wire.inputs))
    # A request has one query: neighbours that share theirs are scored together, and the order stays.
    runs = [(query, [text for _, text in run]) for query, run in groupby(pairs, key=lambda pair: pair[0])]
    if len(runs) > _MOST_QUERIES:
        raise RequestTooLarge(
            f"`inputs` changes its query {len(runs)} times, and {_MOST_QUERIES} are allowed: send fewer pairs at once",
            field="inputs",
        )
    requests = tuple(
        RerankRequest(
            model=wire.model,
            query=query,
            documents=tuple(Document(text) for text in texts),
            raw_scores=wire.raw_scores,
            truncate=wire.truncate,
        )
        for query, texts in runs
    )
    return Call(requests, Reply(shape=shape))


def _pairs(inputs: JsonValue) -> tuple[str, Sequence[tuple[str, str]]]:
    """Read one pair or a list of pairs; return which of the two it was, and the pairs."""
    if isinstance(inputs, str):
        raise _no_pair("inputs", inputs)
    if not isinstance(inputs, Sequence):
        message = f'`inputs` must be ["query", "text"] or a list of such pairs, got {show(inputs)}'
        raise InvalidRequest(message, field="inputs")
    if not inputs:
        raise _NothingSent("inputs")
    if all(isinstance(part, str) for part in inputs):
        return _PAIR, [_pair(inputs, "inputs")]
    return _PAIRS, [_pair(item, f"inputs[{i}]") for i, item in enumerate(inputs)]


def _pair(item: JsonValue, where: str) -> tuple[str, str]:
    if isinstance(item, str) or not isinstance(item, Sequence) or len(item) != 2:
        raise _no_pair(where, item)
    query, text = item
    if not (isinstance(query, str) and isinstance(text, str)):
        raise _no_pair(where, item)
    return query, text


def _no_pair(where: str, got: JsonValue) -> InvalidRequest:
    return InvalidRequest(
        f'`{where}` must be a pair of strings: a reranker scores ["query", "text"], got {show(got)}', field=where
    )


def _ranks(call: Call, rankings: Sequence[Ranking]) -> JsonValue:
    (request,), (ranking,) = call.requests, rankings
    return [
        {"index": hit.index}
        | ({"text": request.documents[hit.index].text} if call.reply.documents else {})
        | {"score": hit.score}
        for hit in ranking
    ]


def _predictions(call: Call, rankings: Sequence[Ranking]) -> JsonValue:
    in_order = [hit for ranking in rankings for hit in sorted(ranking, key=lambda hit: hit.index)]
    predictions: list[JsonValue] = [[{"score": hit.score, "label": _LABEL}] for hit in in_order]
    return predictions[0] if call.reply.shape == _PAIR else predictions


def _headers(call: Call, rankings: Sequence[Ranking]) -> Mapping[str, str]:
    """Write TEI's headers: whole milliseconds, of the slowest query where there are several.

    Waiting and computing are measured as one: `x-inference-time` holds both, and `x-queue-time` is 0. What kind of
    device computes is not known here.
    """
    characters = sum(len(one.query) + len(document.text) for one in call.requests for document in one.documents)
    total = _milliseconds([ranking.timing.total_s for ranking in rankings])
    return {
        "x-compute-type": "unspecified",
        "x-compute-time": total,
        "x-compute-characters": str(characters),
        "x-compute-tokens": str(sum(ranking.usage.tokens for ranking in rankings)),
        "x-total-time": total,
        "x-tokenization-time": _milliseconds([ranking.timing.tokenization_s for ranking in rankings]),
        "x-queue-time": "0",
        "x-inference-time": _milliseconds([ranking.timing.inference_s for ranking in rankings]),
    }


def _milliseconds(seconds: Sequence[float]) -> str:
    return str(int(max(seconds) * 1000))


DIALECT = TeiDialect()
