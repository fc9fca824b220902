"""A model is replaced under load and under kill -9: no request is lost, no score is of neither revision.

`SWAP=full` sends 8 x 200 requests (a minute or two); otherwise 8 x 25.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from hub.huggingface import HuggingFaceHub
from hub.server import files_of, running
from live import Server, serving
from rerankd import Reranker
from rerankd.registry import revisions
from rerankd.registry.resolve import resolve
from rerankd.sources.base import Access
from tiny import tiny_bert

NAME = "example/tiny-reranker"
CLIENTS = 8
REQUESTS = 200 if os.environ.get("SWAP") == "full" else 25
SIZE = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 4}
ADMIN = {"authorization": "Bearer root"}
QUERIES = ("fox", "Berlin", "如何重置密码", "a reranker")
DOCUMENTS = ("the lazy dog", "Berlin has 3,520,031 inhabitants.", "请在设置里点击安全。", "one score", "naïve café")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceHub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running(HuggingFaceHub()) as hub:
        yield hub


def environment(store: Path, hub: HuggingFaceHub) -> dict[str, str]:
    return {
        "RERANKD_MODELS__STORE": str(store),
        "RERANKD_MODELS__HF_ENDPOINT": hub.url,
        "RERANKD_AUTH__ADMIN_KEYS": "root",
    }


def truth(folder: Path, store: Path) -> dict[str, list[float]]:
    """Every query's scores in the order of the documents, by a reranker of its own."""
    from rerankd.settings import ModelsSettings, Settings

    with Reranker(str(folder), settings=Settings(models=ModelsSettings(store=store))) as reranker:
        return {query: [hit.score for hit in sorted(reranker.rank(query, DOCUMENTS), key=_index)] for query in QUERIES}


def _index(hit: Any) -> int:
    return hit.index


class Load:
    """Clients that ask without a pause, `REQUESTS` times each and on until `enough` is set.

    Every answer is held against both revisions' scores.
    """

    def __init__(self, url: str, truths: Sequence[Mapping[str, Sequence[float]]]) -> None:
        self._url = url
        self._truths = truths
        self.failed: list[str] = []
        self.of: list[int] = []
        self.slowest_s = 0.0
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def _ask(self, number: int) -> None:
        dice = random.Random(number)
        with httpx2.Client(timeout=60, headers=ADMIN) as http:
            asked = 0
            while asked < REQUESTS or not self.enough.is_set():
                asked += 1
                query = dice.choice(QUERIES)
                body = {"model": NAME, "query": query, "documents": DOCUMENTS, "return_documents": False}
                began = time.perf_counter()
                answer = http.post(f"{self._url}/v1/rerank", json=body)
                self.slowest_s = max(self.slowest_s, time.perf_counter() - began)
                self._check(query, answer)

    def _check(self, query: str, answer: httpx2.Response) -> None:
        if answer.status_code != 200:
            self.failed.append(answer.text)
            return
        scores = [hit["relevance_score"] for hit in sorted(answer.json()["results"], key=lambda hit: hit["index"])]
        fits = [
            number
            for number, truth in enumerate(self._truths)
            if max(abs(a - b) for a, b in zip(scores, truth[query], strict=True)) < 1e-5
        ]
        if len(fits) == 1:
            self.of.append(fits[0])
        else:
            self.failed.append(f"scores of {fits}: {scores}")

    @property
    def done(self) -> int:
        return len(self.of) + len(self.failed)


def rss(server: Server) -> int:
    return psutil.Process(server.process.pid).memory_info().rss


def renewed(server: Server, what: str) -> dict[str, Any]:
    answer = httpx2.post(f"{server.url}/admin/{what}", json={"model": NAME}, headers=ADMIN, timeout=100)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_swapping_a_model_under_load_loses_no_request_and_mixes_no_scores(tmp_path: Path, hub: HuggingFaceHub) -> None:
    folders = [tiny_bert(tmp_path / f"v{seed}", seed=seed, std=0.05, **SIZE) for seed in (1, 2)]
    truths = [truth(folder, tmp_path / "other-store") for folder in folders]
    hub.repository(NAME).push(files_of(folders[0]), "main")
    arguments = (NAME, "--cache.url", "off://")
    with serving(*arguments, cwd=tmp_path, env=environment(tmp_path / "store", hub)) as server:
        hub.repository(NAME).push(files_of(folders[1]), "main")
        size = httpx2.get(f"{server.url}/v1/models", headers=ADMIN).json()["data"][0]["memory_bytes"]
        warm = Load(server.url, truths)
        warm.enough.set()
        warm._ask(99)
        before = rss(server)
        load = Load(server.url, truths)
        for thread in load.threads:
            thread.start()
        _until(lambda: load.done > CLIENTS)
        update = renewed(server, "update")
        _until(lambda: load.of.count(1) > CLIENTS)
        rollback = renewed(server, "rollback")
        load.enough.set()
        highest = rss(server)
        for thread in load.threads:
            thread.join(300)
        time.sleep(1)
        after = rss(server)
    print(
        f"{load.done} requests, {len(load.failed)} failed; {load.of.count(0)} by the old revision, {load.of.count(1)} "
        f"by the new; slowest {load.slowest_s:.2f} s; RSS {before / 1e6:.1f} MB before, {highest / 1e6:.1f} MB after "
        f"the swaps under load, {after / 1e6:.1f} MB at the end; the model's weights are {size / 1e6:.1f} MB"
    )
    assert (update["how"], rollback["how"]) == ("updated", "rolled back")
    assert load.failed == []
    assert load.done >= CLIENTS * REQUESTS
    assert load.of.count(1) > 0, "the new revision did answer"
    assert after - before < 0.5 * size, "one model is in memory, not two"


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)


UPDATE = """
import os, signal, sys, threading, time
from pathlib import Path
from rerankd.models import renewal
from rerankd.models.loader import Loader
from rerankd.registry.resolve import resolve
from rerankd.registry.store import Store
from rerankd.sources.base import Access

store = Store(Path(sys.argv[1]))
loader = Loader(store, Access(store.root, hf_endpoint=sys.argv[2], timeout_s=5))
if len(sys.argv) > 3:
    threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL)).start()
began = time.perf_counter()
plan = renewal.update(resolve("example/tiny-reranker"), loader, golden=None, keep=2)
outcome = renewal.renew_here(plan, lambda _: None)
print(outcome.how, time.perf_counter() - began, flush=True)
"""


def update(store: Path, hub: HuggingFaceHub, *kill_after_s: str) -> str:
    command = [sys.executable, "-c", UPDATE, str(store), hub.url, *kill_after_s]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_at_ten_random_moments_of_a_swap_leaves_the_old_revision_or_the_new_one(
    tmp_path: Path, hub: HuggingFaceHub
) -> None:
    size = {"hidden_size": 128, "num_hidden_layers": 8}
    versions = [files_of(tiny_bert(tmp_path / f"v{seed}", seed=seed, **size)) for seed in range(12)]
    store, entry, access = tmp_path / "store", resolve(NAME), Access(tmp_path / "store", offline=True)
    names = [hub.repository(NAME).push(versions[0], "main")]
    assert update(store, hub)
    names.append(hub.repository(NAME).push(versions[1], "main"))
    whole_s = float(update(store, hub).split()[-1])
    dice = random.Random(3)
    killed, old, new = 0, 0, 0
    for files in versions[2:]:
        was = revisions.in_use(entry, access)
        assert was
        names.append(hub.repository(NAME).push(files, "main"))
        killed += not update(store, hub, str(dice.uniform(0, whole_s)))
        found = revisions.in_use(entry, access)
        assert found
        name = revisions.snapshot_id(found[1])
        assert name in names
        assert files_of(found[1]) == versions[names.index(name)], "a whole revision, every byte"
        place = revisions.of(entry, found[1], access)
        assert place
        assert all(change.after in names for change in place.history())
        old, new = old + (name == revisions.snapshot_id(was[1])), new + (name == names[-1])
    print(f"{killed} of 10 updates killed: {old} times the old revision was found whole, {new} times the new one")
    assert killed >= 5, "the kills did meet updates"
    assert update(store, hub)
    found = revisions.in_use(entry, access)
    assert found
    assert revisions.snapshot_id(found[1]) == names[-1]
    ranked = subprocess.run(
        [sys.executable, "-m", "rerankd", "rank", "--model", NAME, "--json", "q", "-"],
        input="a fox\nBerlin\n", capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "RERANKD_MODELS__STORE": str(store), "RERANKD_MODELS__OFFLINE": "true"},
    )  # fmt: skip
    assert len(json.loads(ranked.stdout)["results"]) == 2
    assert not list((store / "models").rglob("*.part"))
