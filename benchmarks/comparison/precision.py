"""The setting that chooses between fp32 and int8, found among rerankd's settings."""

from comparison import places
from comparison.processes import Failed
from rerankd import config
from rerankd.settings import CacheSettings, ModelsSettings, Settings


def setting() -> str | None:
    """Return the setting's full name ("models.precision"), None where this rerankd has none."""
    return next((found.name for found in config.declared() if found.name.endswith("precision")), None)


def in_process(model: str, precision: str = "") -> Settings:
    """Settings of a Reranker that computes every pair, in a precision, by default rerankd's own choice.

    Raises:
        Failed: a precision is asked for, and this rerankd does not let one choose.
    """
    settings = Settings(
        models=ModelsSettings(default=model, store=places.store(), document_cache_mb=0),
        cache=CacheSettings(url="off://"),
    )
    if not precision:
        return settings
    name = setting()
    if name is None:
        raise Failed("this rerankd has no setting that chooses a precision")
    section, _, field = name.partition(".")
    changed = getattr(settings, section).model_copy(update={field: precision})
    return settings.model_copy(update={section: changed})


def option(precision: str) -> tuple[str, ...]:
    """The words of `rerankd serve` that choose a precision; none where there is nothing to choose."""
    name = setting()
    return (f"--{name}", precision) if name else ()
