"""Haystack's rankers."""

# pyright: basic, reportMissingImports=false
from harness import BASES, DOCUMENTS, QUERY, Cases, check_hits, check_texts, fails
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker

case = Cases()
INPUT = [Document(content=text, meta={"place": place}) for place, text in enumerate(DOCUMENTS)]


def check_ranker(ranker, target, top_n=None):
    ranked = ranker.run(query=QUERY, documents=INPUT)["documents"]
    check_hits(((document.meta["place"], document.score) for document in ranked), target, top_n)
    check_texts((document.content for document in ranked), target, top_n)


def jina_ranker(target, base, model, top_k=None):
    return JinaRanker(api_key=Secret.from_token(target.key), model=model, base_url=base, top_k=top_k)


@case("jina-haystack", "JinaRanker", bases=("/v1/rerank", "/rerank"))
def jina(target, base):
    check_ranker(jina_ranker(target, base, target.model, 2), target, 2)
    check_ranker(jina_ranker(target, base, target.model), target)


@case("jina-haystack", "JinaRanker", bases=("/v1/rerank",))
def jina_unknown_model(target, base):
    ranker = jina_ranker(target, base, "nope")
    fails(lambda: ranker.run(query=QUERY, documents=INPUT), saying="'nope' is not served here")


def cohere_ranker(target, base):
    return CohereRanker(model=target.model, api_key=Secret.from_token(target.key), api_base_url=base, top_k=2)


@case("cohere-haystack", "CohereRanker", bases=BASES)
def cohere(target, base):
    check_ranker(cohere_ranker(target, base), target, 2)


@case("cohere-haystack", "CohereRanker")
def cohere_without_documents(target, base):
    """It does ask without documents; Cohere refuses that as we do."""
    fails(lambda: cohere_ranker(target, base).run(query=QUERY, documents=[]), saying="documents", status=400)


@case("huggingface-api-haystack", "HuggingFaceTEIRanker", bases=BASES)
def tei(target, base):
    ranker = HuggingFaceTEIRanker(url=base, top_k=2, token=Secret.from_token(target.key))
    check_ranker(ranker, target, 2)


@case("huggingface-api-haystack", "HuggingFaceTEIRanker", where="locked")
def tei_wrong_key(target, base):
    ranker = HuggingFaceTEIRanker(url=base, max_retries=1, token=Secret.from_token("wrong"))
    fails(lambda: ranker.run(query=QUERY, documents=INPUT))


if __name__ == "__main__":
    case.main()
