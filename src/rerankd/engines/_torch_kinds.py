"""Which models the torch engine knows, told without importing torch."""

from collections.abc import Mapping

ENCODERS: Mapping[str, str] = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta"}
"""`model_type` to how positions are counted and which head a classifier has."""

DECODERS = frozenset({"gemma", "llama", "qwen2", "qwen3"})
"""The values of `model_type` of language models."""
