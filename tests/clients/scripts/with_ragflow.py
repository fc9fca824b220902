"""RAGFlow's own rerank factories, from a checkout of infiniflow/ragflow that RAGFLOW names."""

# pyright: basic, reportMissingImports=false
from harness import DOCUMENTS, QUERY, Cases, check, check_hits, fails
from products import RAGFLOW, checkout, ragflow_rerank_model

case = Cases()
CLIENT = "cohere"  # the one distribution that RAGFlow's file pins; RAGFlow itself is on no index
FACTORIES = {
    "JinaRerank": ("/v1/rerank", "/jina/v1/rerank"),
    "XInferenceRerank": ("", "/v1", "/v1/rerank"),
    "LocalAIRerank": ("", "/v1", "/v1/rerank"),
    "OpenAI_APIRerank": ("", "/v1", "/v1/rerank"),
    "CoHereRerank": ("/v1",),
    "HuggingfaceRerank": ("",),
    "GPUStackRerank": ("", "/v1"),
    "SILICONFLOWRerank": ("/v1", "/v1/rerank"),
    "NovitaRerank": ("/v1/rerank",),
    "GiteeRerank": ("/v1/rerank",),
    "Ai302Rerank": ("/v1/rerank",),
    "JiekouAIRerank": ("/v1/rerank",),
    "GreenPTRerank": ("/v1",),
    "FuturMixRerank": ("/v1",),
    "RAGconRerank": ("/v1",),
    "NewAPIRerank": ("/v1",),
    "NvidiaRerank": ("/v1",),
}
KEYLESS = frozenset({"HuggingfaceRerank"})
FACTORY_SUFFIX = frozenset({"LocalAIRerank", "OpenAI_APIRerank", "CoHereRerank"})


def factory(name, target, base):
    """Make a factory as RAGFlow's model manager does: key, name, URL."""
    return getattr(ragflow_rerank_model(checkout(RAGFLOW)), name)(target.key, target.model, base)


def check_factory(made, target, scores_of=lambda score: score):
    scores, tokens = made.similarity(QUERY, DOCUMENTS)
    check(tokens > 0, True)
    expected = dict(target.ranking)
    check_hits([(index, float(scores[index])) for index, _ in target.ranking], target)
    check(len(scores), len(expected))


def register(name, bases):
    def rank(target, base):
        check_factory(factory(name, target, base), target)

    def add_model(target, base):
        """The check RAGFlow makes when a model is added: one document, and a token count that is not 0."""
        scores, tokens = factory(name, target, base).similarity("What's the weather?", ["Is it sunny today?"])
        check((len(scores), tokens > 0), (1, True))

    rank.__name__, add_model.__name__ = f"{name}_rank", f"{name}_add_model"
    where = "open" if name in KEYLESS else "both"
    case(CLIENT, name, bases=bases, where=where)(rank)
    case(CLIENT, name, bases=bases, where=where)(add_model)


for each, roots in FACTORIES.items():
    if each != "NvidiaRerank":
        register(each, roots)


@case(CLIENT, "HuggingfaceRerank", where="open")
def huggingface_without_a_scheme_in_batches_of_eight(target, base):
    scores, _ = factory("HuggingfaceRerank", target, target.authority).similarity(QUERY, [DOCUMENTS[1]] * 20)
    check([round(float(score), 5) for score in scores], [round(dict(target.ranking)[1], 5)] * 20)


@case(CLIENT, "HuggingfaceRerank", where="locked")
def huggingface_cannot_send_a_key(target, base):
    fails(lambda: factory("HuggingfaceRerank", target, base).similarity(QUERY, DOCUMENTS))


@case(CLIENT, "NvidiaRerank")
def nvidia_appends_ranking(target, base):
    """It reads logits and stretches them over 0..1 itself, so only the order is compared."""
    scores, _ = factory("NvidiaRerank", target, f"{base}/v1").similarity(QUERY, DOCUMENTS)
    order = sorted(range(len(DOCUMENTS)), key=lambda index: (-float(scores[index]), index))
    check(order, [index for index, _ in target.ranking])


if __name__ == "__main__":
    case.main()
