"""Cards: the format of the catalog."""

from catalog_page import PAGE, page
from rerankd.models.coverage import served
from rerankd.registry.catalog import cards, find, read
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


def test_the_catalog_holds_what_people_use_by_the_names_they_use() -> None:
    assert len(cards()) >= 30
    for name, id_ in {
        "bge-chinese": "bge-reranker-base",
        "minilm": "ms-marco-minilm-l6-reranker",
        "BAAI/bge-reranker-v2-m3": "bge-reranker-v2-m3",
        "qwen/qwen3-reranker-0.6b": "qwen3-reranker-0.6b",
        "cross-encoder/ms-marco-MiniLM-L-6-v2": "ms-marco-minilm-l6-reranker",
        "maidalun1020/bce-reranker-base_v1": "bce-reranker-base-v1",
    }.items():
        card = find(name)
        assert card is not None
        assert card.id == id_


def test_every_fact_and_every_figure_says_where_it_is_from() -> None:
    for card in cards():
        if card.source.source == "bundled":
            continue
        assert card.facts_from, card.id
        assert card.references[0].source == "huggingface", card.id
        for row in card.quality.values():
            assert isinstance(row, dict)
            assert row["source"], card.id
        assert card.active_millions is None or card.parameters_millions is not None
        assert not card.active_millions or card.active_millions <= (card.parameters_millions or 0), card.id


def test_what_no_family_reads_is_not_said_to_be_served() -> None:
    told = {card.id: served(card) for card in cards()}
    assert told["bge-reranker-base"]
    assert told["qwen3-reranker-0.6b"]
    assert told["rerankd-zh-en"]
    assert not told["bge-reranker-v2-minicpm-layerwise"]
    assert not told["jina-reranker-v3"]


def test_the_page_of_the_catalog_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run PYTHONPATH=src:tests python tests/catalog_page.py"
