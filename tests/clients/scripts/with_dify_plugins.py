"""Dify's own plugins, from a checkout of langgenius/dify-official-plugins that DIFY_OFFICIAL_PLUGINS names."""

# pyright: basic, reportMissingImports=false
import dify_plugin  # noqa: F401 it patches sockets, so it comes before whatever uses them
from dify_plugin import RerankModel
from harness import DOCUMENTS, QUERY, Cases, check, check_hits, check_texts, fails
from products import DIFY, checkout, dify_module

case = Cases()
CLIENT = "dify-plugin"
PLUGINS = {
    # name of the plugin: the credential that holds the URL, and the bases a user may give
    "openai_api_compatible": ("endpoint_url", ("/v1", "", "/v1/")),
    "xinference": ("server_url", ("", "/")),
    "localai": ("server_url", ("", "/v1")),
    "huggingface_tei": ("server_url", ("", "/tei")),
    "jina": ("base_url", ("/v1", "/jina/v1")),
    "cohere": ("base_url", ("/v1", "/cohere/v1")),
    "gpustack": ("endpoint_url", ("", "/v1")),
    "voyage": ("base_url", ("/v1", "/voyage/v1")),
    "siliconflow": ("base_url", ("/v1", "/siliconflow/v1")),
    "gitee_ai": ("base_url", ("/v1",)),
    "aihubmix": ("api_url", ("",)),
    "openrouter": ("endpoint_url", ("/v1",)),
    "ollama": ("base_url", ("", "/api/rerank")),
    "mixedbread": ("base_url", ("/v1",)),
}

WITHOUT_TOP_N = {"gpustack": 3}
"""How many a plugin asks for where the user asked for none in particular; the others ask for all."""


def model_of(plugin):
    module = dify_module(checkout(DIFY), plugin)
    own = [kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__]
    return next(kind for kind in own if issubclass(kind, RerankModel))([])


def credentials(target, base, plugin):
    given = {PLUGINS[plugin][0]: base, "api_key": target.key}
    return given | {"model_uid": target.model} if plugin == "xinference" else given


def register(plugin, bases):
    def save_and_invoke(target, base):
        model = model_of(plugin)
        model.validate_credentials(target.model, credentials(target, base, plugin))
        result = model._invoke(target.model, credentials(target, base, plugin), QUERY, DOCUMENTS, top_n=None)
        top_n = WITHOUT_TOP_N.get(plugin)
        check_hits(((document.index, document.score) for document in result.docs), target, top_n)
        check_texts((document.text for document in result.docs), target, top_n)

    def save_a_model_that_is_not_served(target, base):
        model = model_of(plugin)
        given = credentials(target, base, plugin) | ({"model_uid": "nope"} if plugin == "xinference" else {})
        fails(lambda: model.validate_credentials("nope", given), as_="CredentialsValidateFailedError")

    save_and_invoke.__name__ = f"{plugin}_save_and_invoke"
    save_a_model_that_is_not_served.__name__ = f"{plugin}_save_a_model_that_is_not_served"
    case(CLIENT, plugin, bases=bases)(save_and_invoke)
    if plugin != "huggingface_tei":  # TEI's requests name no model
        case(CLIENT, plugin, bases=bases[:1])(save_a_model_that_is_not_served)


for name, (_, roots) in PLUGINS.items():
    register(name, roots)


@case(CLIENT, "huggingface_tei")
def huggingface_tei_a_hundred_documents_in_one_call(target, base):
    documents = [f"{DOCUMENTS[place % 3]} {place}" for place in range(100)]
    given = {"server_url": base, "api_key": target.key}
    result = model_of("huggingface_tei")._invoke(target.model, given, QUERY, documents)
    check(sorted(document.index for document in result.docs), list(range(100)))
    scores = [document.score for document in result.docs]
    check(scores, sorted(scores, reverse=True))
    check([document.text for document in result.docs], [documents[document.index] for document in result.docs])


@case(CLIENT, "xinference")
def xinference_refuses_a_slash_itself(target, base):
    given = {"server_url": base, "model_uid": "BAAI/bge-reranker-v2-m3", "api_key": target.key}
    fails(lambda: model_of("xinference").validate_credentials(target.model, given), saying="should not contain /")


if __name__ == "__main__":
    case.main()
