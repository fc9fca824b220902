"""A real server on a real socket: what only shows there."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY
from live_server import running_fake
from rerankd.errors import ConfigError
from rerankd.http import run
from rerankd.http.run import serve
from rerankd.settings import AuthSettings, ServerSettings, Settings

BODY = json.dumps({"query": QUERY, "documents": DOCUMENTS}).encode()


def _eventually(statement: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.01)
    pytest.fail(f"not within 10 s: {statement}")


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Generator[str]:
    with running_fake(service, Settings(server=ServerSettings(max_body_mb=1, body_timeout_s=0.5))) as url:
        yield url


def _raw(url: str, data: bytes, *, wait_s: float = 10) -> bytes:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=wait_s) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
            if b"\r\n\r\n" in answer and answer.rstrip().endswith((b"}", b"]")):
                break
        return answer


def test_a_request_as_curl_sends_it_is_answered(url: str) -> None:
    head = b"POST //v1/rerank/ HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    head += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    answer = _raw(url, head + BODY)
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"][0]["index"] == 1


def test_a_caller_that_hangs_up_frees_its_place(url: str, service: FakeService) -> None:
    service.hold = asyncio.Event()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("POST", "/v1/rerank", BODY)
    _eventually("the request waits", lambda: service.waiting == 1)
    connection.close()
    _eventually("the work is cancelled", lambda: service.cancelled == 1 and service.waiting == 0)
    text = httpx2.get(f"{url}/metrics").text
    assert 'rerankd_requests_total{dialect="standard",model="tiny-reranker",outcome="cancelled"} 1.0' in text


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(url: str, service: FakeService) -> None:
    big = b'{"query": "q", "documents": ["' + b"x" * 3_000_000 + b'"]}'

    def chunks() -> Generator[bytes]:
        for start in range(0, len(big), 100_000):
            yield big[start : start + 100_000]

    for content in (big, chunks()):
        response = httpx2.post(f"{url}/v1/rerank", content=content)
        assert response.status_code == 413
        assert "1 MiB" in response.json()["detail"]
    assert service.asked == []


def test_a_large_body_that_asks_first_is_refused_without_being_sent(url: str) -> None:
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99000000\r\n\r\n"
    answer = _raw(url, head)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_that_never_ends_is_refused_in_time(url: str) -> None:
    started = time.monotonic()
    answer = _raw(url, b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"did not arrive within 0.5 s" in answer
    assert time.monotonic() - started < 5


def test_the_service_is_started_and_closed_with_the_application(service: FakeService) -> None:
    with running_fake(service) as url:
        assert httpx2.get(f"{url}/livez").status_code == 200
        assert service.log == ["start"]
    assert service.log == ["start", "close"]


def _environment() -> dict[str, str]:
    """Let a program find what this process finds, and the tests' own modules."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


_PROGRAM = """
import sys
from fake_service import FakeService
from rerankd.settings import ServerSettings, Settings
from rerankd.http.run import serve
serve(Settings(server=ServerSettings(host=sys.argv[1], port=0)), lambda settings: FakeService())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_signal_ends_the_server_with_exit_code_0(number: signal.Signals, host: str) -> None:
    environment = _environment()
    command = [sys.executable, "-c", _PROGRAM, host]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            lines = iter(process.stderr.readline, "")
            line = json.loads(next(line for line in lines if "listening on" in line))
            assert "tiny-reranker" in line["message"]
            url = line["message"].split()[2]
            assert httpx2.post(f"{url}/v1/rerank", content=BODY).status_code == 200
            process.send_signal(number)
            rest = process.stderr.read()
            assert process.wait(20) == 0
            assert "Traceback" not in rest
            assert "stopped" in rest
        finally:
            process.kill()


_DRAINING = """
import sys
from fake_service import FakeService
from rerankd.settings import ServerSettings, Settings
from rerankd.http.run import serve
serve(Settings(server=ServerSettings(port=0, drain_s=30)), lambda settings: FakeService())
"""


def test_after_sigterm_it_is_not_ready_and_still_answers_and_a_second_signal_ends_it_at_once() -> None:
    environment = _environment()
    with subprocess.Popen(
        [sys.executable, "-c", _DRAINING], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        try:
            lines = iter(process.stderr.readline, "")
            url = json.loads(next(line for line in lines if "listening on" in line))["message"].split()[2]
            assert httpx2.get(f"{url}/readyz").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert any("no longer ready" in line for line in lines)
            assert httpx2.get(f"{url}/readyz").json() == {"status": "draining"}
            assert httpx2.post(f"{url}/v1/rerank", content=BODY).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 128 + signal.SIGTERM
        finally:
            process.kill()


def _never(_: Settings) -> FakeService:
    pytest.fail("the service was made although the server cannot listen")


@pytest.mark.anyio
async def test_an_answers_body_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    """Looks at the connection, since only a clock would show it to a client: 40 ms an answer with Nagle's algorithm."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made: socket.socket = writer.get_extra_info("socket")
        found.set_result(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    settings = Settings(server=ServerSettings(port=0))
    listener, *others = run._listen(run.check_address(settings), settings.server)
    async with await asyncio.start_server(connected, sock=listener):
        with socket.create_connection(listener.getsockname(), timeout=5):
            assert await asyncio.wait_for(found, 5)
    for other in others:
        other.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_address_needs_keys_or_a_word(host: str) -> None:
    with pytest.raises(ConfigError, match=r"RERANKD_AUTH__KEYS=.*--auth\.keys .*--auth\.allow_open true"):
        serve(Settings(server=ServerSettings(host=host)), _never)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_named_with_the_remedy(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(server=ServerSettings(host=host, port=port))
        with pytest.raises(ConfigError, match=rf"port {port} .* in use.*--server\.port {port + 1}"):
            serve(settings, _never)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_here_is_named(host: str) -> None:
    settings = Settings(server=ServerSettings(host=host), auth=AuthSettings(allow_open=True))
    with pytest.raises(ConfigError, match=rf"server\.host '{host}' is no address of this machine"):
        serve(settings, _never)


def test_a_keys_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "keys.txt"
    empty.write_text("# none yet\n", "utf-8")
    for file, reason in ((tmp_path / "missing.txt", "cannot be read"), (empty, "holds no key")):
        with pytest.raises(ConfigError, match=reason):
            serve(Settings(auth=AuthSettings(keys_file=file)), _never)
