"""LlamaIndex's postprocessors."""

# pyright: basic, reportMissingImports=false
from harness import BASES, DOCUMENTS, QUERY, Cases, check_hits, check_texts, fails
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank
from llama_index.postprocessor.xinference_rerank import XinferenceRerank

case = Cases()
PACKAGE = "llama-index-postprocessor-"


def processed(postprocessor):
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(DOCUMENTS)]
    return postprocessor.postprocess_nodes(nodes, query_bundle=QueryBundle(QUERY))


def check_postprocessor(postprocessor, target):
    nodes = processed(postprocessor)
    check_hits(((int(node.node.node_id), node.score) for node in nodes), target, 2)
    check_texts((node.node.get_content() for node in nodes), target, 2)


@case(f"{PACKAGE}cohere-rerank", "CohereRerank", bases=BASES)
def cohere(target, base):
    check_postprocessor(CohereRerank(api_key=target.key, model=target.model, base_url=base, top_n=2), target)


@case(f"{PACKAGE}jinaai-rerank", "JinaRerank", bases=("/v1", "", "/jina/v1"))
def jina(target, base):
    check_postprocessor(JinaRerank(api_key=target.key, model=target.model, base_url=base, top_n=2), target)


@case(f"{PACKAGE}jinaai-rerank", "JinaRerank", bases=("/v1",))
def jina_unknown_model(target, base):
    postprocessor = JinaRerank(api_key=target.key, model="nope", base_url=base)
    fails(lambda: processed(postprocessor), saying="'nope' is not served here", as_="RuntimeError")


@case(f"{PACKAGE}siliconflow-rerank", "SiliconFlowRerank", bases=("/v1/rerank", "/siliconflow/v1/rerank"))
def siliconflow(target, base):
    postprocessor = SiliconFlowRerank(
        api_key=target.key, model=target.model, base_url=base, top_n=2, return_documents=True
    )
    check_postprocessor(postprocessor, target)


@case(f"{PACKAGE}tei-rerank", "TextEmbeddingInference", bases=("", "/v1", "/tei"))
def tei(target, base):
    # It sends the token as it stands, so a user writes the scheme.
    token = f"Bearer {target.key}"
    check_postprocessor(TextEmbeddingInference(base_url=base, top_n=2, auth_token=token), target)


@case(f"{PACKAGE}voyageai-rerank", "VoyageAIRerank", bases=("/v1",))
def voyage(target, base):
    postprocessor = VoyageAIRerank(model=target.model, api_key=target.key, top_n=2)
    # It has no argument for the URL.
    postprocessor._client._params["base_url"] = base
    check_postprocessor(postprocessor, target)


@case(f"{PACKAGE}xinference-rerank", "XinferenceRerank", bases=("", "/xinference"), where="open")
def xinference(target, base):
    check_postprocessor(XinferenceRerank(model=target.model, base_url=base, top_n=2), target)


@case(f"{PACKAGE}xinference-rerank", "XinferenceRerank", where="locked")
def xinference_cannot_send_a_key(target, base):
    fails(lambda: processed(XinferenceRerank(model=target.model, base_url=base, top_n=2)))


if __name__ == "__main__":
    case.main()
