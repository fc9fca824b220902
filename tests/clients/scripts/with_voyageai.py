"""Voyage's SDK."""

# pyright: basic, reportMissingImports=false
import voyageai
from harness import DOCUMENTS, QUERY, Cases, check, check_hits, check_texts, fails

case = Cases()
# Before 0.5 the SDK stumbles over an `error` object beside `detail`; under /voyage there is none.
STUMBLES = [int(part) for part in voyageai.__version__.split(".")[:2]] < [0, 5]
ERRORS = ("/voyage/v1",) if STUMBLES else ("/v1", "/voyage/v1")
BASES = ("/v1", "/v1/", "", "/voyage/v1")


def client(target, base):
    return voyageai.Client(api_key=target.key, base_url=base)


@case("voyageai", "Client.rerank", bases=BASES)
def top_k(target, base):
    answer = client(target, base).rerank(QUERY, DOCUMENTS, model=target.model, top_k=2)
    check_hits(((hit.index, hit.relevance_score) for hit in answer.results), target, 2)
    check_texts((hit.document for hit in answer.results), target, 2)
    check(answer.total_tokens > 0, True)


@case("voyageai", "Client.rerank", bases=("/v1",))
def without_top_k(target, base):
    answer = client(target, base).rerank(QUERY, DOCUMENTS, model=target.model)
    check_hits(((hit.index, hit.relevance_score) for hit in answer.results), target)


@case("voyageai", "Client.rerank", bases=ERRORS)
def unknown_model(target, base):
    call = lambda: client(target, base).rerank(QUERY, DOCUMENTS, model="nope")  # noqa: E731
    fails(call, saying="'nope' is not served here", as_="APIError")


@case("voyageai", "Client.rerank", bases=ERRORS)
def no_documents(target, base):
    call = lambda: client(target, base).rerank(QUERY, [], model=target.model)  # noqa: E731
    fails(call, saying="documents", as_="InvalidRequestError")


@case("voyageai", "Client.rerank", bases=ERRORS, where="locked")
def wrong_key(target, base):
    wrong = voyageai.Client(api_key="wrong", base_url=base)
    call = lambda: wrong.rerank(QUERY, DOCUMENTS, model=target.model)  # noqa: E731
    fails(call, saying="API key", as_="AuthenticationError")


if STUMBLES:

    @case("voyageai", "Client.rerank", bases=("/v1",))
    def unknown_model_is_an_error_without_our_text(target, base):
        fails(lambda: client(target, base).rerank(QUERY, DOCUMENTS, model="nope"), as_="AttributeError")


if __name__ == "__main__":
    case.main()
