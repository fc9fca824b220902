"""What a stranger does first: start the server, send a request without any header, use the client."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from live import Server, serving
from programs import missing_program

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(cwd=tmp_path_factory.mktemp("cwd")) as running:
        yield running


def test_the_readmes_curl_puts_artificial_intelligence_first(server: Server) -> None:
    for readme in ("README.md", "README.zh-CN.md"):
        text = (ROOT / readme).read_text("utf-8")
        body = text.split("-d '", 1)[1].split("'", 1)[0]
        answer = httpx2.post(f"{server.url}/v1/rerank", content=body.encode()).json()
        assert next(item["index"] for item in answer["results"]) == 1
        assert len(answer["results"]) == 2


def test_the_model_says_that_it_gave_the_known_scores_of_its_card(server: Server) -> None:
    (model, *_) = httpx2.get(f"{server.url}/v1/models").json()["data"]
    golden = model["golden"]
    assert golden["agree"] is True
    assert golden["pairs"] == 4
    assert golden["difference"] <= golden["allowed"]
    assert golden["sources"]


def test_curl_itself_works_without_a_json_header(server: Server) -> None:
    if not shutil.which("curl"):
        missing_program("curl")
    body = json.dumps({"query": "capital of France", "documents": ["bananas", "Paris is the capital of France"]})
    done = subprocess.run(
        ["curl", "-s", f"{server.url}/v1/rerank", "-d", body], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout)["results"][0]["index"] == 1


def test_the_server_example_runs(server: Server) -> None:
    command = [sys.executable, str(ROOT / "examples" / "rank_with_a_server.py"), server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[0].endswith("Paris is the capital of France.")


def test_the_log_is_json_lines_without_texts(server: Server) -> None:
    for line in server.lines:
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_exit_code_0(how: signal.Signals, tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as running:
        assert running.stop(how) == 0
