"""What a model's files tell sentence-transformers' CrossEncoder (6.2.0) to do around the network.

Sources there: cross_encoder/model.py `get_default_activation_fn`, base/modules/transformer.py `Transformer.__init__`.
"""

from collections.abc import Mapping, Sequence

from rerankd.convert import modular
from rerankd.convert.modular import MODULES_FILE
from rerankd.errors import UnsupportedModel
from rerankd.families._reference_tokenizer import ReferenceTokenizer, read_json
from rerankd.families.base import Snapshot
from rerankd.types import JsonObject, ScoreType

_SETTINGS_FILE = "config_sentence_transformers.json"
_MODULE_FILE = "sentence_bert_config.json"
_SCORE_TYPES: Mapping[str, ScoreType] = {"Sigmoid": ScoreType.PROBABILITY, "Identity": ScoreType.LOGIT}


def check_model(snapshot: Snapshot) -> None:
    """Refuse what cannot give one score per pair.

    Raises:
        UnsupportedModel: an embedding model, a classifier of several labels, or a model that wants a prompt.
    """
    if modular.is_chain(snapshot):
        modular.read_chain(snapshot)
    else:
        _check_classifier(snapshot)
    settings = _saved_settings(snapshot)
    prompt_name = settings.get("default_prompt_name")
    prompts = settings.get("prompts")
    if isinstance(prompt_name, str) and isinstance(prompts, Mapping) and prompts.get(prompt_name):
        raise UnsupportedModel(
            f"the model puts the prompt {prompt_name!r} before each input: "
            f"clear default_prompt_name in {_SETTINGS_FILE} to serve it without"
        )


def _check_classifier(snapshot: Snapshot) -> None:
    architecture = _architecture(snapshot.config)
    modules = tuple(module.kind for module in modular.read_modules(snapshot))
    if "Pooling" in modules or (architecture and not architecture.endswith("ForSequenceClassification")):
        raise UnsupportedModel(
            f"this is {'an embedding model' if 'Pooling' in modules else f'a {architecture}'}, not a cross-encoder: "
            "choose a reranker, whose config.json names an architecture that ends in ForSequenceClassification"
        )
    if modules and modules != ("Transformer",):
        raise UnsupportedModel(
            f"{MODULES_FILE} chains {' and '.join(modules)}: only a cross-encoder that is one Transformer, or a "
            "Transformer, a Pooling and what makes a score of it, can be served"
        )
    labels = count_labels(snapshot.config)
    if labels != 1:
        raise UnsupportedModel(
            f"the classifier has {labels} labels: it sorts pairs into classes and gives no relevance; "
            "a reranker has one label"
        )


def is_classifier(snapshot: Snapshot) -> bool:
    """Tell whether the files claim to be a classifier, or are an embedding model worth a clear refusal."""
    architecture = _architecture(snapshot.config)
    return architecture.endswith("ForSequenceClassification") or MODULES_FILE in snapshot.files


def count_labels(config: JsonObject) -> int:
    """As transformers: the length of id2label, else num_labels, else 2."""
    names = config.get("id2label")
    if isinstance(names, Mapping):
        return len(names)
    number = config.get("num_labels")
    return number if isinstance(number, int) else 2


def score_type(snapshot: Snapshot) -> ScoreType:
    """Which activation the reference puts on the logit: the first that a file names, else a sigmoid.

    Raises:
        UnsupportedModel: an activation other than sigmoid and identity.
    """
    nested = snapshot.config.get("sentence_transformers")
    candidates = [
        _saved_settings(snapshot).get("activation_fn"),
        nested.get("activation_fn") if isinstance(nested, Mapping) else None,
    ]
    if not (isinstance(nested, Mapping) and "activation_fn" in nested):
        candidates.append(snapshot.config.get("sbert_ce_default_activation_function"))
    for name in candidates:
        # Names outside torch are code the reference does not run unless told to; it takes the default then.
        if isinstance(name, str) and name.startswith("torch."):
            found = _SCORE_TYPES.get(name.rpartition(".")[2])
            if found is None:
                raise UnsupportedModel(f"the activation {name!r} cannot be applied: only Sigmoid and Identity can")
            return found
    return ScoreType.PROBABILITY


def longest_pair(snapshot: Snapshot, tokenizer: ReferenceTokenizer, positions: int) -> int:
    """The longest pair: as the reference, and never more than the network has positions for.

    `positions` is that number. The reference caps at config.json's max_position_embeddings, which for RoBERTa is
    more than there are: it fails on pairs that long.
    """
    module: JsonObject = read_json(snapshot, _MODULE_FILE) if MODULES_FILE in snapshot.files else {}
    saved = module.get("processor_kwargs", module.get("tokenizer_args"))
    lengths = [saved.get("model_max_length") if isinstance(saved, Mapping) else None, module.get("max_seq_length")]
    chosen = next((length for length in lengths if isinstance(length, int)), tokenizer.model_max_length)
    return positions if chosen is None else min(chosen, positions)


def _architecture(config: JsonObject) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, Sequence) and not isinstance(names, str) and names else ""


def _saved_settings(snapshot: Snapshot) -> JsonObject:
    return read_json(snapshot, _SETTINGS_FILE) if MODULES_FILE in snapshot.files else {}
