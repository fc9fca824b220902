"""Which dialect reads a request: paths as clients build them, prefixes, keys."""

from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd import plugins
from rerankd.dialects.base import Dialect, Route
from rerankd.dialects.detect import Directory, load_all, normalise
from rerankd.errors import InvalidRequest
from rerankd.types import JsonValue

STANDARD = cast("Dialect", plugins.load("dialects", "standard"))


@dataclass
class Named:
    """A dialect that only has a name and paths."""

    name: str
    paths: tuple[str, ...]
    routes: list[Route] = field(init=False)

    def __post_init__(self) -> None:
        like = STANDARD.routes[0]
        self.routes = [Route(path, "", like.request, like.response) for path in self.paths]


NAMED = {
    "tei": ("/rerank", "/", "/invocations", "/predict"),
    "infinity": ("/rerank",),
    "simple": ("/rerank",),
    "nim": ("/v1/ranking",),
    "mixedbread": ("/v1/reranking",),
}
ALL = Directory(
    {"standard": STANDARD}
    | {name: cast("Dialect", cast("object", Named(name, paths))) for name, paths in NAMED.items()}
)
ALONE = Directory({"standard": STANDARD})


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/", "/"), ("//", "/"), ("/rerank/", "/rerank"), ("//v1//rerank", "/v1/rerank"),
        ("/v1/v1/rerank", "/v1/rerank"), ("/v1/v2/rerank", "/v2/rerank"), ("/v2/v1/v1/rerank/", "/v1/rerank"),
        ("/tei/v1/v1/rerank", "/tei/v1/rerank"), ("/v1/models/a/b", "/v1/models/a/b"), ("/v1x/v1/a", "/v1x/v1/a"),
    ],
)  # fmt: skip
def test_paths_are_cleaned_as_clients_need_it(path: str, clean: str) -> None:
    assert normalise(path) == clean


@given(st.text(alphabet="/v12ab", max_size=20))
def test_a_clean_path_stays_as_it_is(path: str) -> None:
    clean = normalise(path)
    assert normalise(clean) == clean
    assert clean.startswith("/")
    assert "//" not in clean


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/rerank", {"query": "q", "texts": ["a"]}, "tei"),
        ("/v1/rerank", {"query": "q", "texts": ["a"], "model": "m"}, "tei"),
        ("/v1/rerank", {"query": "q", "documents": ["a"], "texts": None}, "standard"),
        ("/v1/rerank", {"query": {"text": "q"}, "passages": [{"text": "a"}]}, "nim"),
        ("/v1/rerank", {"query": "q", "input": ["a"]}, "mixedbread"),
        ("/rerank", {"query": "q", "documents": ["a"], "raw_scores": False}, "infinity"),
        ("/rerank", {"query": "q", "documents": ["a"]}, "simple"),
        ("/rerank", {"query": "q", "documents": ["a"], "model": ""}, "simple"),
        ("/rerank", {"query": "q", "documents": ["a"], "model": "m"}, "standard"),
        ("/v1/rerank", {"query": "q", "documents": ["a"]}, "standard"),
        ("/api/rerank", {"query": "q", "documents": ["a"]}, "standard"),
        ("/v1/rerank", ["no", "object"], "standard"),
    ],
)
def test_the_keys_of_the_body_choose(path: str, body: JsonValue, name: str) -> None:
    assert ALL.place(path).dialect is None
    assert ALL.choose(path, body).name == name


@pytest.mark.parametrize("body", [{"texts": ["a"]}, {"passages": ["a"]}, {"input": ["a"]}])
def test_the_keys_of_a_dialect_that_is_not_installed_are_refused_by_name(body: JsonValue) -> None:
    with pytest.raises(InvalidRequest, match=r"is not a key of an API served here: send `query` and `documents`"):
        ALONE.choose("/v1/rerank", body)


def test_two_apis_at_once_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="send one of them"):
        ALL.choose("/rerank", {"texts": ["a"], "documents": ["a"]})


def test_without_other_dialects_the_standard_one_takes_what_it_can() -> None:
    for body in ({"documents": ["a"], "raw_scores": True}, {"documents": ["a"]}):
        assert ALONE.choose("/rerank", cast("JsonValue", body)).name == "standard"


@pytest.mark.parametrize(
    ("path", "name", "rest"),
    [("/tei/rerank", "tei", "/rerank"), ("/tei", "tei", "/"), ("/standard/v1/rerank", "standard", "/v1/rerank"),
     ("/predict", "tei", "/predict"), ("/", "tei", "/"), ("/v1/ranking", "nim", "/v1/ranking")],
)  # fmt: skip
def test_a_prefix_or_a_path_of_one_dialect_decides_alone(path: str, name: str, rest: str) -> None:
    place = ALL.place(path)
    assert place.dialect is not None
    assert (place.dialect.name, place.path) == (name, rest)


def test_every_path_is_also_there_under_its_dialects_prefix() -> None:
    assert set(ALONE.paths) >= {"/v1/rerank", "/rerank", "/standard/v1/rerank", "/standard/rerank"}
    assert len(ALL.paths) == len(set(ALL.paths))


def test_property_without_a_model_is_weaviates() -> None:
    directory = load_all()
    assert directory.choose("/rerank", {"query": "q", "documents": ["a"], "property": None}).name == "weaviate"
    named: JsonValue = {"query": "q", "documents": ["a"], "property": "", "model": "m"}
    assert directory.choose("/rerank", named).name == "standard"


def test_the_rules_in_words_name_every_dialect_and_end_with_the_standard_one() -> None:
    directory = load_all()
    rules = directory.rules()
    assert {name for _, name in rules} == set(directory.dialects)
    assert rules[-1] == ("anything else", "standard")
    for condition, name in rules:
        if condition.startswith("POST /") and "," not in condition:
            place = directory.place(condition.removeprefix("POST "))
            assert place.dialect is not None
            assert place.dialect.name == name
    assert [name for _, name in ALONE.rules()] == ["standard"]
