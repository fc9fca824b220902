"""Judged queries from every form of file."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from rerankd.errors import InvalidRequest
from rerankd.evaluation import corpus, sets
from rerankd.evaluation.trec import is_run, read_qrels, read_run, texts, write_run


def write(file: Path, rows: Iterable[Mapping[str, object]], *, packed: bool = False) -> Path:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return file


def beir(folder: Path, *, packed: bool = False) -> Path:
    ending = ".jsonl.gz" if packed else ".jsonl"
    passages = [
        {"_id": "d1", "title": "Cats", "text": "They purr."},
        {"_id": "d2", "title": "", "text": "Dogs bark at cats."},
        {"_id": "d3", "text": "Bananas are yellow."},
        {"_id": "d4", "text": "猫会发出呼噜声。"},
    ]
    queries = [{"_id": "q1", "text": "cats"}, {"_id": "q2", "text": "猫会"}, {"_id": "q3", "text": "unjudged"}]
    write(folder / f"corpus{ending}", passages, packed=packed)
    write(folder / f"queries{ending}", queries, packed=packed)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t0\nq2\td4\t1\n")
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td3\t1\n")
    return folder


def test_positives_and_negatives_are_shuffled_the_same_way_every_time(tmp_path: Path) -> None:
    row = {"query": "q", "positives": ["p"], "negatives": [f"n{i}" for i in range(9)], "language": "en"}
    read = sets.load(write(tmp_path / "my.jsonl", [{**row, "id": f"q{i}"} for i in range(20)]))
    assert read.name == "my"
    assert read.order == "none"
    first = read.queries[0]
    assert sorted(first.documents) == sorted(["p", *row["negatives"]])
    assert sum(first.gains) == 1.0
    assert first.gains[first.documents.index("p")] == 1.0
    assert first.subset == "en"
    places = [query.documents.index("p") for query in read.queries]
    assert len(set(places)) > 3, "the positive must not stand at one place"
    assert sets.load(tmp_path / "my.jsonl") == read


def test_candidates_keep_their_order_ids_and_grades(tmp_path: Path) -> None:
    rows = [
        {"query": "q", "candidates": [{"id": "b", "text": "B", "gain": 0.5}, {"text": "A", "gain": 2}, "C"]},
        {"query": "q", "candidates": ["B", "A", "A"], "positives": ["A", "never retrieved"]},
    ]
    graded, plain = sets.load(write(tmp_path / "my.jsonl.gz", rows, packed=True)).queries
    assert graded.documents == ("B", "A", "C")
    assert graded.gains == (0.5, 2.0, 0.0)
    assert graded.ids[0] == "b"
    assert graded.ids[2] not in graded.judgements, "a candidate without a gain is unjudged"
    assert plain.gains == (0.0, 1.0, 1.0)
    assert sorted(plain.judgements.values()) == [0.0, 1.0, 1.0, 1.0], "the one that was not retrieved counts too"


def test_candidates_by_id_come_from_the_passages_beside(tmp_path: Path) -> None:
    write(tmp_path / "dev.passages.jsonl.gz", [{"id": 7, "text": "seven"}, {"id": 8, "text": "eight"}], packed=True)
    rows = [{"q": "which?", "cands": [8, 7], "gold": [7, 9]}]
    read = sets.load(write(tmp_path / "dev.jsonl.gz", rows, packed=True))
    assert read.order == "given"
    assert read.queries[0].documents == ("eight", "seven")
    assert read.queries[0].gains == (0.0, 1.0)
    assert read.queries[0].judgements == {"7": 1.0, "8": 0.0, "9": 1.0}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{}", 'a query needs "positives"'),
        ('{"query": "q", "positives": ["p"]}', "negatives"),
        ('{"query": "q", "candidates": "text"}', "must be a list"),
        ('{"query": "q", "candidates": ["a", "b"]}', "nothing is relevant"),
        ('{"query": "q", "candidates": [{"text": "a", "gain": "high"}]}', "a number"),
        ('{"query": "q", "candidates": [{"id": 1, "text": "a", "gain": 1}, {"id": 1, "text": "b"}]}', "same id"),
        ('{"positives": ["p"], "negatives": ["n"]}', 'no "query"'),
        ('{"query": "q", "positives": [1], "negatives": ["n"]}', "list of texts"),
        ("[]", "no JSON object"),
        ("{", "not JSON"),
        ('{"q": "x", "cands": [1], "gold": [1]}', r"put bad\.passages\.jsonl beside it"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(line)
    with pytest.raises(InvalidRequest, match=complaint) as caught:
        sets.load(file)
    assert "bad.jsonl" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_is_damaged_or_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(gzip.compress(b'{"query": "a"}' * 100)[:-9])
    with pytest.raises(InvalidRequest, match="damaged"):
        sets.load(file)
    file.write_bytes('{"query": "数据库的备份"}'.encode("gb18030"))
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        sets.load(file)
    file.write_bytes(b"")
    with pytest.raises(InvalidRequest, match="no queries"):
        sets.load(file)
    with pytest.raises(InvalidRequest, match="no file or folder"):
        sets.load(tmp_path / "nowhere")
    with pytest.raises(InvalidRequest, match="no BEIR folder"):
        sets.load(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_beir_folder_without_a_run_gets_its_candidates_from_bm25(tmp_path: Path, packed: bool) -> None:
    read = sets.load(beir(tmp_path / "pets", packed=packed))
    assert (read.name, read.order) == ("pets", "bm25")
    assert [query.id for query in read.queries] == ["q1", "q2"], "a query without judgements is left out"
    assert read.queries[0].ids == ("d1", "d2")
    assert read.queries[0].documents[0] == "Cats They purr."
    assert read.queries[0].judgements == {"d1": 2.0, "d3": 0.0}
    assert read.queries[1].documents == ("猫会发出呼噜声。",)
    assert [query.id for query in sets.load(tmp_path / "pets", limit=1).queries] == ["q1"]
    assert sets.load(tmp_path / "pets", top_k=1).queries[0].ids == ("d1",)
    assert [query.id for query in sets.load(tmp_path / "pets", split="dev").queries] == ["q3"]
    with pytest.raises(InvalidRequest, match=r"no qrels/train\.tsv \(splits there: dev, test\)"):
        sets.load(tmp_path / "pets", split="train")


def test_a_run_chooses_the_candidates_and_their_order(tmp_path: Path) -> None:
    folder = beir(tmp_path / "pets")
    run = tmp_path / "first.trec"
    run.write_text("q1 Q0 d3 1 0.5 x\nq1 Q0 d2 2 0.9 x\nq9 Q0 d1 1 1 x\n")
    read = sets.load(folder, run=run)
    assert read.order == "given"
    assert read.queries[0].ids == ("d2", "d3")
    assert read.queries[1].ids == (), "the run found nothing for it"
    run.write_text("q1 Q0 d77 1 0.5 x\n")
    with pytest.raises(InvalidRequest, match="'d77'"):
        sets.load(folder, run=run)
    run.write_text("q9 Q0 d1 1 1 x\n")
    with pytest.raises(InvalidRequest, match="none of the judged queries"):
        sets.load(folder, run=run)


def test_trec_files_with_texts_in_columns_are_read(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("queries.tsv", "docs.tsv", "qrels", "run")}
    files["queries.tsv"].write_text("1\twhat do cats do\n")
    files["docs.tsv"].write_text("a\tthey purr\nb\tthey bark\n")
    files["qrels"].write_text("1 0 a 1\n1 0 b 0\n")
    files["run"].write_text("1 Q0 b 1 2 x\n1 Q0 a 2 1 x\n")
    read = corpus.read(corpus.Files("mine", files["queries.tsv"], files["docs.tsv"], files["qrels"], files["run"]))
    assert read.queries[0].documents == ("they bark", "they purr")
    assert read.queries[0].gains == (0.0, 1.0)


def test_a_run_reads_back_as_it_was_written(tmp_path: Path) -> None:
    rankings = [("q1", [("d2", 1 / 3), ("d1", 1 / 3), ("d0", -1e-30)]), ("q2", [("d1", 5.0)])]
    write_run(tmp_path / "my.trec", rankings, "my model")
    assert is_run(tmp_path / "my.trec")
    assert read_run(tmp_path / "my.trec") == dict(rankings)
    assert list(tmp_path.iterdir()) == [tmp_path / "my.trec"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("q1 Q0 d1 1 high x", "no number"),
        ("q1 Q0 d1 1 nan x", "NaN"),
        ("q1 d1 0.5", "six|columns"),
        ("q1 Q0 d1 1 1 x\nq1 Q0 d1 2 0 x", "stands twice"),
        ("", "no ranking"),
    ],
)
def test_a_bad_run_is_refused(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "run").write_text(line)
    with pytest.raises(InvalidRequest, match=complaint):
        read_run(tmp_path / "run")


@pytest.mark.parametrize("line", ["q1 d1", "q1 0 d1 1\nq1 0 d2 high", ""])
def test_bad_judgements_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "qrels").write_text(line)
    with pytest.raises(InvalidRequest):
        read_qrels(tmp_path / "qrels")


@pytest.mark.parametrize("line", ['{"_id": "a"}', "no tab"])
def test_bad_texts_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "texts").write_text(line)
    with pytest.raises(InvalidRequest):
        list(texts(tmp_path / "texts"))
