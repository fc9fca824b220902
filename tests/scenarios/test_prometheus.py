"""A real Prometheus scrapes a real server with the shipped configuration, and knows what happened there."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from live import serving
from programs import missing_program

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCUMENTS = ["Paris is the capital of France.", "Bananas are yellow.", "法国的首都是巴黎。"]


@contextmanager
def prometheus(folder: Path, target: str) -> Generator[str]:
    """Run Prometheus; it looks every second, and everything else is as shipped."""
    program = shutil.which("prometheus") or missing_program("prometheus")
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", folder)
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert "127.0.0.1:8036" in text
    text = text.replace("127.0.0.1:8036", target).replace("_interval: 15s", "_interval: 1s")
    (folder / "prometheus.yml").write_text(text, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
               f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def ask(url: str, query: str) -> list[tuple[dict[str, str], float]]:
    answer = httpx2.get(f"{url}/api/v1/query", params={"query": query}).json()
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


def eventually(statement: str, true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except (httpx2.TransportError, ValueError, KeyError):
            pass  # it has not started yet
        time.sleep(0.1)
    raise AssertionError(f"not within 40 s: {statement}")


def test_prometheus_knows_what_happened_and_every_panel_and_alert_has_something_to_show(tmp_path: Path) -> None:
    with serving("--canary.every_s", "1", cwd=tmp_path) as server, httpx2.Client(base_url=server.url) as client:
        target = server.url.removeprefix("http://")
        with prometheus(tmp_path, target) as url:
            body = {"query": "capital of France", "documents": DOCUMENTS}
            assert client.post("/v1/rerank", json=body).status_code == 200
            assert client.post("/rerank", json={"query": "首都", "texts": DOCUMENTS}).status_code == 200
            assert client.post("/v1/rerank", json={"model": "no-such", **body}).status_code == 404
            eventually("it is scraped", lambda: ask(url, 'up{job="rerankd"} == 1'))
            eventually("the calls are known", lambda: sum(v for _, v in ask(url, "rerankd_requests_total")) == 3)
            eventually("the golden set was ranked", lambda: ask(url, "rerankd_canary_mrr"))
            found = {(m["dialect"], m["outcome"]): v for m, v in ask(url, "rerankd_requests_total")}
            assert found == {("standard", "ok"): 1, ("tei", "ok"): 1, ("standard", "model_not_found"): 1}
            (mrr,) = [value for _, value in ask(url, "rerankd_canary_mrr")]
            eventually("rates are known", lambda: ask(url, "rate(process_cpu_seconds_total[10s])"))
            silent = [query for query in _queries() if not ask(url, query)]
            rules = httpx2.get(f"{url}/api/v1/rules").json()["data"]["groups"][0]["rules"]
    print(f"MRR@10 of the built-in golden set: {mrr:.3f}; {len(rules)} alerts, {len(list(_queries()))} panel queries")
    assert mrr > 0.75
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert not [rule["lastError"] for rule in rules if rule.get("lastError")]
    # No GPU here, an engine without batches, nothing failed or unloaded: those have no samples, and no others.
    assert all("gpu" in query or "fill" in query or "unloads" in query or "engine_failure" in query for query in silent)


def _queries() -> Generator[str]:
    names = {"$__rate_interval": "30s", "$instance": ".*", "$model": ".*"}
    for panel in json.loads((DEPLOY / "grafana" / "rerankd.json").read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in names.items():
                query = query.replace(name, value)
            yield query
