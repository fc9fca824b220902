"""Which architecture `config.json` names, and the module that builds it."""

from collections.abc import Callable, Mapping

from rerankd.convert import bert, deberta, gte, modernbert
from rerankd.convert.base import Architecture
from rerankd.convert.fields import Config
from rerankd.errors import UnsupportedModel

KINDS: Mapping[str, Callable[[Config], Architecture]] = {
    "bert": bert.read_bert,
    "roberta": bert.read_roberta,
    "xlm-roberta": bert.read_roberta,
    "camembert": bert.read_roberta,
    "distilbert": bert.read_distilbert,
    "electra": bert.read_electra,
    "new": gte.read_new,
    "gte": gte.read_gte,
    "deberta-v2": deberta.read_deberta,
    "modernbert": modernbert.read_modernbert,
}
"""config.json's `model_type` to what reads the rest of it."""


def read_architecture(config: Config) -> Architecture:
    """Check `config.json` and take from it what the graph depends on; defaults are those of transformers.

    Raises:
        UnsupportedModel: another kind of model, or a variant that would need another graph.
    """
    model_type = config.get("model_type")
    read = KINDS.get(model_type) if isinstance(model_type, str) else None
    if read is None:
        raise UnsupportedModel(f"model_type {model_type!r} cannot be converted: only {', '.join(KINDS)} can")
    return read(config)
