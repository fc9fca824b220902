"""What every dialect must do, ours and third parties'."""

import json
from typing import Any, cast

import pytest

from fake_service import rank
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.dialects.detect import normalise
from rerankd.errors import (
    DeadlineExceeded,
    EmptyDocuments,
    EngineFailure,
    InvalidRequest,
    ModelLoadError,
    ModelNotFound,
    ModelNotReady,
    NotAllowed,
    NotAuthenticated,
    Overloaded,
    RateLimited,
    RequestTooLarge,
    RerankError,
)

NAMES = plugins.names("dialects")
ERRORS: list[tuple[RerankError, int, int]] = [
    (InvalidRequest("no", field="query"), 400, 422),
    (EmptyDocuments(), 400, 422),
    (RequestTooLarge("no"), 413, 422),
    (NotAuthenticated("no"), 401, 401),
    (NotAllowed("no"), 403, 403),
    (ModelNotFound("x", ["y"]), 400, 404),
    (RateLimited("no", retry_after_s=1), 429, 429),
    (Overloaded("no", retry_after_s=1), 429, 503),
    (ModelNotReady("no", retry_after_s=1), 503, 503),
    (DeadlineExceeded("no"), 500, 504),
    (EngineFailure("no"), 424, 500),
    (ModelLoadError("no"), 500, 503),
]


def _load(name: str) -> Dialect:
    return cast("Dialect", plugins.load("dialects", name))


@pytest.mark.parametrize("name", NAMES)
def test_a_dialect_is_named_as_its_file_and_has_clean_paths(name: str) -> None:
    dialect = _load(name)
    assert dialect.name == name
    assert dialect.routes
    for route in dialect.routes:
        for path in (route.path, *route.aliases):
            assert normalise(path) == path


@pytest.mark.parametrize("name", NAMES)
def test_every_route_has_an_example_that_is_read_and_answered_as_documented(name: str) -> None:
    dialect = _load(name)
    for route in dialect.routes:
        assert route.examples
        for example in route.examples.values():
            call = dialect.parse(Incoming(route.path, example))
            assert call.requests
            answer = dialect.answer(call, [rank(request) for request in call.requests], Stamp("id", 1))
            assert answer.status == 200
            written = json.loads(json.dumps(answer.body, allow_nan=False))
            documented: Any = route.response.model_validate(written).model_dump(mode="json", exclude_unset=True)
            assert documented == written


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [None, [], "x", 7, {}, {"query": "q"}, {"query": 7, "documents": 7, "texts": 7}])
def test_what_is_no_request_is_refused_with_a_sentence(name: str, body: Any) -> None:
    dialect = _load(name)
    for route in dialect.routes:
        with pytest.raises(InvalidRequest, match=r"\w+ \w+"):
            dialect.parse(Incoming(route.path, body))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("error", "least", "most"), ERRORS, ids=[type(error).__name__ for error, _, _ in ERRORS])
def test_every_error_has_a_status_and_a_json_body_with_its_message(
    name: str, error: RerankError, least: int, most: int
) -> None:
    answer = _load(name).refuse(error)
    assert least <= answer.status <= most
    assert str(error) in json.dumps(answer.body).replace('\\"', '"')


def test_no_path_belongs_to_two_dialects_unless_the_standard_one_shares_it() -> None:
    shared = {path for route in _load("standard").routes for path in (route.path, *route.aliases)}
    owned = [
        path
        for name in NAMES
        if name != "standard"
        for route in _load(name).routes
        for path in (route.path, *route.aliases)
        if path not in shared
    ]
    assert len(owned) == len(set(owned))
