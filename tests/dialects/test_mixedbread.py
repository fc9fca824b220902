"""Mixedbread's API: input in, data out."""

from typing import Any, cast

import pytest

from fake_service import FakeService, rank
from http_app import DOCUMENTS, QUERY, opened
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.types import JsonValue

MIXEDBREAD = cast("Dialect", plugins.load("dialects", "mixedbread"))


def _answer(body: JsonValue) -> Any:
    call = MIXEDBREAD.parse(Incoming("/v1/reranking", body))
    return MIXEDBREAD.answer(call, [rank(call.requests[0])], Stamp("x", 1)).body


def test_candidates_come_back_only_where_asked_and_as_they_were() -> None:
    page: JsonValue = {"text": "a", "page": 3}
    plain = _answer({"query": "q", "input": [page]})
    assert plain["data"] == [{"index": 0, "score": plain["data"][0]["score"], "object": "rank_result"}]
    assert _answer({"query": "q", "input": [page], "return_input": True})["data"][0]["input"] == page
    assert _answer({"query": "q", "input": "a", "return_input": True})["data"][0]["input"] == "a"


@pytest.mark.parametrize(("top_k", "count"), [(None, 3), (0, 3), (2, 2)])
def test_top_k_is_how_many_come_back(top_k: int | None, count: int) -> None:
    body = _answer({"query": "q", "input": ["a", "b", "c"], "top_k": top_k})
    assert len(body["data"]) == body["top_k"] == count


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path", ["/v1/reranking", "/reranking", "/v1/rerank", "/mixedbread/v1/reranking", "/mixedbread/reranking"]
)
async def test_input_is_ranked_wherever_it_arrives(path: str) -> None:
    async with opened(FakeService()) as http:
        response = await http.post(path, json={"query": QUERY, "input": DOCUMENTS})
    assert response.status_code == 200, response.text
    assert response.json()["data"][0]["index"] == 1


@pytest.mark.anyio
async def test_documents_on_its_path_are_answered_in_the_standard_form() -> None:
    async with opened(FakeService()) as http:
        body = (await http.post("/v1/reranking", json={"query": QUERY, "documents": DOCUMENTS})).json()
    assert body["results"][0]["relevance_score"] == body["data"][0]["score"]
