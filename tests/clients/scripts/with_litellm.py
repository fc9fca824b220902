"""LiteLLM: `litellm.rerank` under every provider prefix that takes an api_base."""

# pyright: basic, reportMissingImports=false
import litellm
from harness import DOCUMENTS, QUERY, Cases, check, check_hits, check_texts, fails

case = Cases()
ROOTS = ("", "/v1")


def ranked(target, base, prefix, **options):
    return litellm.rerank(
        model=f"{prefix}/{target.model}",
        query=QUERY,
        documents=DOCUMENTS,
        api_key=target.key,
        api_base=base,
        **options,
    )


def check_answer(answer, target, top_n=None):
    check_hits(((hit["index"], hit["relevance_score"]) for hit in answer.results), target, top_n)


def texts(answer):
    return [hit["document"]["text"] for hit in answer.results]


def check_with_and_without_top_n(target, base, prefix):
    first = ranked(target, base, prefix, top_n=2)
    check_answer(first, target, 2)
    check_texts(texts(first), target, 2)
    check_answer(ranked(target, base, prefix), target)
    check_answer(ranked(target, base, prefix, return_documents=False), target)


@case("litellm", "rerank: cohere/", bases=ROOTS)
def cohere(target, base):
    check_with_and_without_top_n(target, base, "cohere")
    check_answer(ranked(target, base, "cohere", max_chunks_per_doc=10), target)


@case("litellm", "jina_ai/", bases=ROOTS)
def jina_ai(target, base):
    check_with_and_without_top_n(target, base, "jina_ai")


@case("litellm", "hosted_vllm/", bases=(*ROOTS, "/v1/rerank"))
def hosted_vllm(target, base):
    check_with_and_without_top_n(target, base, "hosted_vllm")


@case("litellm", "voyage/", bases=ROOTS)
def voyage(target, base):
    check_with_and_without_top_n(target, base, "voyage")


@case("litellm", "litellm_proxy/", bases=ROOTS)
def litellm_proxy(target, base):
    check_with_and_without_top_n(target, base, "litellm_proxy")


@case("litellm", "together_ai/", bases=ROOTS)
def together_ai(target, base):
    check_with_and_without_top_n(target, base, "together_ai")


@case("litellm", "huggingface/", bases=ROOTS)
def huggingface(target, base):
    answer = ranked(target, base, "huggingface", top_n=2)
    check_answer(answer, target, 2)
    check_texts(texts(answer), target, 2)


@case("litellm", "infinity/", bases=("/infinity",))
def infinity(target, base):
    check_with_and_without_top_n(target, base, "infinity")


@case("litellm", "infinity/")
def infinity_without_documents(target, base):
    check_answer(ranked(target, base, "infinity", return_documents=False), target)


@case("litellm", "infinity/")
def infinity_with_documents_needs_the_prefix(target, base):
    """Byte for byte the request of hosted_vllm/, but it wants strings for documents: LiteLLM refuses the answer."""
    fails(lambda: ranked(target, base, "infinity"))


@case("litellm", "rerank: cohere/")
def an_unknown_model(target, base):
    unknown = "cohere/nope"
    fails(
        lambda: litellm.rerank(model=unknown, query=QUERY, documents=DOCUMENTS, api_key=target.key, api_base=base),
        saying="'nope' is not served here",
    )


@case("litellm", "rerank: cohere/", where="locked")
def a_wrong_key(target, base):
    model = f"cohere/{target.model}"
    call = lambda: litellm.rerank(model=model, query=QUERY, documents=DOCUMENTS, api_key="wrong", api_base=base)  # noqa: E731
    fails(call, saying="API key")


@case("litellm", "rerank: cohere/")
def usage_is_billed_in_whole_units(target, base):
    check(ranked(target, base, "cohere").meta["billed_units"]["search_units"], 1)


if __name__ == "__main__":
    case.main()
