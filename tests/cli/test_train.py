"""`rerankd train` from the outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from cli_runs import Run
from rerankd.client import Client
from rerankd.evaluation import metrics, plain
from rerankd.reranker import Reranker
from tiny_late import domain, tiny_late

QUICK = ("--epochs", "4", "--queries", "8", "--negatives", "3", "--rate", "3e-3", "--check-steps", "10")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny matrices on two busy cores: threads would wait for each other most of the time."""
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_run_says_what_it_gained_and_writes_a_folder(run: Run, tmp_path: Path) -> None:
    start, data = tiny_late(tmp_path / "start"), domain(tmp_path / "domain.jsonl")
    out = tmp_path / "mine"
    found = run("train", str(data), "--out", str(out), "--start", str(start), "--held-out", "0.2", "--json", *QUICK)
    assert found.code == 0, found.err
    told = json.loads(found.out)
    assert told["quality"]["held_out_queries"] == 13
    assert told["training"]["steps"] <= 28
    assert {"BM25", "before", "after"} <= told["quality"].keys()
    assert (out / "README.md").is_file()
    assert "training: " in found.err


def test_data_without_a_relevant_document_are_refused(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"query": "a", "document": "x", "label": 0}')
    found = run("train", str(data), "--out", str(tmp_path / "mine"))
    assert found.code == 1
    assert "no query of data.jsonl has a relevant document" in found.err


def test_a_gpu_that_is_not_there_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = run("train", str(domain(tmp_path / "d.jsonl")), "--out", str(tmp_path / "mine"), "--device", "cuda")
    assert found.code == 2
    assert "CUDA" in found.err


def test_without_the_extra_the_command_names_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerankd.cli.train.find_spec", lambda name: None if name == "datasets" else object())
    found = run("train", str(domain(tmp_path / "d.jsonl")), "--out", str(tmp_path / "mine"))
    assert found.code == 2
    assert "datasets" in found.err
    assert "rerankd[train]" in found.err


@pytest.mark.timeout(120)
def test_a_run_killed_with_kill_9_goes_on_and_its_folder_serves(run: Run, tmp_path: Path) -> None:
    start, data, out = tiny_late(tmp_path / "start"), domain(tmp_path / "domain.jsonl"), tmp_path / "mine"
    arguments = (str(data), "--out", str(out), "--start", str(start), "--held-out", "0.2", "--json", *QUICK)
    _killed(arguments, tmp_path / "mine.training/checkpoint.pt")
    at = torch.load(tmp_path / "mine.training/checkpoint.pt", weights_only=True)["step"]
    told = json.loads(run("train", *arguments).out)
    assert at < told["training"]["steps"] == 28
    _serves(out)


@pytest.mark.skipif("RERANKD_TRAIN_BUNDLED" not in os.environ, reason="minutes: set RERANKD_TRAIN_BUNDLED=1")
@pytest.mark.timeout(1200)
def test_the_bundled_model_learns_made_up_words_survives_kill_9_and_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    data, held, out = tmp_path / "domain.jsonl", tmp_path / "held.jsonl", tmp_path / "mine"
    _office(data, held)
    arguments = (
        str(data), "--out", str(out), "--eval", str(held), "--mine", "bm25", "--epochs", "3", "--queries", "8",
        "--negatives", "3", "--rate", "2e-4", "--check-steps", "8", "--json",
    )  # fmt: skip
    began = time.monotonic()
    _killed(arguments, tmp_path / "mine.training/checkpoint.pt")
    with _program(*arguments) as again:
        told = json.loads(again.communicate(timeout=900)[0])
    print(f"\n{time.monotonic() - began:.0f} s in all", json.dumps(told, indent=1))
    assert told["quality"]["gain"]["low"] > 0
    judged = plain.read(held)
    with Reranker(str(out)) as reranker:
        ndcg = 0.0
        for one in judged.queries:
            ranking = reranker.rank(one.query, one.documents)
            scores = [score for _, score in sorted((ranked.index, ranked.score) for ranked in ranking)]
            ndcg += metrics.of_query(one, scores)[0]
    assert ndcg / len(judged.queries) == pytest.approx(told["quality"]["after"]["nDCG@10"], abs=1e-3)
    _serves(out)


def _office(data: Path, held: Path) -> None:
    """Queries in invented words; each word is seen in training, each held-out pair of them is not."""
    things = {"refund": "zamivel", "battery": "rokutor", "password": "nipaxlu", "invoice": "drefogim"}
    deeds = {"reset": "kuza", "cancel": "torni", "replace": "velmi", "export": "gimro"}
    rows = [
        (f"{invented_deed} {invented}", f"To {deed} the {thing}, open the {thing} page, choose {deed} and confirm.")
        for thing, invented in things.items()
        for deed, invented_deed in deeds.items()
    ]
    seen, unseen = [row for i, row in enumerate(rows) if i % 5], rows[::5]
    forms = ("{}", "{} please", "I need to {}", "how do I {}?")
    lines = [{"query": form.format(query), "positives": [document]} for query, document in seen for form in forms]
    data.write_text("\n".join(map(json.dumps, lines)))
    documents = [document for _, document in rows]
    asked = [
        {"query": form.format(query), "candidates": documents, "positives": [document]}
        for query, document in unseen
        for form in forms
    ]
    held.write_text("\n".join(map(json.dumps, asked)))


def _program(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rerankd", "train", *arguments],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _killed(arguments: Sequence[str], checkpoint: Path) -> None:
    """Start a run, and kill it as soon as it has written a checkpoint."""
    with _program(*arguments) as process:
        try:
            for _ in range(3000):
                if checkpoint.is_file():
                    return
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.1)
            raise AssertionError("it did not come to its first checkpoint")
        finally:
            process.kill()


def _serves(folder: Path) -> None:
    """Serve a folder: it ranks over HTTP as the library does."""
    query, documents = "mol3 zur4", ["the page of thing6 deed5", "the page of thing3 deed4", "thing3"]
    with Reranker(str(folder)) as reranker:
        expected = reranker.rank(query, documents)
    with subprocess.Popen(
        [sys.executable, "-m", "rerankd", "serve", str(folder), "--server.port", "0"],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            url = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
            with Client(url.rstrip(".,")) as client:
                found = client.rank(query, documents)
        finally:
            server.terminate()
            server.communicate(timeout=30)
    assert [one.index for one in found] == [one.index for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
