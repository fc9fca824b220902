"""LangChain's community compressors for Infinity and Jina."""

# pyright: basic, reportMissingImports=false
import sys

from harness import BASES, DOCUMENTS, QUERY, Cases, check_hits, check_texts, fails
from infinity_client import Client
from langchain_community.document_compressors import InfinityRerank, JinaRerank
from langchain_core.documents import Document

case = Cases()
INPUT = [Document(page_content=text, metadata={"place": place}) for place, text in enumerate(DOCUMENTS)]
JINA = sys.modules[JinaRerank.__module__]


def check_compressor(compressor, target, top_n):
    ranked = compressor.compress_documents(INPUT, QUERY)
    check_hits(((hit.metadata["place"], hit.metadata["relevance_score"]) for hit in ranked), target, top_n)
    check_texts((hit.page_content for hit in ranked), target, top_n)


@case("langchain-community", "InfinityRerank", bases=BASES)
def infinity(target, base):
    # It takes no AuthenticatedClient, so a key goes where other headers go.
    client = Client(base_url=base, headers={"Authorization": f"Bearer {target.key}"})
    check_compressor(InfinityRerank(client=client, model=target.model, top_n=2), target, 2)


def jina_ranker(target, base, model):
    # Its URL is a constant of the module: the one thing a user of it has to set by hand.
    vars(JINA)["JINA_API_URL"] = base
    return JinaRerank(jina_api_key=target.key, model=model, top_n=2)


@case("langchain-community", "JinaRerank", bases=("/v1/rerank", "/jina/v1/rerank"))
def jina(target, base):
    check_compressor(jina_ranker(target, base, target.model), target, 2)


@case("langchain-community", "JinaRerank", bases=("/v1/rerank",))
def jina_unknown_model(target, base):
    compressor = jina_ranker(target, base, "nope")
    fails(lambda: compressor.compress_documents(INPUT, QUERY), saying="'nope' is not served here", as_="RuntimeError")


if __name__ == "__main__":
    case.main()
