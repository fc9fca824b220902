"""Xinference's client: it asks whether a key is needed, looks the model up, and ranks with nulls in the body."""

# pyright: basic, reportMissingImports=false
from harness import DOCUMENTS, QUERY, Cases, check, check_hits, check_texts, fails
from xinference_client import RESTfulClient

case = Cases()


def client(target, base, key=None):
    return RESTfulClient(base, api_key=key or target.key)


def hits(answer):
    return [(hit["index"], hit["relevance_score"]) for hit in answer["results"]]


@case("xinference-client", "RESTfulClient.get_model().rerank", bases=("", "/xinference"))
def with_documents(target, base):
    """Dify's plugin needs the text of every document."""
    answer = client(target, base).get_model(target.model).rerank(DOCUMENTS, QUERY, return_documents=True)
    check_hits(hits(answer), target)
    check_texts((hit["document"]["text"] for hit in answer["results"]), target)


@case("xinference-client", "RESTfulClient.get_model().rerank")
def with_top_n_and_extra_parameters(target, base):
    model = client(target, base).get_model(target.model)
    answer = model.rerank(DOCUMENTS, QUERY, top_n=2, return_len=True, normalize=True)
    check_hits(hits(answer), target, 2)


@case("xinference-client", "RESTfulClient.list_models")
def list_models(target, base):
    models = client(target, base).list_models()
    check({"rerank"}, {model["model_type"] for model in models.values()})


@case("xinference-client", "RESTfulClient.get_model().rerank")
def unknown_model(target, base):
    fails(lambda: client(target, base).get_model("nope"), saying="'nope' is not served here", as_="RuntimeError")


@case("xinference-client", "RESTfulClient.get_model().rerank")
def no_documents(target, base):
    model = client(target, base).get_model(target.model)
    fails(lambda: model.rerank([], QUERY), saying="documents", as_="RuntimeError")


@case("xinference-client", "RESTfulClient.get_model().rerank", where="locked")
def wrong_key(target, base):
    fails(lambda: client(target, base, "wrong").get_model(target.model), saying="API key", as_="RuntimeError")


if __name__ == "__main__":
    case.main()
