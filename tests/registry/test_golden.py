"""Known scores of the catalog: complete, sourced, and telling apart what they are there to tell apart."""

import math
import re
import tomllib
from importlib import resources

import pytest

from rerankd.models.coverage import served
from rerankd.registry.catalog import cards
from rerankd.registry.golden import golden, read

TEXT = (resources.files("rerankd.registry") / "golden.toml").read_text("utf-8")
ROWS = [(id_, row) for id_, rows in tomllib.loads(TEXT)["scores"].items() for row in rows]
COMMIT = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/blob/[0-9a-f]{40}/\S+")
MODEL_CARD = re.compile(r"https://huggingface\.co/[\w.-]+/[\w.-]+/blob/main/README\.md")


def test_known_scores_are_of_cards_that_can_be_served() -> None:
    told = {card.id: card for card in cards()}
    assert len(golden()) >= 25
    for id_, known in golden().items():
        assert told[id_].golden == known
        assert served(told[id_]), id_
        assert 2 <= len(known) <= 5, f"{id_}: each pair is scored at every start"


@pytest.mark.parametrize(("id_", "row"), ROWS, ids=[id_ for id_, _ in ROWS])
def test_a_row_is_complete_and_says_where_it_was_read(id_: str, row: dict[str, object]) -> None:
    assert set(row) == {"of", "scale", "precision", "tolerance", "source"}
    source = str(row["source"])
    if id_ != "rerankd-zh-en":
        assert COMMIT.fullmatch(source) or MODEL_CARD.fullmatch(source), source
    tolerance, of = row["tolerance"], row["of"]
    assert isinstance(tolerance, float)
    assert isinstance(of, dict)
    smallest = {"fp32": 0.03, "fp16": 0.02, "bf16": 0.1, "int8": 0.5}[str(row["precision"])]
    assert tolerance >= smallest, "a model that is right must not be refused"
    if row["scale"] == "probability":
        assert all(0 <= score <= 1 for score in of.values())
        assert tolerance <= 0.12
    else:
        assert row["scale"] == "logit"
        assert all(math.isfinite(score) for score in of.values())
        assert tolerance <= 1


@pytest.mark.parametrize("id_", golden())
def test_no_model_that_scores_everything_alike_would_pass(id_: str) -> None:
    for scale in {known.scale for known in golden()[id_]}:
        lowest = max(known.score - known.tolerance for known in golden()[id_] if known.scale == scale)
        highest = min(known.score + known.tolerance for known in golden()[id_] if known.scale == scale)
        assert lowest > highest


def test_every_pair_is_used_and_no_two_are_the_same() -> None:
    pairs = tomllib.loads(TEXT)["pairs"]
    assert {name for _, row in ROWS for name in row["of"]} == set(pairs)
    assert len({(pair["query"], pair["document"]) for pair in pairs.values()}) == len(pairs)


def test_a_score_of_a_pair_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        read('[pairs]\n[[scores.x]]\nof = { nobody = 1.0 }\nscale = "logit"\nprecision = "fp32"\ntolerance = 0.1\n'
             'source = "s"\n')  # fmt: skip
