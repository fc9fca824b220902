"""`rerankd rank`: the same ranking on a terminal, in a pipe, as JSON, and from a server."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, cast

import pytest

from cli_runs import Run
from rerankd import Reranker

QUERY = "what does a cat do"
DOCUMENTS = ["cats purr", "dogs bark", "猫 狗 a do", "what"]
LINES = "\n\n".join(DOCUMENTS) + "\n"


@pytest.fixture(scope="session")
def ranked(tiny_model: Path) -> list[tuple[int, float]]:
    """What the library says."""
    with Reranker(str(tiny_model)) as reranker:
        return [(hit.index, hit.score) for hit in reranker.rank(QUERY, DOCUMENTS)]


def test_lines_in_a_ranking_out(run: Run, tiny_model: Path, ranked: list[tuple[int, float]]) -> None:
    outcome = run("rank", QUERY, "--model", str(tiny_model), stdin=LINES)
    assert (outcome.code, outcome.err) == (0, "")
    expected = [f"{place}\t{score:.6f}\t{DOCUMENTS[i]}" for place, (i, score) in enumerate(ranked, start=1)]
    assert outcome.out.splitlines() == expected


def test_json_in_json_out(run: Run, tiny_model: Path, ranked: list[tuple[int, float]], workdir: Path) -> None:
    (workdir / "documents.json").write_text(json.dumps([DOCUMENTS[0], *({"text": text} for text in DOCUMENTS[1:])]))
    outcome = run("rank", QUERY, "documents.json", "-m", str(tiny_model), "-n", "2", "--json", "--timing")
    answer = json.loads(outcome.out)
    assert answer["results"] == [{"index": i, "score": s, "document": DOCUMENTS[i]} for i, s in ranked[:2]]
    assert (answer["model"], answer["score_type"], answer["truncated"]) == ("tiny", "probability", [])
    assert answer["usage"]["pairs"] == len(DOCUMENTS)
    assert 0 < answer["timing"]["model_ready_s"] < answer["timing"]["total_s"]


def test_raw_scores_are_the_models_own(run: Run, tiny_model: Path, ranked: list[tuple[int, float]]) -> None:
    answer = json.loads(run("rank", QUERY, "-m", str(tiny_model), "--raw-scores", "--json", stdin=LINES).out)
    assert answer["score_type"] == "logit"
    assert [hit["index"] for hit in answer["results"]] == [i for i, _ in ranked]


def test_what_was_cut_and_how_long_it_took_is_said_beside(
    run: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKD_LIMITS__LONG_DOCUMENTS", "truncate")
    outcome = run("rank", QUERY, "-m", str(tiny_model), "--timing", stdin="cats " * 200)
    cut, timing = outcome.err.splitlines()
    assert cut == "1 of 1 documents were cut to the model's limit"
    assert "model ready" in timing
    assert outcome.out.startswith("1\t")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_gets_a_table_that_fits_chinese_too(tiny_model: Path, workdir: Path) -> None:
    import pty
    import unicodedata

    (workdir / "long.txt").write_text("猫狗" * 100 + "\n\x1b[2Jcats\n", "utf-8")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rerankd", "rank", QUERY, "long.txt", "-m", str(tiny_model)]
    environ = {**os.environ, "COLUMNS": "60", "TERM": "xterm", "PYTHONUTF8": "1"}
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=environ, timeout=60, check=True)
    os.close(theirs)
    text = re.sub(r"\x1b\[\d*m", "", read_all(ours))  # bold is welcome, what a document holds is not
    assert done.stderr == b"1 of 2 documents were longer than the model reads: scored in chunks\n"
    heading, *rows = text.splitlines()
    assert heading.split() == ["rank", "score", "document"]
    assert len(rows) == 2
    for row in rows:
        width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in row.rstrip().removesuffix("…"))
        assert width <= 60
    assert "\x1b" not in text
    assert "…" in text


def read_all(terminal: int) -> str:
    data = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux: the other side is closed and all is read
            part = b""
        if not part:
            os.close(terminal)
            return data.decode()
        data += part


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        (("q", "gone.txt"), "", 2, "'gone.txt' does not exist"),
        (("q",), "", 1, "there are no documents"),
        (("q",), '["a"', 1, "not JSON"),
        (("q",), "重排序".encode("gb18030"), 1, "not utf-8"),
        (("q", "--encoding", "klingon"), "a", 2, "no text encoding"),
        (("q", "--top-n", "0"), "a", 2, "--top-n"),
        (("q", "--model", "no-such-model"), "a", 3, "'no-such-model' is not known"),
        (("q", "--model", "./gone"), "a", 3, "'gone' does not exist"),
        (("q", "--model", "./corrupt"), "a", 3, "config.json"),
        (("q", "--config", "gone.toml"), "a", 3, "'gone.toml' does not exist"),
        (("q", "--url", "http://127.0.0.1:1", "--raw-scores"), "a", 2, "--raw-scores"),
        (("q", "--api-key", "k"), "a", 2, "--url"),
        (("q", "--url", "http://127.0.0.1:1", "--api-key", "@gone"), "a", 2, "key file"),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(
    run: Run, workdir: Path, *, arguments: tuple[str, ...], stdin: str | bytes, code: int, told: str
) -> None:
    (workdir / "corrupt").mkdir()
    (workdir / "corrupt" / "config.json").write_text("{")
    outcome = run("rank", *arguments, stdin=stdin)
    assert outcome.code == code
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


@pytest.mark.parametrize("arguments", [("rank", "q", "-m", "./damaged"), ("show", "./damaged")])
def test_a_model_with_damaged_weights_is_one_line(tiny_model: Path, workdir: Path, arguments: tuple[str, ...]) -> None:
    damaged = workdir / "damaged"
    damaged.mkdir()
    for file in tiny_model.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "model.safetensors").write_bytes(b"\xff" * 100)
    done = subprocess.run(
        [sys.executable, "-m", "rerankd", *arguments],
        input=b"a\n", capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (3, b"", 1)


class _Server(BaseHTTPRequestHandler):
    """Answers as a rerank server that finds the last document best, and remembers what it was asked."""

    asked: ClassVar[list[tuple[str | None, dict[str, object]]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.headers["Authorization"], body))
        best = len(body["documents"]) - 1
        answer = {"model": "remote", "results": [{"index": best, "relevance_score": 0.5}]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        del format, args


@pytest.fixture
def server() -> Iterator[str]:
    _Server.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join(10)


def test_a_server_ranks_in_place_of_a_model(run: Run, server: str, workdir: Path) -> None:
    (workdir / "key").write_text("sesame\n")
    outcome = run("rank", "q", "--url", server, "--api-key", "@key", "-m", "m", "-n", "1", "--json", stdin="a\nb\n")
    answer = json.loads(outcome.out)
    assert answer["results"] == [{"index": 1, "score": 0.5, "document": "b"}]
    assert answer["model"] == "remote"
    [(key, body)] = _Server.asked
    assert key == "Bearer sesame"
    assert {name: body[name] for name in ("query", "documents", "top_n", "model")} == {
        "query": "q", "documents": ["a", "b"], "top_n": 1, "model": "m",
    }  # fmt: skip


def test_list_names_the_bundled_model(run: Run) -> None:
    first = run("list").out.splitlines()[0].split("\t")
    assert first[0] == "rerankd-zh-en"
    models = cast("list[dict[str, object]]", json.loads(run("list", "--json").out)["models"])
    assert models[0]["id"] == "rerankd-zh-en"
    assert models[0]["languages"] == ["zh", "en"]


def test_show_tells_what_a_folder_holds(run: Run, tiny_model: Path) -> None:
    facts = json.loads(run("show", str(tiny_model), "--json").out)
    assert (facts["id"], facts["family"], facts["engine"], facts["max_tokens"]) == ("tiny", "cross_encoder", "onnx", 64)
    assert set(facts["files"]) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert len(facts["fingerprint"]) == 64
    assert facts["golden"] is None
    rows = [line.split("\t") for line in run("show", str(tiny_model)).out.splitlines()]
    assert ["fingerprint", facts["fingerprint"]] in rows


def test_show_tells_that_a_model_gave_the_known_scores_of_its_card(run: Run) -> None:
    rows = [line.split("\t") for line in run("show", "rerankd-zh-en").out.splitlines()]
    assert ["golden", "agree: true"] in rows
    assert ["golden", "pairs: 4"] in rows


def test_show_of_an_unknown_model_suggests_one(run: Run) -> None:
    outcome = run("show", "rerankd-zh-enn")
    assert outcome.code == 3
    assert "Did you mean rerankd-zh-en?" in outcome.err
