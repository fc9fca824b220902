"""vLLM's `/score`: pairs in, one score each out, in the order given."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_service import probability, rank
from rerankd import plugins
from rerankd.dialects.base import Call, Dialect, Incoming, Stamp
from rerankd.errors import InvalidRequest
from rerankd.types import JsonValue

VLLM = cast("Dialect", plugins.load("dialects", "vllm"))
NAMES = [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")]
TEXTS = st.lists(st.sampled_from(["a", "b", "a b", "c", ""]), min_size=1, max_size=9)


def _parse(body: JsonValue) -> Call:
    return VLLM.parse(Incoming("/score", body))


def _scores(body: JsonValue) -> list[float]:
    call = _parse(body)
    answer: Any = VLLM.answer(call, [rank(request) for request in call.requests], Stamp("x", 7)).body
    assert list(answer) == ["id", "object", "created", "model", "data", "usage"]
    assert [each["index"] for each in answer["data"]] == list(range(len(answer["data"])))
    return [each["score"] for each in answer["data"]]


@settings(max_examples=60, deadline=None)
@given(names=st.sampled_from(NAMES), pairs=st.lists(st.tuples(*[st.sampled_from(["a", "b", "a b"])] * 2), min_size=1))
def test_pairs_are_scored_in_input_order(names: tuple[str, str], pairs: list[tuple[str, str]]) -> None:
    queries, documents = [list(side) for side in zip(*pairs, strict=True)]
    assert _scores({names[0]: queries, names[1]: documents}) == [probability(*pair) for pair in pairs]


@settings(max_examples=30, deadline=None)
@given(documents=TEXTS)
def test_one_query_meets_every_document_and_is_read_once(documents: list[str]) -> None:
    body: JsonValue = {"text_1": "a b", "text_2": documents}
    assert len(_parse(body).requests) == 1
    assert _scores(body) == [probability("a b", document) for document in documents]


@pytest.mark.parametrize(
    "body",
    [
        {"text_1": "a", "text_2": "b"},
        {"text_1": ["a"], "text_2": "b"},
        {"queries": "a", "documents": {"content": [{"type": "text", "text": "b"}]}},
        {"data_1": {"text": "a"}, "data_2": [{"text": "b"}], "text_1": None},
    ],
)
def test_a_lone_text_is_a_list_of_one(body: JsonValue) -> None:
    assert _scores(body) == [probability("a", "b")]


def test_neighbours_with_the_same_query_share_a_request() -> None:
    body: JsonValue = {"queries": ["a", "a", "b", "a"], "documents": ["1", "2", "3", "4"]}
    assert [len(request.documents) for request in _parse(body).requests] == [2, 1, 1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "2 queries and 3 documents are no pairs"),
        ({"queries": ["a", "b"], "items": "a"}, "2 queries and 1 documents are no pairs"),
        ({"text_1": [], "text_2": ["a"]}, "`text_1` cannot be empty"),
        ({"text_1": "a", "text_2": []}, "`text_2` cannot be empty"),
        ({"text_1": "a"}, "there are no pairs to score: send `text_1` and `text_2`, or `queries` and `documents`"),
        ({"text_1": "a", "text_2": [7]}, r"`text_2\[0\]` must be a string or an object"),
        ({"text_1": 7, "text_2": "a"}, "`text_1` must be a list of strings, got 7"),
    ],
)
def test_what_makes_no_pairs_is_refused(body: JsonValue, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        _parse(body)


def test_the_models_own_numbers_are_there_for_the_asking() -> None:
    assert _scores({"text_1": "a", "text_2": "a", "use_activation": False}) == [10 * probability("a", "a")]
