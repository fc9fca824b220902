"""LangChain's compressors for Cohere, LocalAI and Xinference."""

# pyright: basic, reportMissingImports=false
from harness import BASES, DOCUMENTS, QUERY, Cases, check_hits, check_texts, fails
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from langchain_localai import LocalAIRerank
from langchain_xinference import XinferenceRerank

case = Cases()
INPUT = [Document(page_content=text, metadata={"place": place}) for place, text in enumerate(DOCUMENTS)]


def check_compressor(compressor, target, top_n):
    ranked = compressor.compress_documents(INPUT, QUERY)
    check_hits(((hit.metadata["place"], hit.metadata["relevance_score"]) for hit in ranked), target, top_n)
    check_texts((hit.page_content for hit in ranked), target, top_n)


@case("langchain-cohere", "CohereRerank", bases=BASES)
def cohere(target, base):
    compressor = CohereRerank(model=target.model, cohere_api_key=target.key, base_url=base)
    check_compressor(compressor, target, 3)


@case("langchain-localai", "LocalAIRerank", bases=BASES)
def localai(target, base):
    compressor = LocalAIRerank(model=target.model, openai_api_key=target.key, openai_api_base=base, top_n=2)
    check_compressor(compressor, target, 2)


@case("langchain-localai", "LocalAIRerank")
def localai_unknown_model(target, base):
    compressor = LocalAIRerank(model="nope", openai_api_key=target.key, openai_api_base=base)
    fails(lambda: compressor.compress_documents(INPUT, QUERY), saying="404")


@case("langchain-xinference", "XinferenceRerank")
def xinference(target, base):
    compressor = XinferenceRerank(server_url=base, model_uid=target.model, api_key=target.key)
    check_compressor(compressor, target, 3)


if __name__ == "__main__":
    case.main()
