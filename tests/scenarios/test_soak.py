"""Everything at once, for two minutes; for thirty with SCENARIOS=full: no answer is lost or wrong, memory stays flat.

Requests of 1 to 1,000 documents in three APIs, callers that hang up, bodies that are none, and one client that sends
a thousand documents again and again. Every score is compared with sentence-transformers' own.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx2
import psutil
import pytest

from live import Server, serving
from long_runs import FULL, percentile, told
from tiny import tiny_bert

MINUTES = 30.0 if FULL else 2.0
SETTLED = 3.0 if FULL else 0.7
SMALL = 10
SMALL_P99_S = 1.0
BURST = 1000
QUERIES = [
    f"{word} {i}" for i, word in enumerate(("rerank", "人工智能", "query", "文档", "模型", "memory", "数据", "x"))
]
WORDS = ["rerank", "人工智能", "query", "文档", "a", "the", "模型", "memory", "数据", "growth", "score", "pair"]
Scores = Mapping[tuple[str, str], float]


def texts() -> list[str]:
    dice = random.Random(3)
    return [" ".join(dice.choices(WORDS, k=min(30, int(dice.lognormvariate(2.5, 0.8)) + 1))) for _ in range(1200)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_bert(tmp_path / "model", max_position_embeddings=128, tokenizer_config={"model_max_length": 128})


@pytest.fixture
def server(model: Path, tmp_path: Path) -> Iterator[Server]:
    with serving(str(model), "--logging.access", "false", "--cache.max_mb", "0.25", cwd=tmp_path) as running:
        yield running


@dataclass(frozen=True)
class Corpus:
    """The documents that requests are made of, and the score of each with each query."""

    texts: Sequence[str]
    truth: Scores


def reference(model: Path, documents: Sequence[str]) -> Scores:
    from sentence_transformers import CrossEncoder

    pairs = [(query, document) for query in QUERIES for document in documents]
    scores = CrossEncoder(str(model), device="cpu").predict(pairs, batch_size=256, show_progress_bar=False)
    return dict(zip(pairs, map(float, scores), strict=True))


@dataclass
class Tally:
    """What came back; filled by several threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: int = 0
    pairs: int = 0
    hung_up: int = 0
    by_api: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    small_s: list[float] = field(default_factory=list[float])

    def add(self, api: str, count: int, seconds: float, problem: str) -> None:
        with self.lock:
            self.requests += 1
            self.by_api[api] += 1
            self.pairs += count
            if problem:
                self.wrong.append(problem)
            if 0 < count <= SMALL:
                self.small_s.append(seconds)


def ask(http: httpx2.Client, api: str, query: str, documents: Sequence[str]) -> dict[int, float]:
    """Ask through one of three APIs; return scores by index."""
    if api == "tei":
        found = http.post("/rerank", json={"query": query, "texts": documents}).raise_for_status().json()
        return {hit["index"]: hit["score"] for hit in found}
    path = "/v1/rerank" if api == "standard" else "/infinity/rerank"
    found = http.post(path, json={"query": query, "documents": documents}).raise_for_status().json()
    return {hit["index"]: hit["relevance_score"] for hit in found["results"]}


def problem(found: Mapping[int, float], query: str, documents: Sequence[str], truth: Scores) -> str:
    if sorted(found) != list(range(len(documents))):
        return f"{len(found)} scores for {len(documents)} documents"
    worst = max(abs(score - truth[query, documents[index]]) for index, score in found.items())
    return f"off by {worst}" if worst > 1e-4 else ""


def client(url: str, seed: int, until: float, corpus: Corpus, tally: Tally) -> None:
    dice = random.Random(seed)
    with httpx2.Client(base_url=url, timeout=120) as http:
        while time.monotonic() < until:
            turn = dice.random()
            if turn < 0.05:
                hang_up(url, dice, corpus, tally)
                continue
            if turn < 0.1:
                bad = dice.choice(['{"query": 1', '{"documents": []}', "[]", '{"query": "x", "documents": [3]}', ""])
                status = http.post("/v1/rerank", content=bad).status_code
                tally.add("bad bodies", 0, 0.0, "" if 400 <= status < 500 else f"a bad body got {status}")
                continue
            count = BURST if seed == 0 else dice.choice([1, 1, 2, 5, 5, 10, 20, 50, 200])
            query, documents = dice.choice(QUERIES), dice.choices(corpus.texts, k=count)
            started, api = time.perf_counter(), dice.choice(["standard", "tei", "infinity"])
            try:
                found = ask(http, api, query, documents)
            except httpx2.HTTPError as error:
                with tally.lock:
                    tally.lost.append(f"{api}, {count} documents: {type(error).__name__} {error}")
                continue
            tally.add(api, count, time.perf_counter() - started, problem(found, query, documents, corpus.truth))


def hang_up(url: str, dice: random.Random, corpus: Corpus, tally: Tally) -> None:
    body = {"query": dice.choice(QUERIES), "documents": dice.choices(corpus.texts, k=200)}
    with contextlib.suppress(httpx2.TimeoutException), httpx2.Client(base_url=url, timeout=0.02) as http:
        http.post("/v1/rerank", json=body)
    with tally.lock:
        tally.hung_up += 1


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_nothing_is_lost_or_wrong_and_memory_stays_flat(server: Server, model: Path) -> None:
    known = texts()
    corpus = Corpus(known, reference(model, known))
    process, tally = psutil.Process(server.process.pid), Tally()
    started = time.monotonic()
    until = started + 60 * MINUTES
    threads = [
        threading.Thread(target=client, args=(server.url, seed, until, corpus, tally), daemon=True) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(60 * SETTLED)
    early = process.memory_info().rss
    rss: list[int] = []
    while time.monotonic() < until:
        rss.append(process.memory_info().rss)
        time.sleep(1)
    for thread in threads:
        thread.join(180)
    late = process.memory_info().rss
    health = cast("dict[str, Any]", httpx2.get(f"{server.url}/health").json())
    queued = next(line for line in httpx2.get(f"{server.url}/metrics").text.splitlines()
                  if line.startswith("rerankd_queued_tokens "))  # fmt: skip
    told(
        f"soak: {MINUTES:g} min, {tally.requests} requests {dict(sorted(tally.by_api.items()))}, {tally.pairs} pairs, "
        f"{tally.hung_up} hung up; {len(tally.lost)} lost, {len(tally.wrong)} wrong; RSS after {SETTLED:g} min "
        f"{early / 2**20:.1f} MiB, then at most {max(rss) / 2**20:.1f} ({max(rss) / early - 1:+.1%}), at the end "
        f"{late / 2**20:.1f} ({late / early - 1:+.1%}); {len(tally.small_s)} requests of at most {SMALL} documents: "
        f"p50 {percentile(tally.small_s, 0.5) * 1000:.0f} ms, p99 {percentile(tally.small_s, 0.99) * 1000:.0f} ms, "
        f"slowest {max(tally.small_s) * 1000:.0f} ms"
    )
    assert not any(thread.is_alive() for thread in threads)
    assert tally.lost == []
    assert tally.wrong == []
    assert tally.requests > 100
    assert set(tally.by_api) == {"standard", "tei", "infinity", "bad bodies"}
    assert tally.hung_up
    assert health["status"] == "healthy"
    assert float(queued.split()[1]) == 0
    assert late <= 1.05 * early
    if FULL:
        assert max(rss) <= 1.05 * early
        assert percentile(tally.small_s, 0.99) < SMALL_P99_S
