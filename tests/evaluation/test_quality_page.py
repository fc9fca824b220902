"""docs/explanation/quality.md says what was measured."""

import json

import quality_pages


def test_the_tables_are_those_of_the_measurement() -> None:
    assert quality_pages.PAGE.read_text("utf-8") == quality_pages.filled(), "run `make docs`"


def test_the_measurement_is_of_whole_sets_and_of_the_shipped_model() -> None:
    found = json.loads(quality_pages.DATA.read_text("utf-8"))
    assert {"rerankd-zh-en", "e5-late", "e5-cosine", "BM25"} <= {each["name"] for each in found["groups"][0]["systems"]}
    assert all(judged["queries"] >= 150 for judged in found["sets"])
