"""The dialect contract: one provider's API as pure functions between its JSON and our words. No I/O, no framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from rerankd.errors import RerankError
from rerankd.types import JsonObject, JsonValue, Ranking, RerankRequest


@dataclass(frozen=True, slots=True)
class Route:
    """One documented path of a dialect: what the OpenAPI document says of it.

    `examples` are request bodies by name. `request` is also the model that reads the body. `aliases` are further paths
    that do the same and are not documented one by one. `prefixed`: it exists under the dialect's prefix only, because
    the path without one is another dialect's. `error` is the model of its error bodies, None the standard one.
    """

    path: str
    summary: str
    request: type[BaseModel]
    response: type[BaseModel]
    examples: Mapping[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    aliases: Sequence[str] = ()
    prefixed: bool = False
    error: type[BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came: the normalised path without its dialect prefix ("/v1/rerank"), and the decoded body."""

    path: str
    body: JsonValue


@dataclass(frozen=True, slots=True)
class Reply:
    """What the answer should look like, as far as the caller has a say. Each dialect uses the fields that it knows.

    `document_strings` asks for documents as plain strings where the dialect would otherwise write objects. `shape` is a
    dialect's own word for one of several forms of its answer.
    """

    documents: bool = True
    document_strings: bool = False
    ranked_results: bool = False
    input_order_scores: bool = False
    version: str = "1"
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A read request: one rerank or several, and the shape of the answer. `requests` is never empty.

    `partial`: a request that fails does not fail the others; the dialect is an `AnswersEach`. `refused` are then the
    items that could not be read at all, by their place among all items; `requests` are the others, in order.
    """

    requests: tuple[RerankRequest, ...]
    reply: Reply = Reply()
    partial: bool = False
    refused: Mapping[int, RerankError] = field(default_factory=dict[int, RerankError])


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the rim adds to an answer: a unique id, and the time in whole seconds since 1970."""

    id: str
    created: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status, a body (None for an empty one), and headers beyond the usual."""

    status: int
    body: JsonValue
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Dialect(Protocol):
    """What a dialect module exports as `DIALECT`. Every route also exists under "/" + `name`."""

    @property
    def name(self) -> str:
        """The word that stands in paths, logs and metrics."""
        ...

    @property
    def routes(self) -> Sequence[Route]:
        """The documented paths, without prefix."""
        ...

    def parse(self, incoming: Incoming) -> Call:
        """Read a body.

        Raises:
            InvalidRequest: it is not one; the message says what was wrong, with the value.
        """
        ...

    def answer(self, call: Call, rankings: Sequence[Ranking], stamp: Stamp) -> Answer:
        """Write the answer; one ranking per request of the call, in order."""
        ...

    def refuse(self, error: RerankError) -> Answer:
        """Write an error in this provider's words. The rim adds Retry-After."""
        ...


@runtime_checkable
class AnswersEach(Protocol):
    """What a dialect adds whose calls may be `partial`."""

    def answer_each(self, call: Call, outcomes: Sequence[Ranking | RerankError], stamp: Stamp) -> Answer:
        """Write the answer: one outcome per request of the call, in order, at least one of them a ranking."""
        ...
