"""`/admin` in the OpenAPI document: what each path takes and answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic import JsonValue as Anything
from pydantic.json_schema import JsonSchemaMode

from rerankd.dialects.errors import error_body
from rerankd.types import JsonObject, JsonValue, ModelState

TAG: JsonObject = {
    "name": "admin",
    "description": "The models of a running server, for whoever runs it. Every path needs a key with the scope admin, "
    "and is closed where none is configured.",
}
SECURITY: JsonObject = {"type": "http", "scheme": "bearer", "description": "A key with the scope admin."}

_EVENTS = """\
event: progress
data: {"model": "bge-reranker-base", "state": "downloading", "done_bytes": 1048576, "total_bytes": 1112201288}

event: done
data: {"model": "bge-reranker-base", "state": "ready", "memory_bytes": 1112201288}

"""
_NAME: JsonObject = {"model": "BAAI/bge-reranker-base"}
_ERRORS = (
    (400, "The body is not a request, or the name means nothing here; the message says why.", "invalid_request"),
    (401, "A key is needed.", "not_authenticated"),
    (403, "The key has not the scope admin, or the server has no key that has.", "not_allowed"),
    (404, "The model is not served here.", "model_not_found"),
    (409, "It is in use, or being changed, or one of several processes would be changed alone.", "conflict"),
    (413, "The body is over a limit.", "request_too_large"),
    (500, "It failed in a way nobody foresaw.", "engine_failure"),
    (503, "The model cannot be fetched or made ready; the message says why.", "download_failed"),
)


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ModelNamed(BaseModel):
    """Which model is meant."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str = Field(min_length=1)
    """A served model's name, or whatever `rerankd serve` takes."""


class ModelsNamed(BaseModel):
    """Which models are meant."""

    models: list[str] = Field(min_length=1)


class Far(_Words):
    """How far a download is, in bytes."""

    done_bytes: int
    total_bytes: int


class Certificate(_Words):
    """How far scores were from a reference's at most, as `rerankd verify` measured it."""

    max_abs_diff: float
    reference: str
    precision: str


class ServedModel(_Words):
    """One served model; what is not known of it is left out."""

    id: str
    names: list[str]
    state: ModelState
    engine: str
    precision: str
    score_type: str
    max_tokens: int
    fingerprint: str
    memory_bytes: int
    in_flight: int
    revision: str = ""
    updating: ModelState | None = None
    score_from: str = ""
    precision_reason: str = ""
    agreement: dict[str, Anything] = Field(default_factory=dict[str, Anything])
    verified: Certificate | None = None
    golden: dict[str, Anything] = Field(default_factory=dict[str, Anything])
    failure: str = ""
    progress: Far | None = None


class ServedModels(_Words):
    """What is served, the default first."""

    models: list[ServedModel]


class KnownModel(_Words):
    """One model that is known by name or lies on the server's machine; `here_bytes` is null where it does not."""

    id: str
    names: list[str]
    title: str = ""
    description: str = ""
    languages: list[str] = Field(default_factory=list[str])
    licence: str = ""
    family: str = ""
    max_tokens: int | None = None
    parameters_millions: float | None = None
    precision_advice: str = ""
    served: bool | None = None
    source: str = ""
    base: str = ""
    facts_from: str = ""
    here_bytes: int | None


class KnownModels(_Words):
    """What is known."""

    models: list[KnownModel]


class Change(_Words):
    """One change of what a revision means."""

    how: str
    before: str
    after: str
    at: str
    ndcg_before: float | None
    ndcg_after: float | None
    revision: str


class ShownModel(KnownModel):
    """One model: its card where it has one, its files with their sizes, what has happened to its revision."""

    revision: str
    files: dict[str, int]
    history: list[Change]
    quality: dict[str, Anything]


class Pulled(_Words):
    """What was fetched."""

    model: str
    names: list[str]
    was_here: bool
    bytes: int


class Loaded(_Words):
    """What was loaded."""

    model: str
    state: ModelState
    memory_bytes: int


class Renewed(_Words):
    """The revisions before and after, and nDCG@10 on the golden set where it was measured."""

    model: str
    how: Literal["updated", "rolled back", "unchanged"]
    before: str
    after: str
    ndcg_before: float | None
    ndcg_after: float | None


class Removed(_Words):
    """What is free again."""

    model: str
    bytes: int


class Bundled(_Words):
    """A bundle that waits at `download` to be fetched once."""

    sha256: str
    models: list[str]
    bytes: int
    download: str


class Imported(_Words):
    """What came in a bundle."""

    sha256: str
    models: list[str]
    bytes: int


@dataclass(frozen=True, slots=True)
class _Operation:
    """One path: what it does, its body, its answer (None: a tar file), and whether it can tell how far it is."""

    summary: str
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    example: JsonObject | None = None
    tells: bool = False
    query: str = ""


_GETS: Mapping[str, _Operation] = {
    "ps": _Operation("List what is served, with state, memory and requests in flight", ServedModels),
    "list": _Operation("List every model that is known by name or lies on this machine", KnownModels),
    "show": _Operation("Tell what is known of one model", ShownModel, query="model"),
    "bundle/export/{id}": _Operation("Fetch a bundle that was exported, once", None),
}
_POSTS: Mapping[str, _Operation] = {
    "pull": _Operation("Fetch a model's files", Pulled, ModelNamed, tells=True),
    "load": _Operation("Load a model, and serve it from now on", Loaded, ModelNamed, tells=True),
    "unload": _Operation("Take a model out of memory", ServedModel, ModelNamed),
    "update": _Operation("Use the newest revision of a model", Renewed, ModelNamed, tells=True),
    "rollback": _Operation("Use the revision before the last update", Renewed, ModelNamed, tells=True),
    "rm": _Operation("Delete a model's files", Removed, ModelNamed),
    "bundle/export": _Operation(
        "Write models to a bundle", None, ModelsNamed, {"models": ["BAAI/bge-reranker-base"]}, tells=True
    ),
    "bundle/import": _Operation("Check a bundle and take its models in", Imported, tells=True, query="sha256"),
}

SCHEMAS: Sequence[tuple[type[BaseModel], JsonSchemaMode]] = (
    *((each, "validation") for each in (ModelNamed, ModelsNamed)),
    *((one.answer, "serialization") for one in (*_GETS.values(), *_POSTS.values()) if one.answer),
    (Bundled, "serialization"),
)
"""The models whose schemas the document needs."""


def paths(names: Mapping[tuple[type[BaseModel], JsonSchemaMode], str], error: str) -> dict[str, JsonValue]:
    """Write every path; `names` are where the schemas stand in the document, `error` is that of an error's body."""
    found: dict[str, JsonValue] = {}
    for method, operations in (("get", _GETS), ("post", _POSTS)):
        for name, operation in operations.items():
            found[f"/admin/{name}"] = {method: _written(f"{method}_admin_{name}", operation, names, error)}
    return found


def _written(
    name: str, operation: _Operation, names: Mapping[tuple[type[BaseModel], JsonSchemaMode], str], error: str
) -> JsonValue:
    written: dict[str, JsonValue] = {
        "summary": operation.summary,
        "operationId": name.replace("/", "_").replace("{", "").replace("}", ""),
        "tags": ["admin"],
        "security": [{"admin": []}],
        "responses": {"200": _answer(operation, names), **_errors(error)},
    }
    parameters: list[JsonValue] = [
        *([_parameter("id", "path")] if "{id}" in name else []),
        *([_parameter(operation.query, "query")] if operation.query else []),
    ]
    if parameters:
        written["parameters"] = parameters
    if operation.body:
        schema: JsonValue = {"$ref": names[operation.body, "validation"]}
        content: JsonObject = {"application/json": {"schema": schema, "example": operation.example or _NAME}}
        written["requestBody"] = {"required": True, "content": content}
    elif name.endswith("bundle/import"):
        file: JsonValue = {"schema": {"type": "string", "format": "binary"}}
        written["requestBody"] = {"required": True, "content": {"application/octet-stream": file}}
    return written


def _answer(operation: _Operation, names: Mapping[tuple[type[BaseModel], JsonSchemaMode], str]) -> JsonValue:
    content: dict[str, JsonValue] = {}
    if operation.answer:
        content["application/json"] = {"schema": {"$ref": names[operation.answer, "serialization"]}}
    else:
        content["application/x-tar"] = {}
    said = operation.summary + "."
    if operation.tells:
        said += (
            " With `Accept: text/event-stream` it tells on the way how far it is; the last event is `done` or `error`."
        )
        content["text/event-stream"] = {"schema": {"type": "string"}, "example": _EVENTS}
    return {"description": said, "content": content}


def _errors(schema: str) -> dict[str, JsonValue]:
    return {
        str(status): {
            "description": said,
            "content": {
                "application/json": {"schema": {"$ref": schema}, "example": error_body(said, status=status, kind=kind)}
            },
        }
        for status, said, kind in _ERRORS
    }


def _parameter(name: str, place: str) -> JsonValue:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
