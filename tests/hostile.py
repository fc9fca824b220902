"""Requests that nobody means well with: bytes for a socket, the same for the same seed."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PATHS = (
    "/v1/rerank",
    "/rerank",
    "/v2/rerank",
    "/v1/rerank/batch",
    "/tei/rerank",
    "/predict",
    "/score",
    "/cohere/v2/rerank",
    "/infinity/rerank",
    "/v1/ranking",
    "/",
    "/v1/models",
    "/health",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/info",
    "/static/swagger-ui.css",
    "/admin/ps",
    "/admin/list",
    "/admin/show",
    "/admin/load",
    "/admin/unload",
    "/admin/rm",
    "/admin/pull",
    "/admin/bundle/import",
)
RERANK = PATHS[:10]
ODD_PATHS = (
    "/../../etc/passwd",
    "/static/../http/app.py",
    "/static/..%2f..%2fapp.py",
    "/%00",
    "/%ff%fe",
    "/v1/rerank%0d%0aX: y",
    "//v1//rerank//",
    "/v1/models/../../x",
    "/v1/models/%2e%2e%2f",
    "/" + "a/" * 500,
    "/?" + "q=1&" * 500,
    "*",
    "x",
    "http://evil.example/v1/rerank",
    "/v1/rerank;jsessionid=1",
    "/v1/rerank#x",
    "/${jndi:ldap://x}",
    "/<script>",
    "/v1/models/" + "%F0%9F%98%80" * 20,
    "/admin",
    "/admin/keys",
    "/admin/../v1/rerank",
    "/debug",
    "/.env",
    "/.git/config",
)
METHODS = (
    "POST",
    "POST",
    "POST",
    "GET",
    "PUT",
    "DELETE",
    "OPTIONS",
    "HEAD",
    "TRACE",
    "CONNECT",
    "PATCH",
    "post",
    "X",
    "",
)
VALUES: Sequence[Any] = (
    None,
    True,
    -1,
    2**63,
    1e308,
    float("nan"),
    "",
    "x" * 3000,
    "\ud83d",
    "\x00",
    "\u202e",
    [],
    {},
    [[]],
    [None],
    {"text": "t"},
    {"text": None},
    ["a", "b"],
    [["a", "b"]],
    "nope",
    "../../etc/passwd",
    "' OR 1=1 --",
    "{{7*7}}",
    "%s%n",
)
NAMES = ("query", "documents", "texts", "model", "top_n", "return_documents", "truncate", "input", "requests", "kwargs")
HEADERS = (
    b"X-Request-Id: " + b"a" * 500,
    b"X-Request-Id: <script>",
    b"X-Request-Timeout: -1",
    b"X-Request-Timeout: nan",
    b"X-Request-Timeout: 1e999",
    b"X-Rerankd-Priority: root",
    b"X-Forwarded-For: 1.2.3.4, ::1",
    b"Forwarded: for=_x",
    b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Type: text/plain; charset=utf-7",
    b"Accept: " + b"*" * 5000,
    b"Content-Encoding: gzip",
    b"Expect: 100-continue",
    b"Expect: the unexpected",
    b"Upgrade: websocket\r\nConnection: upgrade",
    b"Connection: keep-alive, close",
    b"Host: evil.example",
    b"Range: bytes=0-0,5-",
    b"Origin: null",
    b"Cookie: " + b"a=b;" * 900,
    b"traceparent: 00-zz-zz-01",
    b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01",
    b"X-\xff: y",
    b"X: \xff\x00",
    b": empty",
    b"NoColon",
    b" folded",
    b"X-Many: y\r\n" * 200 + b"X: y",
    b"Authorization: Basic Zm9v",
    b"x-api-key:",
)


@dataclass(frozen=True, slots=True)
class Attack:
    """What is sent. `whole`: it is one request with an end, so an answer must come. `keyed`: its key is right."""

    data: bytes
    mark: bytes
    whole: bool
    keyed: bool
    path: str


class Attacks:
    """An endless supply. `keys`: the right key first, then keys that must open nothing."""

    def __init__(self, seed: int, keys: Sequence[str]) -> None:
        self._pick = random.Random(seed)
        self._keys = keys
        self._seed = seed
        self._count = 0

    def next(self) -> Attack:
        pick = self._pick
        self._count += 1
        mark = f"mark-{self._seed}-{self._count}-kram"
        path = pick.choice(pick.choice((RERANK, RERANK, RERANK, PATHS, ODD_PATHS)))
        keyed = pick.random() < 0.6
        body = self._body(mark)
        method = pick.choice(METHODS) if pick.random() < 0.4 else "POST"
        head = [f"{method} {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close"]
        head += [self._key(keyed), *(pick.choice(HEADERS) for _ in range(pick.choice((0, 0, 0, 1, 2))))]
        framings: Sequence[Callable[[list[bytes], bytes], tuple[bytes, bool]]] = (
            self._length,
            self._length,
            self._length,
            self._chunked,
            self._chunked,
            self._torn,
            self._wild,
        )
        data, whole = pick.choice(framings)(head, body)
        return Attack(data, mark.encode(), whole, keyed, path)

    def _key(self, keyed: bool) -> bytes:
        if keyed:
            return f"Authorization: Bearer {self._keys[0]}".encode()
        wrong = self._pick.choice((*self._keys[1:], "", "x", self._keys[0][:-1], self._keys[0].upper(), "a" * 4000))
        return self._pick.choice((b"Authorization: Bearer ", b"x-api-key: ", b"api-key: ")) + wrong.encode()

    def _body(self, mark: str) -> bytes:
        pick = self._pick
        kind = pick.random()
        if kind < 0.1:
            return pick.randbytes(pick.randrange(200))
        if kind < 0.2:
            return pick.choice((b"[" * 5000, b'{"a":' * 5000, b"\xef\xbb\xbf{}", b"null", b'"', b"{", b"1e999", b"-"))
        body: dict[str, Any] = {"query": "what purrs", "documents": [f"{mark} cats purr", "dogs bark"]}
        if pick.random() < 0.3:
            body["texts"] = body.pop("documents")
        for _ in range(pick.choice((0, 0, 1, 2))):
            body[pick.choice(NAMES)] = pick.choice(VALUES)
        written = json.dumps(body).encode()
        return written[: pick.randrange(len(written))] if pick.random() < 0.1 else written

    def _length(self, head: list[bytes], body: bytes) -> tuple[bytes, bool]:
        return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body]), True

    def _chunked(self, head: list[bytes], body: bytes) -> tuple[bytes, bool]:
        pick = self._pick
        parts: list[bytes] = []
        at = 0
        while at < len(body):
            size = pick.randrange(1, 200)
            part = body[at : at + size]
            extension = pick.choice((b"", b"", b";a=b", b";" + b"x" * 300))
            parts.append(b"%x%s\r\n%s\r\n" % (len(part), extension, part))
            at += size
        end = pick.choice((b"0\r\n\r\n", b"0\r\nX-Trailer: y\r\n\r\n"))
        return b"\r\n".join([*head, b"Transfer-Encoding: chunked", b"", b""]) + b"".join(parts) + end, True

    def _torn(self, head: list[bytes], body: bytes) -> tuple[bytes, bool]:
        """Framing that is a lie: nobody can tell where such a request ends."""
        pick = self._pick
        lie = pick.choice(
            (
                b"Content-Length: -5",
                b"Content-Length: 99999999999999999999",
                b"Content-Length: 5\r\nContent-Length: 6",
                b"Content-Length: 4\r\nTransfer-Encoding: chunked",
                b"Transfer-Encoding: chunked, gzip",
                b"Transfer-Encoding: identity",
                b"Transfer-Encoding: xchunked",
                b"Content-Length: 0x10",
                b"Content-Length: %d" % (len(body) + 50),
                b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            )
        )
        chunk = pick.choice((b"", b"zz\r\n", b"ffffffffffffffffffff\r\n", b"-1\r\n", b"5\r\nab\r\n0\r\n\r\n"))
        return b"\r\n".join([*head, lie, b"", chunk + body]), False

    def _wild(self, head: list[bytes], body: bytes) -> tuple[bytes, bool]:
        """No HTTP, or no more than its beginning, or two requests at once."""
        pick = self._pick
        whole, _ = self._length(head, body)
        kind = pick.randrange(6)
        if kind == 0:
            return pick.randbytes(pick.randrange(1, 500)), False
        if kind == 1:
            return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", False
        if kind == 2:
            return whole[: pick.randrange(1, len(whole))], False
        if kind == 3:
            return whole.replace(b"\r\n", b"\n"), False
        if kind == 4:
            at = pick.randrange(len(whole))
            return whole[:at] + pick.randbytes(1) + whole[at + 1 :], False
        return whole + whole, False
