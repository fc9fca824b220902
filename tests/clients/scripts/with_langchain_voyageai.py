"""LangChain's compressor for Voyage."""

# pyright: basic, reportMissingImports=false
from harness import DOCUMENTS, QUERY, Cases, check_hits, check_texts
from langchain_core.documents import Document
from langchain_voyageai import VoyageAIRerank

case = Cases()


@case("langchain-voyageai", "VoyageAIRerank", bases=("/v1",))
def voyage(target, base):
    documents = [Document(page_content=text, metadata={"place": place}) for place, text in enumerate(DOCUMENTS)]
    compressor = VoyageAIRerank(model=target.model, api_key=target.key, base_url=base, top_k=2)
    ranked = compressor.compress_documents(documents, QUERY)
    check_hits(((hit.metadata["place"], hit.metadata["relevance_score"]) for hit in ranked), target, 2)
    check_texts((hit.page_content for hit in ranked), target, 2)


if __name__ == "__main__":
    case.main()
