"""NVIDIA NIM's API: passages in, logits out."""

from typing import Any, cast

import pytest

from fake_service import FakeService, rank
from http_app import DOCUMENTS, QUERY, opened
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.types import JsonValue

NIM = cast("Dialect", plugins.load("dialects", "nim"))
BODY: dict[str, JsonValue] = {"query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS]}


def test_scores_are_the_models_own_numbers() -> None:
    call = NIM.parse(Incoming("/v1/ranking", BODY))
    assert call.requests[0].raw_scores
    body: Any = NIM.answer(call, [rank(call.requests[0])], Stamp("x", 1)).body
    assert list(body["rankings"][0]) == ["index", "logit"]
    assert body["rankings"][0]["logit"] > 1


@pytest.mark.parametrize(("truncate", "cuts"), [(None, True), ("END", True), ("NONE", False), ("none", False)])
def test_truncate_none_forbids_cutting(truncate: str | None, cuts: bool) -> None:
    assert NIM.parse(Incoming("/v1/ranking", {**BODY, "truncate": truncate})).requests[0].truncate is cuts


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    ["/v1/ranking", "/ranking", "/nim/v1/ranking", "/nim/ranking", "/nim/v1/reranking", "/nim/reranking",
     "/reranking", "/v1/reranking", "/v1/rerank", "/rerank"],
)  # fmt: skip
async def test_passages_are_ranked_wherever_they_arrive(path: str) -> None:
    async with opened(FakeService()) as http:
        response = await http.post(path, json=BODY)
    assert response.status_code == 200, response.text
    assert response.json()["rankings"][0]["index"] == 1
