"""Whatever JSON comes, a dialect refuses it in words or answers it as its own schema says."""

import json
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_service import rank
from rerankd import plugins
from rerankd.dialects.base import Dialect, Incoming, Stamp
from rerankd.errors import InvalidRequest

NAMES = ["cohere", "jina", "voyage", "xinference", "localai", "siliconflow", "llamacpp", "vllm", "nim", "mixedbread",
         "batch"]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "content", "x"]), inner),
    max_leaves=6,
)
TEXTS = st.text(max_size=9)
LISTS = st.lists(TEXTS | st.fixed_dictionaries({"text": TEXTS}), max_size=4)
ITEMS = st.lists(st.fixed_dictionaries({"query": TEXTS | VALUES, "documents": LISTS | VALUES}), max_size=4)
KEYS = {
    "query": TEXTS, "documents": LISTS, "texts": LISTS, "passages": LISTS, "input": LISTS, "text_1": TEXTS | LISTS,
    "text_2": LISTS, "queries": LISTS | ITEMS, "items": LISTS, "data_1": LISTS, "data_2": LISTS, "requests": ITEMS,
    "top_n": st.integers(-1, 5), "top_k": st.integers(-1, 5), "return_documents": st.booleans(),
    "return_input": st.booleans(), "return_text": st.booleans(), "return_len": st.booleans(), "fail_fast": VALUES,
    "rank_fields": st.just(["text", "x"]), "truncate": st.sampled_from(["END", "NONE"]), "model": TEXTS,
}  # fmt: skip
ALWAYS = {"query", "documents", "passages", "input", "requests", "text_1", "text_2"}
BODIES = st.fixed_dictionaries(
    {key: KEYS[key] for key in ALWAYS}, optional={key: KEYS[key] | VALUES for key in KEYS if key not in ALWAYS}
).flatmap(lambda body: st.sets(st.sampled_from(sorted(body))).map(lambda drop: {k: body[k] for k in set(body) - drop}))


def _check(dialect: Dialect, path: str, response: Any, body: Any) -> None:
    try:
        call = dialect.parse(Incoming(path, body))
    except InvalidRequest as error:
        json.dumps(dialect.refuse(error).body, allow_nan=False)
        return
    answer = dialect.answer(call, [rank(request) for request in call.requests], Stamp("x", 1))
    written = json.loads(json.dumps(answer.body, allow_nan=False))
    assert response.model_validate(written).model_dump(mode="json", exclude_unset=True) == written


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(body=BODIES | VALUES)
def test_any_body_is_refused_or_answered_as_documented(name: str, body: Any) -> None:
    dialect = cast("Dialect", plugins.load("dialects", name))
    for route in dialect.routes:
        _check(dialect, route.path, route.response, body)
