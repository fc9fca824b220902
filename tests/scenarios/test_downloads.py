"""Models that come over a network that fails: dead hubs, killed processes, two at once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import httpx2
import pytest

from hub.huggingface import HuggingFaceHub
from hub.server import Fault, closed_port, files_of, running, sha256
from live import serving
from rerankd.registry.resolve import resolve
from rerankd.sources.base import Access
from rerankd.sources.huggingface import SOURCE
from tiny import tiny_bert

MODEL = "example/tiny-reranker"
PADDING = bytes(range(256)) * 8192
GUARD = Path(__file__).parent / "guard"
SOURCES = Path(__file__).parents[2] / "src"


class Program(Protocol):
    """The fixture `program`."""

    def __call__(self, *arguments: str, env: dict[str, str]) -> subprocess.Popen[str]: ...


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A model with 2 MB beside its weights, so that a download takes a while."""
    folder = tiny_bert(tmp_path_factory.mktemp("models") / "tiny")
    return {**files_of(folder), "merges.txt": PADDING}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[HuggingFaceHub]:
    with running(HuggingFaceHub()) as hub:
        hub.repository(MODEL).push(files, "main")
        yield hub


def without_network(store: Path, **settings: str) -> dict[str, str]:
    """Variables of a process that reaches loopback only, and no hub by HF_ENDPOINT."""
    path = os.pathsep.join((str(GUARD), str(SOURCES)))
    return {
        "PYTHONPATH": path,
        "RERANKD_MODELS__STORE": str(store),
        "RERANKD_MODELS__DOWNLOAD_TIMEOUT_S": "2",
        **settings,
    }


@pytest.fixture
def program() -> Iterator[Program]:
    """Start the program; what still runs when the test ends is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rerankd", *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env={**os.environ, **env}, text=True, stdout=pipe, stderr=pipe))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_a_machine_without_internet_fetches_from_the_mirror_and_serves(tmp_path: Path, hub: HuggingFaceHub) -> None:
    env = without_network(tmp_path / "store", RERANKD_MODELS__MIRRORS=hub.url)
    began = time.perf_counter()
    with serving(MODEL, cwd=tmp_path, env=env) as server:
        print(f"ready {time.perf_counter() - began:.1f} s after the start, {hub.sent / 1e6:.1f} MB from the mirror")
        body = {"query": "how many people live in Berlin?", "documents": ["a fox", "Berlin has 3,520,031 inhabitants."]}
        answer = httpx2.post(f"{server.url}/v1/rerank", json={**body, "model": MODEL})
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 2
        log = "".join(server.lines)
        assert (
            "https://huggingface.co does not deliver example/tiny-reranker: cannot be reached (Temporary failure" in log
        )
    asked = len(hub.asked)
    with serving(MODEL, "--models.offline", "true", cwd=tmp_path, env=env) as server:
        assert httpx2.get(f"{server.url}/readyz").status_code == 200
    assert len(hub.asked) == asked, "the second start calls nobody"


def test_with_the_mirror_dead_too_the_error_says_who_was_asked_and_what_to_do(tmp_path: Path, program: Program) -> None:
    dead = closed_port()
    code, err = ended(program("pull", MODEL, env=without_network(tmp_path, RERANKD_MODELS__MIRRORS=dead)))
    assert code == 3
    assert "https://huggingface.co: cannot be reached (Temporary failure in name resolution)" in err
    assert f"{dead}: cannot be reached (Connection refused)" in err
    for way in ("models.mirrors", "rerankd serve ./folder", "rerankd bundle import"):
        assert way in err


def test_while_a_model_downloads_the_server_says_how_far_it_is(tmp_path: Path, hub: HuggingFaceHub) -> None:
    hub.faults.append(Fault("GET /cdn/", slow_bytes_s=1 << 20))
    env = without_network(tmp_path / "store", RERANKD_MODELS__HF_ENDPOINT=hub.url)
    with serving("--models.served", MODEL, cwd=tmp_path, env=env) as server:
        seen: list[dict[str, int]] = []
        for _ in range(200):
            (item,) = [item for item in httpx2.get(f"{server.url}/v1/models").json()["data"] if item["id"] == MODEL]
            if "progress" in item:
                seen.append(item["progress"])
                refusal = httpx2.post(
                    f"{server.url}/v1/rerank", json={"model": MODEL, "query": "q", "documents": ["d"]}
                )
                if refusal.status_code == 503 and "downloading (" in refusal.text:
                    assert int(refusal.headers["Retry-After"]) > 0
                    break
            time.sleep(0.05)
        else:
            pytest.fail(f"no progress was told: {seen}")
        assert seen[-1]["total_bytes"] > len(PADDING)
        assert server.stop() == 0, "a server that is downloading stops when it is told to"


def test_two_processes_that_pull_the_same_model_fetch_it_once(
    tmp_path: Path, hub: HuggingFaceHub, program: Program
) -> None:
    hub.faults.append(Fault("GET /cdn/", slow_bytes_s=2 << 20))
    env = without_network(tmp_path, RERANKD_MODELS__HF_ENDPOINT=hub.url)
    both = [program("pull", MODEL, env=env) for _ in range(2)]
    assert [ended(process)[0] for process in both] == [0, 0]
    assert len(hub.got(sha256(PADDING))) == 1
    assert len(hub.got("/api/models")) == 1


@pytest.mark.slow
def test_kill_at_ten_random_moments_of_a_download_leaves_nothing_half_and_it_goes_on(
    tmp_path: Path, hub: HuggingFaceHub, files: dict[str, bytes], program: Program
) -> None:
    moments = random.Random(7)
    hub.faults.append(Fault("GET /cdn/", slow_bytes_s=400_000))
    env = without_network(tmp_path, RERANKD_MODELS__HF_ENDPOINT=hub.url)
    access, reference = Access(tmp_path, offline=True), resolve(MODEL).reference
    gathered = 0
    for _ in range(10):
        victim = program("pull", MODEL, env=env)
        deadline = time.monotonic() + 60
        while hub.sent <= gathered and time.monotonic() < deadline:  # until it fetches: starting takes a while
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.4))
        victim.send_signal(signal.SIGKILL)
        ended(victim)
        gathered = hub.sent
        found = SOURCE.find(reference, access)
        assert found is None or files_of(found) == files, "a whole state or none"
    hub.faults.clear()
    assert ended(program("pull", MODEL, env=env))[0] == 0
    found = SOURCE.find(reference, access)
    assert found
    assert files_of(found) == files
    assert not list(tmp_path.rglob("*.part"))
    starts = [asked.start for asked in hub.got(sha256(PADDING))]
    assert starts == sorted(starts)
    assert starts[-1] > 0, "the last start went on where the killed ones had come to"
    ranked = program("rank", "--model", MODEL, "--json", "q", str(_documents(tmp_path)), env=env)
    out, _ = ranked.communicate(timeout=60)
    assert len(json.loads(out)["results"]) == 2


CONVERT = """
import os, random, signal, sys, threading, time
from pathlib import Path
from rerankd.models.loader import Loader
from rerankd.registry.resolve import resolve
from rerankd.registry.store import Store
from rerankd.types import ModelState

since = None

def report(state):
    global since
    if state is ModelState.CONVERTING:
        since = time.perf_counter()
        if len(sys.argv) > 3:
            threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL)).start()
    if state is ModelState.LOADING and since:
        print(time.perf_counter() - since, flush=True)

Loader(Store(Path(sys.argv[2]))).load(resolve(sys.argv[1]), report)
"""


@pytest.mark.slow
def test_kill_at_ten_random_moments_of_a_conversion_leaves_a_whole_graph_or_none(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "model", hidden_size=128, intermediate_size=512, num_hidden_layers=12)
    moments = random.Random(11)
    whole_s = float(_converted(folder, tmp_path / "first").strip())
    expected = _graph(tmp_path / "first")
    killed = 0
    for _ in range(10):
        printed = _converted(folder, tmp_path / "store", str(moments.uniform(0, whole_s)))
        killed += not printed
        graph = _graph(tmp_path / "store")
        assert graph in (None, expected), "a whole graph or none"
        if graph:
            _forget(tmp_path / "store")
    assert killed >= 5, "the kills did meet conversions"
    assert _converted(folder, tmp_path / "store")
    assert _graph(tmp_path / "store") == expected
    assert not list((tmp_path / "store" / "prepared").glob("*.tmp-*"))


def _converted(folder: Path, store: Path, *kill_after_s: str) -> str:
    command: Sequence[str] = (sys.executable, "-c", CONVERT, str(folder), str(store), *kill_after_s)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout if done.returncode == 0 else ""


def _prepared(store: Path) -> list[Path]:
    return [path for path in (store / "prepared").glob("*") if path.is_dir() and ".tmp-" not in path.name]


def _graph(store: Path) -> dict[str, bytes] | None:
    folders = _prepared(store)
    return files_of(folders[0]) if folders else None


def _forget(store: Path) -> None:
    for folder in _prepared(store):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _documents(folder: Path) -> Path:
    file = folder / "documents.txt"
    file.write_text("a fox\nBerlin has 3,520,031 inhabitants.\n")
    return file
