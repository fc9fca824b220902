"""What each client reads of an answer, and what makes it fail: functions that raise AssertionError where it would.

Each stands for the code named in its docstring. The acceptance cases use them on real answers, the mutation tests on
answers with one deviation.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

Texts = Sequence[str]
Reader = Callable[[Any, Texts], None]
"""Raises AssertionError where the client would fail: (decoded answer, the texts that were sent)."""


def scores_rank(
    places: Sequence[Any], texts: Texts, *, score: str = "relevance_score", count: int | None = None
) -> None:
    """Every document once or the best `count`, best first, ties by index, scores floats between 0 and 1."""
    indexes = [place["index"] for place in places]
    assert len(indexes) == (len(texts) if count is None else count), "one place for each document"
    assert set(indexes) <= set(range(len(texts))), "indexes of the input"
    assert len(set(indexes)) == len(indexes), "each once"
    scores = [place[score] for place in places]
    assert all(type(value) is float and 0 <= value <= 1 for value in scores), "scores are floats between 0 and 1"
    assert list(zip((-value for value in scores), indexes, strict=True)) == sorted(
        zip((-value for value in scores), indexes, strict=True)
    ), "best first, equal scores in the order of the input"


def dify_openai_api_compatible(answer: Any, texts: Texts) -> None:
    """Dify `openai_api_compatible`: `relevance_score` defaults to 0.0 and `results` to nothing, without a word."""
    assert answer.get("results"), "no results: the plugin returns no documents"
    for place in answer["results"]:
        assert "index" in place, "index: the plugin takes 0"
        assert type(place.get("relevance_score")) is float, "relevance_score: the plugin takes 0.0"
        assert 0 <= place["index"] < len(texts), "the plugin drops it"


def dify_sdk(answer: Any, texts: Texts) -> None:
    """dify_plugin's OAICompatRerankModel: min and max over `results`; `document` an object, a string or absent."""
    scores = [place["relevance_score"] for place in answer["results"]]
    assert scores, "min() of nothing"
    for place in answer["results"]:
        document = place.get("document", "")
        assert (document["text"] if isinstance(document, dict) else document or texts[place["index"]]) is not None


def dify_localai(answer: Any, texts: Texts) -> None:
    """Dify localai and gpustack: where there is a key `document`, `["document"]["text"]`."""
    for place in answer["results"]:
        assert type(place["relevance_score"]) is float
        if "document" in place:
            assert isinstance(place["document"], dict), "TypeError: a string or null has no ['text']"
            assert place["document"]["text"] == texts[place["index"]]


def dify_cohere(answer: Any, texts: Texts) -> None:
    """Dify cohere, xinference, siliconflow, gitee_ai, MaxKB: `document.text` is needed."""
    assert answer["results"]
    for place in answer["results"]:
        assert "document" in place, "KeyError: document"
        dify_localai({"results": [place]}, texts)


def dify_ollama(answer: Any, texts: Texts) -> None:
    """Dify ollama: `document`, where present, must be a string."""
    for place in answer["results"]:
        assert place.get("document", texts[place["index"]]) == texts[place["index"]], "validation error: not a string"


def no_documents(answer: Any, texts: Texts) -> None:
    """`return_documents: false`: the key is left out, never null."""
    assert all(set(place) == {"index", "relevance_score"} for place in answer["results"])


def ragflow(answer: Any, texts: Texts) -> None:
    """RAGFlow: every document's score by index, and a token count that is not 0 (or the model cannot be added)."""
    assert {place["index"] for place in answer["results"]} == set(range(len(texts)))
    assert all(0 <= place["relevance_score"] <= 1 for place in answer["results"])
    assert type(answer["usage"]["total_tokens"]) is int
    assert answer["usage"]["total_tokens"] >= 1


def voyageai(answer: Any, texts: Texts) -> None:
    """voyageai, Dify voyage, LiteLLM voyage/: `data`, its `relevance_score`, a string `document`, `usage`."""
    assert "data" in answer, "AttributeError: data"
    for place in answer["data"]:
        assert type(place["index"]) is int
        assert type(place.get("relevance_score")) is float, "relevance_score is needed"
        if "document" in place:
            assert place["document"] == texts[place["index"]], "a string"
    assert answer.get("usage", {}).get("total_tokens", 0) > 0, "AttributeError: usage.total_tokens"


def litellm_cohere(answer: Any, texts: Texts) -> None:
    """LiteLLM cohere/ and the cohere SDKs: id, results, documents with a string `text`, whole billed units."""
    assert isinstance(answer["id"], str)
    for place in answer["results"]:
        assert type(place["index"]) is int
        assert type(place["relevance_score"]) is float
        if "document" in place:
            assert isinstance(place["document"], dict)
            assert isinstance(place["document"]["text"], str)
    meta = answer["meta"]
    assert isinstance(meta["api_version"]["version"], str)
    assert all(type(value) is int for value in (*meta["billed_units"].values(), *meta["tokens"].values()))


def litellm_hosted_vllm(answer: Any, texts: Texts) -> None:
    """LiteLLM hosted_vllm/ and together_ai/: `document.get("text")`, `usage.total_tokens`."""
    for place in answer["results"]:
        assert type(place["index"]) is int
        assert type(place["relevance_score"]) is float
        assert isinstance(place.get("document", {}), dict), "a string has no .get"
    assert type(answer["usage"]["total_tokens"]) is int


def langchain4j(answer: Any, texts: Texts) -> None:
    """langchain4j: Cohere's `search_units`, Jina's `prompt_tokens`, every document."""
    assert type(answer["meta"]["billed_units"]["search_units"]) is int
    assert type(answer["usage"].get("prompt_tokens")) is int, "prompt_tokens is needed"
    assert type(answer["usage"].get("total_tokens")) is int
    assert len(answer["results"]) == len(texts)


def haystack_jina(answer: Any, texts: Texts) -> None:
    """Haystack's JinaRanker: top-level `model` and `usage` beside `results`."""
    assert isinstance(answer["model"], str)
    assert isinstance(answer["usage"], dict)
    assert [place["index"] for place in answer["results"]]


def user_shape_a(answer: Any, texts: Texts) -> None:
    """User shape (a): model, results with `document.text`, `usage.total_tokens`."""
    assert isinstance(answer["model"], str)
    dify_cohere(answer, texts)
    assert answer["usage"]["total_tokens"] >= 1


def user_shape_b(answer: Any, texts: Texts) -> None:
    """User shape (b): `object` "list", data with index, score and a string."""
    assert answer["object"] == "list"
    assert answer["data"]
    for place in answer["data"]:
        assert type(place["score"]) is float
        assert place["document"] == texts[place["index"]]


def elasticsearch_cohere(raw: bytes) -> None:
    """Elasticsearch's Cohere parser: `results` before the first object, and three keys at most in an item."""
    text = raw.decode()
    results = text.index('"results"')
    first_object = re.search(r":\s*\{", text)
    assert first_object is None or results < first_object.start(), "the parser stops at the first nested object"
    for place in json.loads(text)["results"]:
        assert set(place) <= {"index", "relevance_score", "document"}, "the parser throws on any other key"
        assert isinstance(place.get("document", {}), dict)


def opensearch_cohere(raw: bytes) -> None:
    """OpenSearch casts every `relevance_score` to Double: 1 is an Integer, 1.0 is none."""
    scores = re.findall(rb'"relevance_score":\s*([^,}\]\s]+)', raw)
    assert scores
    assert all(b"." in score or b"e" in score.lower() for score in scores), "ClassCastException: Integer"


def infinity_client(answer: Any, texts: Texts) -> None:
    """infinity_client: `object` is "rerank", model and both token counts, `document` a string or null."""
    assert answer.get("object", "rerank") == "rerank", "ValueError: object"
    assert isinstance(answer["model"], str), "KeyError: model"
    for place in answer["results"]:
        assert type(place["relevance_score"]) is float
        assert type(place["index"]) is int
        assert place.get("document") in (None, texts[place["index"]])
    assert type(answer["usage"].get("prompt_tokens")) is int, "KeyError: prompt_tokens"
    assert type(answer["usage"].get("total_tokens")) is int


def litellm_infinity(answer: Any, texts: Texts) -> None:
    """LiteLLM infinity/: `document`, where present, must be a string."""
    assert answer["results"]
    for place in answer["results"]:
        assert place.get("document", texts[place["index"]]) == texts[place["index"]], "pydantic: not a string"


def dify_tei(answer: Any, texts: Texts) -> None:
    """Dify huggingface_tei, Cherry Studio: a bare array, sorted, each with index, text and score."""
    assert isinstance(answer, list), "a bare array"
    scores_rank(answer, texts, score="score")
    for place in answer:
        assert list(place) == ["index", "text", "score"]
        assert place["text"] == texts[place["index"]]


def tei(answer: Any, texts: Texts) -> None:
    """TEI without `return_text`: a bare array of exactly index and score."""
    assert isinstance(answer, list), "a bare array"
    scores_rank(answer, texts, score="score")
    assert all(list(place) == ["index", "score"] for place in answer)


def elasticsearch_hugging_face(answer: Any, texts: Texts) -> None:
    """Elasticsearch's hugging_face service: a bare array whose items hold index, score and at most `text`."""
    assert isinstance(answer, list)
    assert all({"index", "score"} <= set(place) <= {"index", "score", "text"} for place in answer)


def user_shape_c(answer: Any, texts: Texts) -> None:
    """User shape (c): `ranked_results` of text and score, best first."""
    scores = [place["score"] for place in answer["ranked_results"]]
    assert scores
    assert scores == sorted(scores, reverse=True)
    assert all(place["text"] in texts for place in answer["ranked_results"])


def user_shape_d(answer: Any, texts: Texts) -> None:
    """User shape (d): the query, results with a string and a score."""
    assert isinstance(answer["query"], str)
    for place in answer["results"]:
        assert isinstance(place["document"], str)
        assert type(place["score"]) is float


def milvus_vllm(answer: Any, texts: Texts) -> None:
    """Milvus' vLLM ranker: `id`, `model`, an int of tokens, and every document back."""
    assert isinstance(answer["id"], str)
    assert isinstance(answer["model"], str)
    assert type(answer["usage"]["total_tokens"]) is int
    scores_rank(answer["results"], texts)


def weaviate(answer: Any, texts: Texts) -> None:
    """Weaviate: `scores` in input order; `error`, if there is one, a string."""
    assert isinstance(answer.get("error", ""), str), "cannot unmarshal object into string"
    assert [place["document"] for place in answer["scores"]] == list(texts)
    assert all(type(place["score"]) is float for place in answer["scores"])


STANDARD: Sequence[Reader] = (
    dify_openai_api_compatible, dify_sdk, dify_localai, dify_cohere, voyageai, litellm_cohere, litellm_hosted_vllm,
    haystack_jina, user_shape_a, user_shape_b,
)  # fmt: skip
"""Clients that read the standard answer with its documents, at most `top_n` of them."""
STANDARD_WHOLE: Sequence[Reader] = (*STANDARD, ragflow, langchain4j)
"""Clients that also want every document back."""
