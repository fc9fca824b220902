"""Which numbers rerankd computes in: fp32 where others are compared with, whatever the store has a verdict on."""

from typing import Literal

from comparison import places, shapes
from rerankd.settings import CacheSettings, ModelsSettings, Settings

Precision = Literal["auto", "fp32", "int8"]


def compared(model: str) -> Precision:
    """fp32, as rivals compute; the bundled model is int8 and nothing else."""
    return "auto" if model == shapes.BUNDLED else "fp32"


def in_process(model: str, precision: Precision) -> Settings:
    """Settings of a Reranker that remembers nothing, so that it computes every pair."""
    models = ModelsSettings(
        default=shapes.reference(model), store=places.store(), precision=precision, document_cache_mb=0
    )
    return Settings(models=models, cache=CacheSettings(url="off://"))
