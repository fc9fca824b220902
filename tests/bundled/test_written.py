"""What was written to train on: whole lists, and nothing of the cases that judge the model."""

import gzip
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TRAINING = HERE.parents[1] / "training"
WRITTEN = TRAINING / "written"
FILES = sorted(WRITTEN.rglob("*.jsonl"))
PAGES = [file for file in FILES if file.stem.startswith("pages_")]
LISTS = [file for file in FILES if file not in PAGES]
GRAM = {True: 3, False: 6}
"""Characters compared at a time, by whether a text has Chinese ones."""
SHARED = 0.5


def _rows(file: Path) -> Sequence[Mapping[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def _texts(row: Mapping[str, Any]) -> Sequence[str]:
    if "texts" in row:
        return (*row["texts"], *(query["q"] for query in row["queries"]))
    return (row["q"], *row.get("pos", ()), *row.get("neg", ()))


def _grams(text: str) -> frozenset[str]:
    size = GRAM[any("一" <= one <= "鿿" for one in text)]
    return frozenset(text[at : at + size].lower() for at in range(len(text) - size + 1))


@pytest.mark.parametrize("file", LISTS, ids=lambda file: str(file.relative_to(WRITTEN)))
def test_every_list_is_whole(file: Path) -> None:
    rows = _rows(file)
    assert len({(row["q"], row.get("passage")) for row in rows}) == len(rows)
    for row in rows:
        assert row["q"].strip()
        if file.stem == "questions":
            assert len(row["passage"]) == 16
            assert row["language"] in {"zh", "en"}
            continue
        assert row["pos"]
        assert len(row["neg"]) >= 3
        assert len({*row["pos"], *row["neg"]}) == len(row["pos"]) + len(row["neg"])


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.stem)
def test_every_page_has_texts_that_do_not_answer_each_query(file: Path) -> None:
    rows = _rows(file)
    queries = [query["q"] for row in rows for query in row["queries"]]
    assert len({*queries}) == len(queries) > 0
    for row in rows:
        texts = row["texts"]
        assert len({*texts}) == len(texts)
        for query in row["queries"]:
            assert query["q"].strip()
            assert {*query["pos"]} < {*range(len(texts))}
            assert len(texts) - len(query["pos"]) >= 3


def test_no_text_resembles_one_of_the_cases() -> None:
    cases = [_grams(text) for row in _rows(HERE / "everyday.jsonl") for text in (row["query"], *row["documents"])]
    assert cases
    found = [
        text
        for file in FILES
        for row in _rows(file)
        for text in _texts(row)
        if any(_share(grams, case) > SHARED for grams in [_grams(text)] for case in cases)
    ]
    assert not found


def _share(left: frozenset[str], right: frozenset[str]) -> float:
    smaller = min(len(left), len(right))
    return len(left & right) / smaller if smaller >= GRAM[True] else 0.0


def test_a_page_becomes_a_list_of_each_query_by_the_languages_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TRAINING))
    written = importlib.import_module("written")
    texts = [
        "Run backup --full once a week.",
        "Run restore to get files back.",
        "Backups lie in /var/b.",
        "None is kept.",
    ]
    queries = [
        {"q": "where are they", "pos": [2]},
        {"q": "怎么恢复文件 restore", "pos": [1]},
        {"q": "how often", "pos": [0, 3]},
    ]
    zh = {
        "title": "x",
        "texts": ["每周执行一次 backup。", "用 restore 恢复文件。"],
        "queries": [{"q": "多久一次", "pos": [0]}],
    }
    found = written.paged([{"title": "x", "texts": texts, "queries": queries}, zh])
    assert found == {
        "en": [
            {"q": "where are they", "pos": [texts[2]], "neg": [texts[0], texts[1], texts[3]]},
            {"q": "how often", "pos": [texts[0], texts[3]], "neg": texts[1:3]},
        ],
        "zh_en": [{"q": "怎么恢复文件 restore", "pos": [texts[1]], "neg": [texts[0], *texts[2:]]}],
        "zh": [{"q": "多久一次", "pos": [zh["texts"][0]], "neg": [zh["texts"][1]]}],
    }


def test_questions_find_their_passage_and_what_stands_next_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TRAINING))
    written = importlib.import_module("written")
    passages = [
        "Backups are written to the folder that the option target names.",
        "Backups are written to the folder that the option target names, once a day.",
        "A folder is restored from backups by the command restore.",
        "Colours of the folder view are chosen in the settings.",
        "The folder of backups may lie on another machine.",
    ]
    rows = [{"q": "x", "pos": [passage], "neg": []} for passage in passages]
    (tmp_path / "docs_en.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    (tmp_path / "docs_zh.jsonl.gz").write_bytes(gzip.compress(b""))
    name = written.name_of(passages[0])
    asked = [
        {"passage": name, "language": "en", "q": "where do backups go, which folder"},
        {"passage": name, "language": "zh", "q": "备份写到哪里"},
        {"passage": "0" * 16, "language": "en", "q": "of a passage that is not there"},
    ]

    class Longest:
        """Ranks the command's passage above the one asked for, and longer ones above shorter ones."""

        def raw_scores(self, query: str, documents: Sequence[str]) -> Sequence[float]:
            del query
            return [9.0 if "restore" in text else 5.0 if text == passages[0] else len(text) / 100 for text in documents]

    found = written.asked(asked, tmp_path, Longest())
    expected = {"pos": [passages[0]], "neg": [passages[3], passages[4]]}
    assert found == {"en": [{"q": asked[0]["q"], **expected}], "zh_en": [{"q": asked[1]["q"], **expected}]}
