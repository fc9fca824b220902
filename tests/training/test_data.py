"""Reading, holding out and mining."""

import gzip
import json
from pathlib import Path

import pytest

from rerankd.errors import InvalidRequest
from rerankd.training import lists, mining
from rerankd.training.lists import TrainingData, TrainingList


def write(file: Path, *rows: object) -> Path:
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return file


def all_of(data: TrainingData) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(one.query, one.positives, one.negatives) for one in data.lists]


def test_json_lines_with_lists_may_leave_negatives_out(tmp_path: Path) -> None:
    file = write(
        tmp_path / "faq.jsonl", {"q": "猫?", "pos": ["猫", "貓"]}, {"query": "d", "positive": "dog", "negatives": ["x"]}
    )
    data = lists.read(file)
    assert data.name == "faq"
    assert all_of(data) == [("猫?", ("猫", "貓"), ()), ("d", ("dog",), ("x",))]
    assert data.documents == ("猫", "貓", "dog", "x")


def test_pairs_with_labels_are_gathered_by_their_query(tmp_path: Path) -> None:
    rows = [("a", "x", 1), ("b", "y", 2.5), ("a", "z", 0), ("a", "x", 1), ("c", "x", 0)]
    pairs = [{"query": query, "document": document, "label": label} for query, document, label in rows]
    file = tmp_path / "pairs.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, pairs)).encode()))
    assert all_of(lists.read(file)) == [("a", ("x",), ("z",)), ("b", ("y",), ())]


@pytest.mark.parametrize(("suffix", "comma"), [("csv", ","), ("tsv", "\t")])
def test_a_table_is_read_by_its_heading(tmp_path: Path, suffix: str, comma: str) -> None:
    file = tmp_path / f"table.{suffix}"
    text = [["Query", "Positive", "negative"], ["a", '"two\nlines"', "n"], ["a", "second", ""]]
    file.write_text("\n".join(comma.join(row) for row in text), "utf-8")
    assert all_of(lists.read(file)) == [("a", ("two\nlines", "second"), ("n",))]


def test_a_beir_folder_is_read_by_its_training_judgements(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", *({"_id": i, "title": "", "text": t} for i, t in (("1", "x"), ("2", "y"))))
    write(tmp_path / "queries.jsonl", {"_id": "q1", "text": "a"}, {"_id": "q2", "text": "b"})
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t1\t1\nq1\t2\t0\n")
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\t2\t1\n")
    assert all_of(lists.read(tmp_path)) == [("a", ("x",), ("y",))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"positives": ["x"]}, 'no "query"'),
        ({"query": "a"}, 'needs "positives"'),
        ({"query": "a", "positives": [1]}, "a text or a list of texts"),
        ({"query": "a", "document": "x", "label": "good"}, '"label" must be a number'),
        ({"query": "a", "document": "x", "label": 0}, "no query of"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        lists.read(write(tmp_path / "data.jsonl", row))


def test_the_same_queries_are_held_out_whatever_the_order(tmp_path: Path) -> None:
    rows = [{"query": f"q{i}", "positives": [f"d{i}"]} for i in range(50)]
    forth, back = write(tmp_path / "a.jsonl", *rows), write(tmp_path / "b.jsonl", *reversed(rows))
    kept, held = lists.split(lists.read(forth), 0.2, 200, 1)
    assert len(held) == 10
    assert set(held) == set(lists.split(lists.read(back), 0.2, 200, 1)[1])
    assert not set(held) & set(kept.lists)
    assert set(held) != set(lists.split(lists.read(forth), 0.2, 200, 2)[1])


def test_too_few_queries_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="--eval"):
        lists.split(lists.read(write(tmp_path / "a.jsonl", {"query": "a", "positives": ["x"]})), 0.1, 200, 1)


DOCUMENTS = ("red cat", "blue cat", "green cat", "dog", "red dog", "fish")


def mined(score: mining.Score | None, count: int = 3) -> TrainingList:
    data = TrainingData("d", (TrainingList("red cat", ("red cat",), ("fish",)),), DOCUMENTS)
    return mining.mine(data, count, score, seed=1, watch=lambda some: some)[0]


def test_negatives_that_were_given_come_first_and_bm25_fills_up() -> None:
    found = mined(None)
    assert found.negatives[0] == "fish"
    assert set(found.negatives[1:]) <= {"blue cat", "green cat", "red dog"}
    assert len(found.negatives) == 3


def test_the_model_puts_its_own_hardest_first_and_passes_over_what_it_finds_as_good_as_the_answer() -> None:
    liked = {"red cat": 0.9, "red dog": 0.89, "green cat": 0.5, "blue cat": 0.1}
    found = mined(lambda _, documents: [liked[one] for one in documents])
    assert found.negatives == ("fish", "green cat", "blue cat")


def test_random_documents_fill_up_where_words_run_out_and_never_a_relevant_one() -> None:
    data = TrainingData("d", (TrainingList("zebra", ("dog",)),), DOCUMENTS)
    found = mining.mine(data, 9, None, seed=1, watch=lambda some: some)[0]
    assert set(found.negatives) == set(DOCUMENTS) - {"dog"}


def test_held_out_lists_hold_bm25s_candidates_in_its_order_then_others_and_last_the_answer_it_missed() -> None:
    [one] = mining.judged([TrainingList("red cat", ("dog",), ("fish",))], DOCUMENTS, 5)
    assert one.documents[0] == "red cat"
    assert one.documents.index("fish") == 4
    assert one.documents[-1] == "dog"
    assert [text for text, gain in zip(one.documents, one.gains, strict=True) if gain > 0] == ["dog"]


def test_held_out_lists_are_filled_up_where_no_word_is_shared() -> None:
    [one] = mining.judged([TrainingList("zebra", ("dog",))], DOCUMENTS, 4)
    assert len(one.documents) == 5
    assert one.documents[-1] == "dog"
