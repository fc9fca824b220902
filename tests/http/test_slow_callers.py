"""Callers that are slow on purpose, or send heads without end: on real sockets, with uvicorn as it is in use."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx2
import pytest
import uvicorn

from fake_service import FakeService
from rerankd.http.app import create_app
from rerankd.http.reaper import Reaper
from rerankd.http.run import uvicorn_config
from rerankd.settings import LimitsSettings, ServerSettings, Settings

HEADER_TIMEOUT_S = 0.5
CONNECTIONS = 40


@contextmanager
def served(settings: Settings, *, keep_alive_s: float = 75) -> Generator[tuple[str, int]]:
    """Serve as `rerankd serve` does; yields host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    reaper = Reaper(header_timeout_s=settings.server.header_timeout_s, keep_alive_s=keep_alive_s)
    server = uvicorn.Server(uvicorn_config(lambda: create_app(FakeService(), settings), settings, reaper))
    server.config.timeout_notify = 0
    reaper.watch(server)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture(scope="module")
def address() -> Generator[tuple[str, int]]:
    server = ServerSettings(header_timeout_s=HEADER_TIMEOUT_S, body_timeout_s=1, max_connections=CONNECTIONS + 2)
    with served(Settings(server=server), keep_alive_s=0.5) as address:
        yield address


def _ends(connection: socket.socket) -> bytes:
    """Read until the server has closed; fails where it does not."""
    connection.settimeout(15)
    answer = b""
    try:
        while chunk := connection.recv(65_536):
            answer += chunk
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize(
    "sent",
    [b"", b"P", b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /liv"],
)
def test_a_connection_without_a_whole_head_is_cut(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        answer = _ends(connection)
    assert answer.startswith(b"HTTP/1.1 200") == sent.startswith(b"GET")


def test_a_head_that_comes_byte_by_byte_does_not_hold_its_place(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        assert _takes_bytes_for_s(connection) < 15


def _takes_bytes_for_s(connection: socket.socket) -> float:
    began = time.monotonic()
    while time.monotonic() - began < 15:
        try:
            connection.sendall(b"x")
        except OSError:
            break
        time.sleep(0.05)
    return time.monotonic() - began


def test_slow_callers_cannot_take_all_places_for_long(address: tuple[str, int]) -> None:
    host, port = address
    slow = [socket.create_connection(address) for _ in range(CONNECTIONS + 10)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\n")
        deadline = time.monotonic() + 15
        while (status := httpx2.get(f"http://{host}:{port}/livez").status_code) != 200:
            assert status == 503
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        for connection in slow:
            connection.close()


def test_a_caller_that_works_is_left_alone(address: tuple[str, int]) -> None:
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n"
    body = b'{"query":"q","documents":["a b"] }'
    assert len(body) == 34
    with socket.create_connection(address) as connection:
        connection.sendall(head)
        for i in range(0, len(body), 12):  # longer than a head may take
            connection.sendall(body[i : i + 12])
            time.sleep(0.25)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: y\r\n" * 20_000 + b"\r\n",
        b"x" * 200_000,
    ],
    ids=["path", "one header", "many headers", "no HTTP"],
)
def test_a_head_over_the_bound_is_refused_and_not_kept(address: tuple[str, int], head: bytes) -> None:
    with socket.create_connection(address) as connection:
        try:
            connection.sendall(head)
        except OSError:
            return  # it was refused before all was sent
        answer = _ends(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("trusted", "statuses"),
    [((), [200, 429]), (("127.0.0.1",), [200, 200]), (("10.0.0.0/8",), [200, 429])],
    ids=["nobody", "this proxy", "another"],
)
def test_a_forwarded_address_is_believed_from_a_trusted_proxy_only(
    trusted: tuple[str, ...], statuses: list[int]
) -> None:
    settings = Settings(
        server=ServerSettings(trusted_proxies=trusted), limits=LimitsSettings(per_address=("1 requests/minute",))
    )
    with served(settings) as (host, port):
        found = [
            httpx2.post(
                f"http://{host}:{port}/v1/rerank",
                json={"query": "q", "documents": ["d"]},
                headers={"x-forwarded-for": f"192.0.2.{i}"},
            ).status_code
            for i in range(2)
        ]
    assert found == statuses
