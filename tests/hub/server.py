"""What both hubs are made of: repositories, an HTTP server that knows ranges, and faults that happen on its wire."""

import hashlib
import re
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

LARGE = 4096
"""Files from this size on are stored as large files, with a sha256; smaller ones have git's blob id."""


@dataclass
class Repository:
    """Files by commit, and what branches and tags mean. `token` is needed to read it where it is not empty."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict[str, dict[str, bytes]])
    refs: dict[str, str] = field(default_factory=dict[str, str])
    token: str = ""
    gated: bool = False

    def push(self, files: Mapping[str, bytes], branch: str) -> str:
        """Commit files to a branch; return the commit."""
        whole = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[whole] = dict(files)
        self.refs[branch] = whole
        return whole

    def commit(self, revision: str) -> str | None:
        return self.refs.get(revision) or (revision if revision in self.commits else None)


def files_of(folder: Path) -> dict[str, bytes]:
    """Read a folder as what would be pushed."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Fault:
    """What goes wrong with requests whose path matches `path`, the next `times` times (None: always).

    `status` answers with it; `cut_after` closes the connection after so many bytes of the body; `corrupt` changes a
    byte; `slow_bytes_s` sends so many bytes a second; `silent_s` waits before it answers; `no_ranges` sends the whole
    file whatever was asked for; `body` is sent in place of the answer, with status 200.
    """

    path: str = ""
    times: int | None = None
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut_after: int | None = None
    corrupt: bool = False
    slow_bytes_s: int = 0
    silent_s: float = 0.0
    no_ranges: bool = False
    body: bytes = b""


@dataclass(frozen=True)
class Asked:
    """One request as it came. `host` tells the hub from its CDN."""

    host: str
    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def start(self) -> int:
        """The first byte that was asked for."""
        match = re.match(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(match[1]) if match else 0


@dataclass(frozen=True)
class Answer:
    """What a hub answers; `data` is served with ranges."""

    status: int = 200
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Hub:
    """A hub's state. Subclasses answer; the server below does the rest."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.sent = 0
        self.url = ""
        self.cdn = ""
        self._lock = threading.Lock()

    def answer(self, asked: Asked, query: Mapping[str, str]) -> Answer:
        raise NotImplementedError

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def record(self, asked: Asked) -> Fault:
        """Remember a request and return what goes wrong with it."""
        with self._lock:
            self.asked.append(asked)
            for fault in self.faults:
                if re.search(fault.path, f"{asked.method} {asked.path}") and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return Fault()

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size

    def got(self, pattern: str) -> list[Asked]:
        """Return the GET requests whose path matches."""
        return [asked for asked in self.asked if asked.method == "GET" and re.search(pattern, asked.path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return  # tests ask what was asked for; nobody reads a log

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        split = urlsplit(self.path)
        path = unquote(split.path) + (f"?{unquote(split.query)}" if split.query else "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(headers.get("host", ""), self.command, path, headers)
        fault = self.hub.record(asked)
        if fault.silent_s:
            time.sleep(fault.silent_s)
        if fault.status or fault.body:
            self._send(Answer(fault.status or 200, fault.body or b"{}", fault.headers), fault, asked)
            return
        bare = Asked(asked.host, asked.method, unquote(split.path), headers)
        self._send(self.hub.answer(bare, dict(parse_qsl(split.query))), fault, asked)

    def _send(self, answer: Answer, fault: Fault, asked: Asked) -> None:
        data = answer.data
        if fault.corrupt and data:
            data = data[:-1] + bytes([data[-1] ^ 1])
        status, start = answer.status, 0
        if answer.status == 200 and asked.start and not fault.no_ranges:
            if asked.start >= len(data):
                self._head(416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"})
                return
            status, start = 206, asked.start
        headers = {**answer.headers}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._head(status, {"Content-Length": str(len(data) - start), "Accept-Ranges": "bytes", **headers})
        if self.command == "GET":
            self._body(data[start:], fault)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, data: bytes, fault: Fault) -> None:
        cut = len(data) if fault.cut_after is None else min(len(data), fault.cut_after)
        step = max(1, fault.slow_bytes_s // 20) if fault.slow_bytes_s else 65536
        try:
            for at in range(0, cut, step):
                self.wfile.write(data[at : min(at + step, cut)])
                self.hub.count(min(step, cut - at))
                if fault.slow_bytes_s:
                    time.sleep(step / fault.slow_bytes_s)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if cut < len(data):
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        return  # clients that are killed in mid-request are part of the tests


H = TypeVar("H", bound=Hub)


@contextmanager
def running(hub: H) -> Generator[H]:
    """Serve a hub and, on another port and so of another origin, its CDN."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [_Server(("127.0.0.1", 0), handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join(10)


def closed_port() -> str:
    """Return an address on which nobody listens."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_address[1]}"
