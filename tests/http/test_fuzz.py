"""Whatever is posted, the answer is JSON and the fault is never the server's."""

import json

import anyio
import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_service import FakeService
from http_app import opened

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(alphabet=st.characters(), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["text", "content", "type", "x"]) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["query", "documents", "texts", "model", "top_n", "top_k", "return_documents", "rank_fields", "raw_scores", "input",
     "passages", "truncation", "use_activation", "property", "max_tokens_per_doc", "priority", "kwargs"]
)  # fmt: skip
MOSTLY_RIGHT = st.fixed_dictionaries(
    {"query": st.text(max_size=20) | VALUES, "documents": st.lists(st.text(max_size=20), max_size=5) | VALUES}
).flatmap(lambda base: st.dictionaries(KEYS, VALUES, max_size=4).map(lambda extra: {**base, **extra}))
PATHS = st.sampled_from(["/v1/rerank", "/rerank", "/v2/rerank", "/api/rerank", "/standard/v1/rerank"])


async def _post(path: str, body: bytes) -> httpx2.Response:
    async with opened(FakeService()) as http:
        return await http.post(path, content=body)


def _is_fine(response: httpx2.Response) -> None:
    assert response.status_code in {200, 400, 404, 422}, response.text
    body = json.loads(response.content)
    if response.status_code == 200:
        assert isinstance(body, list) or "results" in body or "data" in body
    else:  # a string for everybody but TEI's and Infinity's clients
        assert isinstance(body.get("detail"), str) == (response.status_code != 422) or "error_type" in body


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=PATHS, body=MOSTLY_RIGHT | VALUES)
def test_any_json_gets_an_answer(path: str, body: object) -> None:
    _is_fine(anyio.run(_post, path, json.dumps(body).encode()))


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    _is_fine(anyio.run(_post, "/v1/rerank", body))
