"""The base class for rerank models in Dify's plugin SDK, which several plugins inherit."""

# pyright: basic, reportMissingImports=false
import dify_plugin  # noqa: F401 it patches sockets, so it comes before whatever uses them
from dify_plugin.interfaces.model.openai_compatible.rerank import OAICompatRerankModel
from harness import BASES, DOCUMENTS, QUERY, Cases, check, fails

case = Cases()


def credentials(target, base):
    return {"endpoint_url": base, "api_key": target.key}


def check_result(result, target):
    """The SDK stretches each answer's scores over 0..1: the best is 1.0, the worst 0.0."""
    scores = dict(target.ranking)
    low, high = min(scores.values()), max(scores.values())
    got = [(doc.index, round(doc.score, 6), doc.text) for doc in result.docs]
    check(got, [(at, round((score - low) / (high - low), 6), DOCUMENTS[at]) for at, score in target.ranking])


@case("dify-plugin", "OAICompatRerankModel", bases=BASES)
def invoke(target, base):
    check_result(OAICompatRerankModel([])._invoke(target.model, credentials(target, base), QUERY, DOCUMENTS), target)


@case("dify-plugin", "OAICompatRerankModel", where="open")
def invoke_without_a_key(target, base):
    """It sends `Authorization: Bearer None`."""
    check_result(OAICompatRerankModel([])._invoke(target.model, {"endpoint_url": base}, QUERY, DOCUMENTS), target)


@case("dify-plugin", "OAICompatRerankModel")
def invoke_with_a_threshold(target, base):
    result = OAICompatRerankModel([])._invoke(
        target.model, credentials(target, base), QUERY, DOCUMENTS, score_threshold=0.999, top_n=3
    )
    check([doc.index for doc in result.docs], [target.ranking[0][0]])


@case("dify-plugin", "OAICompatRerankModel", bases=BASES)
def save_model(target, base):
    OAICompatRerankModel([]).validate_credentials(target.model, credentials(target, base))


@case("dify-plugin", "OAICompatRerankModel")
def save_model_that_is_not_served(target, base):
    model = OAICompatRerankModel([])
    fails(lambda: model.validate_credentials("nope", credentials(target, base)), as_="CredentialsValidateFailedError")


@case("dify-plugin", "OAICompatRerankModel", where="locked")
def save_model_with_a_wrong_key(target, base):
    model, wrong = OAICompatRerankModel([]), {"endpoint_url": base, "api_key": "wrong"}
    fails(lambda: model.validate_credentials(target.model, wrong), as_="CredentialsValidateFailedError")


if __name__ == "__main__":
    case.main()
