"""rerankers' APIRanker, which takes whole URLs."""

# pyright: basic, reportMissingImports=false
from harness import DOCUMENTS, QUERY, Cases, check_hits, check_texts
from rerankers.models.api_rankers import APIRanker

case = Cases()


def check_ranker(target, url, provider):
    ranker = APIRanker(target.model, target.key, provider, url=url, verbose=0)
    ranked = ranker.rank(QUERY, DOCUMENTS)
    check_hits(((hit.document.doc_id, hit.score) for hit in ranked.results), target)
    check_texts((hit.document.text for hit in ranked.results), target)


@case("rerankers", "APIRanker: cohere", bases=("/v1/rerank", "/cohere/v1/rerank"))
def cohere(target, url):
    check_ranker(target, url, "cohere")


@case("rerankers", "jina", bases=("/v1/rerank", "/rerank"))
def jina(target, url):
    check_ranker(target, url, "jina")


@case("rerankers", "voyage", bases=("/v1/rerank",))
def voyage(target, url):
    check_ranker(target, url, "voyage")


@case("rerankers", "text-embeddings-inference", bases=("/rerank", "/v1/rerank", "/tei/rerank"))
def text_embeddings_inference(target, url):
    check_ranker(target, url, "text-embeddings-inference")


@case("rerankers", "pinecone", bases=("/v1/rerank",))
def pinecone(target, url):
    check_ranker(target, url, "pinecone")


@case("rerankers", "mixedbread.ai", bases=("/v1/reranking",))
def mixedbread(target, url):
    check_ranker(target, url, "mixedbread.ai")


if __name__ == "__main__":
    case.main()
