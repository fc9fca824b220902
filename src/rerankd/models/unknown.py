"""What a model is that no family knows, and what would work instead: a sentence for whoever tried to serve it."""

from collections.abc import Sequence

from rerankd.convert.architecture import KINDS
from rerankd.families.base import Snapshot

_VISION = ("vision_config", "image_size", "image_token_id")
_ENDINGS = {
    "ForCausalLM": "a language model that writes text. Rerankers of this kind are served where the folder or the "
    "model card (README.md) names them: Qwen3-Reranker, mxbai-rerank v2, bge-reranker-v2-gemma",
    "ForMaskedLM": "a pretrained model without a head that scores: fine-tune it, or choose a reranker made of it",
    "ForConditionalGeneration": "a model that writes text from text: choose a reranker that is a sequence classifier",
    "ForTokenClassification": "a classifier of single words: choose a reranker, which classifies pairs of texts",
    "ForQuestionAnswering": "a model that marks answers in a text: choose a reranker, which classifies pairs of texts",
    "Model": "an encoder without a head, as embedding models are: choose the reranker of the same series",
}


def describe(snapshot: Snapshot) -> str:
    """Say what the files are, as far as `config.json` and the file names tell, and what would work."""
    config = snapshot.config
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, Sequence) and not isinstance(names, str) and names else ""
    kind = config.get("model_type")
    what = f"{name or 'a model of no named architecture'} (model_type {kind!r})"
    if any(key in config for key in _VISION) or "ForImageClassification" in name:
        return f"{what} is a model that looks at pictures: choose a reranker that reads text"
    if name.endswith("ForSequenceClassification"):
        return f"{what} is a classifier of an architecture that is not built here: {_known()} are"
    for ending, sentence in _ENDINGS.items():
        if name.endswith(ending):
            return f"{what} is {sentence}"
    if "adapter_config.json" in snapshot.files:
        return f"{what} is an adapter: merge it into its base model (merge_and_unload) and save the whole"
    if "auto_map" in config:
        return f"{what} is code that comes with its weights, which is never run here: {_known()} are built without it"
    return f"{what} says nothing of what it does: classifiers of one label are served ({_known()})"


def _known() -> str:
    return ", ".join(KINDS)
