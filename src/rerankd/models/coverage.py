"""Which of the models that a card describes can be served by this version."""

from rerankd import plugins
from rerankd.convert.architecture import KINDS
from rerankd.registry.catalog import Card

_CONVERTED = "cross_encoder"


def served(card: Card) -> bool:
    """Tell whether there is a family for a card, and for a cross-encoder, whether its architecture is built."""
    if card.family not in plugins.names("families"):
        return False
    return card.family != _CONVERTED or card.model_type in KINDS
