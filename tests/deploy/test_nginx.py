"""A real nginx in front of a real server, with the configuration that is shipped."""

import asyncio
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY
from live_server import running_fake
from programs import missing_program

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx" / "rerankd.conf"
BODY = {"query": QUERY, "documents": DOCUMENTS}
MAIN = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/rerankd.conf;
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def nginx(folder: Path, upstream: str, **changes: str) -> Generator[str]:
    """Run nginx before `upstream` (host:port) on a free port; `changes` replace words of the shipped file."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") or missing_program("nginx")
    port = free_port()
    text = CONFIGURATION.read_text("utf-8")
    words = {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "127.0.0.1:8036": upstream,
        "/var/log/nginx/rerankd.log": str(folder / "access.log"),
        **changes,
    }
    for old, new in words.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "rerankd.conf").write_text(text, "utf-8")
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(folder=folder), "utf-8")
    command = [program, "-c", str(main), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr, checked.stderr
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _eventually("nginx listens", lambda: _listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _eventually(statement: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, f"not within 10 s: {statement}"
        time.sleep(0.02)


def _log(folder: Path) -> Iterator[dict[str, str]]:
    for line in (folder / "access.log").read_text("utf-8").splitlines():
        yield json.loads(line)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


def test_calls_come_through_with_their_id_over_connections_that_stay_open(tmp_path: Path, service: FakeService) -> None:
    with running_fake(service) as inner, nginx(tmp_path, urlsplit(inner).netloc) as url, httpx2.Client() as client:
        for number in range(20):
            answer = client.post(f"{url}/v1/rerank", json=BODY, headers={"x-request-id": f"mine-{number}"})
            assert answer.json()["results"][0]["index"] == 1
            assert answer.headers["x-request-id"] == f"mine-{number}"
        assert len(client.post(f"{url}/v1/rerank", json=BODY).headers["x-request-id"]) == 32
        many = client.post(f"{url}/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS * 50})
        assert many.headers["content-encoding"] == "gzip"
        assert len(many.json()["results"]) == 200
        assert client.get(f"{url}/readyz").json() == {"status": "ready"}
        assert "rerankd_requests_total" in client.get(f"{url}/metrics").text
    lines = list(_log(tmp_path))
    assert lines[3]["request_id"] == "mine-3"
    reused = sum(line["upstream_connect"] == "0.000" for line in lines)
    assert reused >= len(lines) - 2, "one connection to rerankd serves one caller's calls"
    assert "Paris" not in (tmp_path / "access.log").read_text("utf-8")


def test_a_body_as_large_as_rerankd_takes_comes_through_and_a_larger_one_is_refused_in_json(
    tmp_path: Path, service: FakeService
) -> None:
    with running_fake(service) as inner, nginx(tmp_path, urlsplit(inner).netloc) as url:
        large = {"query": "q", "documents": ["x" * 15_000_000]}
        assert httpx2.post(f"{url}/v1/rerank", json=large, timeout=30).status_code == 200
        refused = httpx2.post(f"{url}/v1/rerank", content=b"x" * 17_000_000, timeout=30)
    assert refused.status_code == 413
    assert refused.json()["error"]["kind"] == "request_too_large"
    assert len(service.asked) == 1


def test_a_caller_that_sends_slowly_never_reaches_rerankd(tmp_path: Path, service: FakeService) -> None:
    changes = {
        "client_body_timeout   30s;": "client_body_timeout 1s;",
        "client_header_timeout 10s;": "client_header_timeout 1s;",
    }
    with running_fake(service) as inner, nginx(tmp_path, urlsplit(inner).netloc, **changes) as url:
        parts = urlsplit(url)
        for begun in (b"POST /v1/rerank HT", b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"):
            with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as slow:
                slow.sendall(begun)
                with suppress(ConnectionResetError):
                    while slow.recv(4096):
                        pass  # until nginx hangs up
    assert service.asked == []


def test_a_caller_that_hangs_up_is_hung_up_on_rerankd_too(tmp_path: Path, service: FakeService) -> None:
    service.hold = asyncio.Event()
    with running_fake(service) as inner, nginx(tmp_path, urlsplit(inner).netloc) as url:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        connection.request("POST", "/v1/rerank", json.dumps(BODY).encode())
        _eventually("the call waits", lambda: service.waiting == 1)
        connection.close()
        _eventually("its places are free", lambda: service.cancelled == 1)


def test_a_server_that_is_gone_is_said_in_json_with_a_time_to_come_back_and_found_again(
    tmp_path: Path, service: FakeService
) -> None:
    port = free_port()
    with nginx(tmp_path, f"127.0.0.1:{port}") as url:
        gone = httpx2.post(f"{url}/v1/rerank", json=BODY)
        assert (gone.status_code, gone.headers["retry-after"]) == (503, "5")
        assert gone.json()["detail"].startswith("the rerank server does not answer")
        with running_fake(service, port=port):
            assert httpx2.post(f"{url}/v1/rerank", json=BODY).status_code == 200


def test_rerankds_own_errors_come_through_as_they_are(tmp_path: Path, service: FakeService) -> None:
    with running_fake(service) as inner, nginx(tmp_path, urlsplit(inner).netloc) as url:
        wrong = httpx2.post(f"{url}/v1/rerank", json={"query": "q", "documents": []})
        assert (wrong.status_code, wrong.json()["error"]["kind"]) == (400, "invalid_request")
        assert httpx2.get(f"{url}/nowhere").json()["error"]["kind"] == "route_not_found"
