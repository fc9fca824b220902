"""`rerankd evaluate` from data to table, JSON, run files and a page that a browser shows without asking anybody."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Request, sync_playwright

from cli_runs import Run
from programs import missing_program
from rerankd.evaluation.trec import read_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

ROWS = [
    {
        "query": "what does a cat do",
        "candidates": ["dogs bark", "cats purr", "狗"],
        "positives": ["cats purr"],
        "lang": "en",
    },
    {"query": "猫", "candidates": [{"text": "狗", "gain": 0}, {"text": "猫", "gain": 2}], "lang": "zh"},
    {
        "query": "dogs",
        "candidates": ["dogs bark <script>alert(1)</script>", "cats"],
        "positives": ["cats"],
        "lang": "en",
    },
]


@pytest.fixture
def data(workdir: Path) -> str:
    (workdir / "pets.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS))
    return "pets.jsonl"


def test_without_data_and_model_the_sample_and_the_bundled_model_are_taken(run: Run) -> None:
    done = run("evaluate", "--json", "--limit", "12")
    assert done.code == 0, done.err
    assert "sample" in done.err
    found: dict[str, Any] = json.loads(done.out)
    assert found["sets"] == [{"name": "sample", "queries": 12, "left_out": 0, "order": "none"}]
    model, bm25 = found["groups"][0]["systems"]
    assert (model["name"], bm25["name"]) == ("rerankd-zh-en", "BM25")
    assert model["measures"]["nDCG@10"]["mean"] > bm25["measures"]["nDCG@10"]["mean"]
    assert model["speed"]["p50_ms"] > 0
    assert model["calibration"]["pairs"] == 12 * 8


def test_every_sample_query_has_its_answer_among_its_candidates() -> None:
    from rerankd.evaluation.sets import sample

    queries = sample().queries
    assert len(queries) >= 40
    assert {query.subset for query in queries} == {"zh", "en", "zh-en"}
    for query in queries:
        assert max(query.gains) == 2
        assert min(query.gains) == 0
        assert len(set(query.documents)) == len(query.documents)


def test_a_table_compares_a_model_with_the_baselines(run: Run, data: str, tiny_model: Path) -> None:
    done = run("evaluate", f"tiny={tiny_model}", "--data", data, "--price-per-hour", "2", "--suggest-threshold")
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    heading = next(line for line in lines if line[:1] == ["system"])
    assert heading[1:6] == ["nDCG@10", "MRR@10", "MAP", "Recall@1", "Recall@5"]
    assert "cost/1000" in heading
    assert {line[0] for line in lines if line} >= {"tiny", "given", "BM25", "comparison", "recall", "best"}
    assert "pets [zh]: 1 queries, 2.0 candidates each" in done.out


def test_measures_can_be_chosen_and_baselines_left_out(run: Run, data: str) -> None:
    done = run("evaluate", "bm25", "--data", data, "--no-baselines", "--metrics", "MRR,p@1,mrr", "--json")
    found = json.loads(done.out)
    assert found["rules"]["measures"] == ["MRR", "P@1"]
    assert [each["name"] for each in found["groups"][0]["systems"]] == ["BM25"]
    assert found["groups"][0]["systems"][0]["measures"]["MRR"]["mean"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert found["groups"][0]["comparisons"] == []


def test_saved_runs_measure_the_same_again(run: Run, data: str, tiny_model: Path, workdir: Path) -> None:
    done = run("evaluate", f"tiny={tiny_model}", "--data", data, "--save-run", "runs", "--json")
    assert {file.name for file in (workdir / "runs").iterdir()} == {
        "pets.tiny.trec", "pets.BM25.trec", "pets.given_order.trec",
    }  # fmt: skip
    assert len(read_run(workdir / "runs" / "pets.tiny.trec")) == 3
    again = run("evaluate", "runs/pets.tiny.trec", "--data", data, "--against", "given", "--json")
    first, second = (json.loads(each.out)["groups"][0]["systems"][0] for each in (done, again))
    assert second["kind"] == "run"
    assert first["measures"] == second["measures"]


def test_trec_files_are_measured(run: Run, workdir: Path) -> None:
    (workdir / "q.tsv").write_text("1\tcats\n2\tnothing relevant\n")
    (workdir / "d.tsv").write_text("a\tdogs bark\nb\tcats purr\n")
    (workdir / "qrels").write_text("1 0 b 1\n2 0 a 0\n")
    (workdir / "first.trec").write_text("1 Q0 a 1 2 x\n1 Q0 b 2 1 x\n")
    trec = ("--qrels", "qrels", "--queries", "q.tsv", "--corpus", "d.tsv")
    done = run("evaluate", "first.trec", *trec, "--candidates", "first.trec", "--metrics", "mrr", "--json")
    found = json.loads(done.out)
    assert found["sets"][0]["left_out"] == 1
    assert "1 queries without a relevant document" in done.err
    means = {each["name"]: each["measures"]["MRR"]["mean"] for each in found["groups"][0]["systems"]}
    assert means == {"first": 0.5, "given order": 0.5, "BM25": 1.0}
    assert run("evaluate", "bm25", *trec[:4]).code == 2
    assert run("evaluate", "bm25", *trec, "--data", "qrels").code == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere-to-be-found",), "not known here"),
        (("bm25", "--metrics", "bleu"), "no measure"),
        (("bm25", "--relevant-from", "9"), "lower --relevant-from"),
        (("http://127.0.0.1:9",), "nothing answers"),
    ],
)
def test_what_cannot_be_measured_is_said(run: Run, data: str, arguments: tuple[str, ...], complaint: str) -> None:
    done = run("evaluate", *arguments, "--data", data)
    assert done.code in {1, 3}
    assert complaint in done.err


def test_the_report_opens_in_a_browser_and_asks_nobody(run: Run, data: str, tiny_model: Path, workdir: Path) -> None:
    if not CHROMIUM:
        missing_program("chromium")
    done = run("evaluate", f"小模型={tiny_model}", "--data", data, "--report", "r.html", "--suggest-threshold")
    assert done.code == 0, done.err
    asked: list[str] = []
    problems: list[str] = []

    def on_request(request: Request) -> None:
        asked.append(request.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox"])
        page = browser.new_page()
        page.on("request", on_request)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto((workdir / "r.html").as_uri())
        assert page.locator("svg").count() >= 4
        widths = page.locator("svg").evaluate_all("all => all.map(svg => svg.getBoundingClientRect().width)")
        text = page.locator("body").inner_text()
        browser.close()
    assert min(widths) > 200
    assert "Where 小模型 did worst" in text
    assert "dogs bark <script>" in text or "cats" in text
    assert problems == []
    assert asked == [(workdir / "r.html").as_uri()]


def test_a_report_without_texts_holds_none(run: Run, data: str, workdir: Path) -> None:
    run("evaluate", "given", "--data", data, "--report", "r.html", "--no-texts")
    page = (workdir / "r.html").read_text("utf-8")
    assert "did worst" in page
    for row in ROWS:
        assert str(row["query"]) not in page
    assert "dogs bark" not in page
