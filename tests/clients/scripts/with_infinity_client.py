"""Infinity's generated client, which reads 200 and 422 only."""

# pyright: basic, reportMissingImports=false
from harness import BASES, DOCUMENTS, QUERY, Cases, check, check_hits, check_texts
from infinity_client import AuthenticatedClient
from infinity_client.api.default import health, models, rerank
from infinity_client.models import RerankInput

case = Cases()


def client(target, base):
    return AuthenticatedClient(base_url=base, token=target.key)


def ranked(target, base, **options):
    return rerank.sync(client=client(target, base), body=RerankInput(query=QUERY, documents=DOCUMENTS, **options))


@case("infinity-client", "rerank", bases=(*BASES, "/infinity"))
def with_documents(target, base):
    answer = ranked(target, base, model=target.model, return_documents=True, top_n=2)
    check(answer.object_, "rerank")
    check_hits(((hit.index, hit.relevance_score) for hit in answer.results), target, 2)
    check_texts((hit.document for hit in answer.results), target, 2)
    check(answer.usage.total_tokens > 0, True)


@case("infinity-client", "rerank", bases=BASES)
def with_the_default_model(target, base):
    answer = ranked(target, base)
    check_hits(((hit.index, hit.relevance_score) for hit in answer.results), target)
    check([hit.document or None for hit in answer.results], [None] * len(DOCUMENTS))


@case("infinity-client", "rerank")
def raw_scores(target, base):
    """Logits, whose sigmoid is the score."""
    import math

    answer = ranked(target, base, model=target.model, raw_scores=True)
    hits = [(hit.index, 1 / (1 + math.exp(-hit.relevance_score))) for hit in answer.results]
    check_hits(hits, target)


@case("infinity-client", "rerank")
def no_documents_is_a_validation_error(target, base):
    body = RerankInput(query=QUERY, documents=[])
    answer = rerank.sync(client=client(target, base), body=body)
    check(type(answer).__name__, "HTTPValidationError")


@case("infinity-client", "models", bases=("", "/infinity"))
def list_models(target, base):
    answer = models.sync(client=client(target, base))
    check({"infinity"}, {model.owned_by for model in answer.data})
    served = target.model.partition("___")[0].rpartition("/")[2]
    check(answer.data[0].id.casefold(), served.casefold())


@case("infinity-client", "health")
def is_healthy(target, base):
    check(health.sync_detailed(client=client(target, base)).status_code, 200)


if __name__ == "__main__":
    case.main()
