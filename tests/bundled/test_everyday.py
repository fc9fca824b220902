"""The page of everyday cases: the share the shipped model ranks as a person would, against the share on its card.

A case's documents stand best first. It is right when the best one comes first; the rest of the order counts only in the
case that the project was asked for by name.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rerankd.reranker import Reranker

HERE = Path(__file__).parent
CARD = HERE.parents[1] / "docs/bundled-model.md"
CASES: Sequence[Mapping[str, Any]] = [
    json.loads(line) for line in (HERE / "everyday.jsonl").read_text("utf-8").splitlines()
]
KINDS = {"everyday", "faq", "technical", "negation", "numbers", "names", "zh-en", "en-zh"}


@pytest.fixture(scope="module")
def orders() -> list[list[int]]:
    """What the shipped model makes of every case; documents are given worst first, so that no tie helps."""
    found: list[list[int]] = []
    with Reranker() as reranker:
        for case in CASES:
            documents = list(reversed(case["documents"]))
            ranking = reranker.rank(case["query"], documents)
            found.append([len(documents) - 1 - ranked.index for ranked in ranking])
    return found


def test_the_page_has_cases_of_every_kind_and_no_query_twice() -> None:
    assert len(CASES) >= 40
    assert {case["kind"] for case in CASES} == KINDS
    assert len({case["query"] for case in CASES}) == len(CASES)
    assert all(len(set(case["documents"])) == 3 for case in CASES)


def test_the_shipped_model_gets_at_least_its_recorded_share_right(orders: list[list[int]]) -> None:
    right = [order[0] == 0 for order in orders]
    kinds = Counter(case["kind"] for case, good in zip(CASES, right, strict=True) if good)
    print(f"\n{sum(right)} of {len(CASES)} cases right: {dict(kinds)}")
    wrong = [case["query"] for case, good in zip(CASES, right, strict=True) if not good]
    print(*wrong, sep="\n")
    page = CARD.read_text("utf-8")
    assert f"{sum(right)} of {len(CASES)} everyday cases" in page
    for query in wrong:
        assert f"`{query}`" in page


def test_the_phone_stands_before_the_operating_system_before_the_fruit(orders: list[list[int]]) -> None:
    assert CASES[0]["query"] == "苹果手机有哪些新功能?"
    assert orders[0] == [0, 1, 2]
