"""Cards: the format of the catalog."""

from rerankd.registry.catalog import cards, read
from rerankd.sources.base import Reference

TABLE = """
[tiny-reranker]
title = "Tiny"
description = "A test's."
languages = ["en"]
licence = "MIT"
family = "cross_encoder"
max_tokens = 512
hf = "example/tiny-reranker"
revision = "v1"
modelscope = "Example/tiny-reranker-ms"
aliases = ["tiny"]
"""


def test_a_card_names_the_places_of_its_files_in_the_order_they_are_asked() -> None:
    (card,) = read(TABLE)
    assert card.references == (
        Reference("huggingface", "example/tiny-reranker", "v1"),
        Reference("modelscope", "Example/tiny-reranker-ms", ""),
    )
    assert card.source == card.references[0]


def test_a_models_repositories_are_names_of_it() -> None:
    (card,) = read(TABLE)
    assert card.names == ("tiny-reranker", "example/tiny-reranker", "Example/tiny-reranker-ms", "tiny")


def test_no_two_cards_share_a_name() -> None:
    names = [name for card in cards() for name in {known.casefold() for known in card.names}]
    assert len(names) == len(set(names))


def test_every_card_has_a_place() -> None:
    assert all(card.references for card in cards())
