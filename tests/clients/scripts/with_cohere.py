"""Cohere's SDK: the v1 client, the v2 client where the version has one, and what they make of errors."""

# pyright: basic, reportMissingImports=false
import cohere
from harness import BASES, DOCUMENTS, QUERY, Cases, check, check_hits, check_in, check_texts, fails

case = Cases()
V2 = hasattr(cohere, "ClientV2")
TYPED_ERRORS = not cohere.__version__.startswith("5.2.")  # 5.2 has one error for every status


def client(target, base):
    return cohere.Client(api_key=target.key, base_url=base)


def hits(answer):
    return [(result.index, result.relevance_score) for result in answer.results]


@case("cohere", "Client.rerank", bases=BASES)
def v1_with_documents(target, base):
    answer = client(target, base).rerank(
        model=target.model, query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True
    )
    check_hits(hits(answer), target, 2)
    check_texts((result.document.text for result in answer.results), target, 2)
    check(answer.meta.billed_units.search_units, 1)


@case("cohere", "Client.rerank", bases=("/v1",))
def v1_without_documents(target, base):
    """RAGFlow's VLLM and Cohere factories."""
    answer = client(target, base).rerank(
        model=target.model, query=QUERY, documents=DOCUMENTS, top_n=len(DOCUMENTS), return_documents=False
    )
    check_hits(hits(answer), target)
    check([result.document for result in answer.results], [None] * len(DOCUMENTS))


@case("cohere", "Client.rerank")
def v1_with_top_n_none(target, base):
    answer = client(target, base).rerank(model=target.model, query=QUERY, documents=DOCUMENTS, top_n=None)
    check_hits(hits(answer), target)


@case("cohere", "Client.rerank")
def the_capital_is_best(target, base):
    answer = client(target, base).rerank(model=target.model, query=QUERY, documents=DOCUMENTS, top_n=1)
    check([result.index for result in answer.results], [1])


@case("cohere", "Client.rerank")
def v1_documents_with_rank_fields(target, base):
    documents = [{"t": "nr 1", "text": DOCUMENTS[0]}, {"t": "nr 2", "text": DOCUMENTS[1]}]
    answer = client(target, base).rerank(
        model=target.model, query=QUERY, documents=documents, rank_fields=["t", "text"], return_documents=True
    )
    for result in answer.results:
        given = result.document if isinstance(result.document, dict) else result.document.dict()
        check(given["t"], documents[result.index]["t"])
        check_in(DOCUMENTS[result.index], given["text"])


@case("cohere", "Client.rerank")
def v1_unknown_model(target, base):
    call = lambda: client(target, base).rerank(model="nope", query=QUERY, documents=DOCUMENTS)  # noqa: E731
    fails(call, saying="'nope' is not served here", status=404)


@case("cohere", "Client.rerank")
def v1_no_documents(target, base):
    call = lambda: client(target, base).rerank(model=target.model, query=QUERY, documents=[])  # noqa: E731
    fails(call, saying="documents", status=400)


@case("cohere", "Client.rerank", where="locked")
def v1_wrong_key(target, base):
    wrong = cohere.Client(api_key="wrong", base_url=base)
    call = lambda: wrong.rerank(model=target.model, query=QUERY, documents=DOCUMENTS)  # noqa: E731
    fails(call, saying="API key", as_="UnauthorizedError" if TYPED_ERRORS else "ApiError", status=401)


def v2_client(target, base):
    return cohere.ClientV2(api_key=target.key, base_url=base)


if V2:

    @case("cohere", "ClientV2.rerank", bases=BASES)
    def v2(target, base):
        answer = v2_client(target, base).rerank(model=target.model, query=QUERY, documents=DOCUMENTS, top_n=2)
        check_hits(hits(answer), target, 2)

    @case("cohere", "ClientV2.rerank", bases=BASES)
    def v2_with_documents_that_were_not_asked_for(target, base):
        """MaxKB's vLLM provider reads the text, and has no way to ask for it."""
        answer = v2_client(target, base).rerank(model=target.model, query=QUERY, documents=DOCUMENTS)
        check_hits(hits(answer), target)
        check_texts((result.document["text"] for result in answer.results), target)

    @case("cohere", "ClientV2.rerank")
    def v2_with_top_n_none(target, base):
        answer = v2_client(target, base).rerank(model=target.model, query=QUERY, documents=DOCUMENTS, top_n=None)
        check_hits(hits(answer), target)

    @case("cohere", "ClientV2.rerank")
    def v2_unknown_model(target, base):
        call = lambda: v2_client(target, base).rerank(model="nope", query=QUERY, documents=DOCUMENTS)  # noqa: E731
        fails(call, saying="'nope' is not served here", as_="NotFoundError", status=404)


if __name__ == "__main__":
    case.main()
