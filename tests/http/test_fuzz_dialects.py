"""Whatever is posted, to whichever dialect: JSON comes back, and the fault is never the server's.

Bodies are the dialects' own examples, bent, and bytes that are no JSON at all; behind them stands the real service with
a tiny model. `RERANKD_FUZZ_BODIES=20000 pytest tests/http/test_fuzz_dialects.py` runs more; `RERANKD_FUZZ_SEED` makes
others.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

import anyio
import httpx2
import pytest

from letters import CountingEngine, pool
from rerankd.cache.memory import CACHE
from rerankd.dialects.detect import Directory, load_all
from rerankd.http.app import create_app
from rerankd.metrics import Metrics
from rerankd.scheduler.scheduler import Scheduler
from rerankd.service.limits import Limits
from rerankd.service.service import RerankService
from rerankd.settings import LoggingSettings, Settings

BODIES = int(os.environ.get("RERANKD_FUZZ_BODIES", "1500"))
SEED = int(os.environ.get("RERANKD_FUZZ_SEED", "36"))
CALLERS_FAULT = {400, 404, 413, 422}
MIB = 1 << 20
# What json.dumps cannot write, put in afterwards: numbers that no float or no Python int holds.
RAW = {'"@huge@"': "1e400", '"@digits@"': "9" * 5000, '"@tiny@"': "-1e-400"}
ODD: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2.0, 1.5, 2**31, 2**63, -(2**64), float("nan"), float("inf"), float("-inf"), 1e308,
    "@huge@", "@digits@", "@tiny@", "", " ", "true", "0", "-3", "3", "NaN", "\ud83d", "a\udc00b", "\ud83d\ude00",
    "\x00\x1f", "\u202e\u200b", "\ufeff", "法国的首都是哪里？", "x" * 3000, "letters", "LETTERS___x", "nope",
    [], {}, [[]], [None], [{}], {"text": "t"}, {"text": None}, {"text": {"text": "t"}}, {"\ud83d": "\udc00"},
    {"content": [{"type": "text", "text": "t"}]}, {"content": [{"type": "image_url"}]}, {"content": "c"},
    ["a", "b"], [["a", "b"], ["c", "d"]], [["a"], 7], [{"query": "q", "documents": ["d"]}],
)  # fmt: skip
KEYS = (
    "query", "queries", "documents", "texts", "passages", "input", "inputs", "model", "top_n", "top_k", "raw_scores",
    "return_documents", "return_text", "return_input", "rank_fields", "truncate", "truncation", "use_activation",
    "property", "text_1", "text_2", "data_1", "data_2", "items", "requests", "max_tokens_per_doc", "kwargs", "\udc00",
)  # fmt: skip


class Bodies:
    """An endless supply of bodies, the same for the same seed: (path, bytes)."""

    def __init__(self, directory: Directory, seed: int) -> None:
        self._random = random.Random(seed)
        self._paths = directory.paths
        self._examples = [
            (example, [f"/{name}{path}".rstrip("/") for path in (route.path, *route.aliases)])
            for name, one in directory.dialects.items()
            for route in one.routes
            for example in route.examples.values()
        ]

    def next(self) -> tuple[str, bytes]:
        pick = self._random
        kind = pick.random()
        paths = self._paths
        if kind < 0.1:
            body = self._bytes()
        elif kind < 0.2:
            body = self._written(self._value(4))
        else:
            example, own = pick.choice(self._examples)
            paths = own if pick.random() < 0.5 else paths
            body = self._written(self._bent(example))
        if pick.random() < 0.05:
            body = self._broken(body)
        return pick.choice(paths), body

    def _bent(self, example: Any) -> Any:
        body = json.loads(json.dumps(example))
        if "model" in body:  # examples name models that are not here
            body["model"] = self._random.choice(("letters", "Letters", "letters___x", "", "nope"))
        for _ in range(self._random.choice((0, 1, 1, 2, 3))):
            self._bend(body)
        return body

    def _bend(self, body: Any) -> None:
        """Change one place, here or further in."""
        pick = self._random
        keys: list[Any] = list(body) if isinstance(body, dict) else list(range(len(body)))
        inner = [key for key in keys if isinstance(body[key], dict | list)]
        if inner and pick.random() < 0.4:
            self._bend(body[pick.choice(inner)])
        elif keys and pick.random() < 0.6:
            body[pick.choice(keys)] = self._value(3)
        elif keys and pick.random() < 0.4:
            del body[pick.choice(keys)]
        elif isinstance(body, dict):
            body[pick.choice(KEYS)] = self._value(3)
        else:
            body.append(self._value(3))

    def _value(self, depth: int) -> Any:
        pick = self._random
        if depth == 0 or pick.random() < 0.6:
            return json.loads(json.dumps(pick.choice(ODD)))
        if pick.random() < 0.5:
            return [self._value(depth - 1) for _ in range(pick.randrange(5))]
        return {pick.choice(KEYS): self._value(depth - 1) for _ in range(pick.randrange(5))}

    def _written(self, value: Any) -> bytes:
        text = json.dumps(value, ensure_ascii=self._random.random() < 0.7)
        for mark, raw in RAW.items():
            text = text.replace(mark, raw)
        return text.encode("utf-8", "surrogatepass")

    def _bytes(self) -> bytes:
        pick = self._random
        depth = pick.choice((50, 200, 1000, 20_000))
        return pick.choice(
            (
                b"", b" \n", b"\xef\xbb\xbf", b"\xff\xfe", b"{", b'"', b"NaN", b"-", b"1e400", b"\x00", b"null",
                b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth, b'{"a":' * depth + b"1" + b"}" * depth,
                b'{"query":"q","documents":' + b"[" * depth + b"]" * depth + b"}",
                b'{"query":"\\ud83d","documents":' + b"[" * depth + b"]" * depth + b"}",
                b'{"query":"q","query":["q"],"documents":["d"]}', pick.randbytes(pick.randrange(1, 200)),
            )
        )  # fmt: skip

    def _broken(self, body: bytes) -> bytes:
        pick = self._random
        if not body:
            return body
        at = pick.randrange(len(body))
        return pick.choice((body[:at], body[at:], body[:at] + pick.randbytes(1) + body[at + 1 :], body + body))


def _huge() -> Sequence[tuple[str, bytes, set[int]]]:
    """Bodies about the limit of 16 MiB, with the statuses that are right for them."""
    ask = b'{"model": "letters", "query": "q", "%s": %s}'
    text = b'["' + b"a" * (15 * MIB) + b'"]'
    many = b"[" + b'"a",' * 200_000 + b'"a"]'
    most = b"[" + b'"a",' * (3 * MIB) + b'"a"]'
    over = b'["' + b"a" * (17 * MIB) + b'"]'
    return (
        ("/v1/rerank", ask % (b"documents", text), {200}),
        ("/rerank", ask % (b"texts", text), {200}),
        ("/v1/rerank", ask % (b"documents", many), {413}),
        ("/tei/rerank", ask % (b"texts", many), {422}),
        ("/infinity/rerank", ask % (b"documents", many), {422}),
        ("/predict", b'{"inputs": %s}' % most, {422}),
        ("/v1/rerank", ask % (b"documents", over), {413}),
        ("/tei/rerank", ask % (b"texts", over), {413}),
        ("/infinity/rerank", ask % (b"documents", over), {413}),
        ("/v1/rerank", b"[" * (16 * MIB), {400}),
        ("/v1/rerank", b" " * (16 * MIB), {400}),
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check(response: httpx2.Response, path: str, body: bytes, allowed: set[int]) -> None:
    about = f"{response.status_code} for {path} {body[:300]!r} ({len(body)} bytes): {response.content[:300]!r}"
    assert response.status_code in allowed, about
    assert response.headers["content-type"] == "application/json", about
    answer: Any = None
    try:
        answer = json.loads(response.content.decode("utf-8"), parse_constant=_no_constant)
    except ValueError:
        pytest.fail(f"not JSON: {about}")
    assert isinstance(answer, dict | list), about
    if response.status_code != 200:
        assert isinstance(answer, dict), about
        assert answer.keys() & {"detail", "error", "message"}, about
        if response.status_code == 422:
            assert not isinstance(answer.get("detail"), str), f"422 with a string: {about}"


async def _fuzz(count: int) -> Counter[int]:
    """Post `count` random bodies and the huge ones; count the statuses."""
    engine = CountingEngine()
    scheduler = Scheduler(workers=1, metrics=Metrics())
    cache = CACHE.open("memory://", max_bytes=1 << 16)
    service = RerankService(pool=pool(engine), scheduler=scheduler, cache=cache, limits=Limits(), metrics=Metrics())
    directory = load_all()
    app = create_app(service, Settings(logging=LoggingSettings(access=False)), directory=directory)
    await service.start()
    await service.wait_ready()
    seen: Counter[int] = Counter()
    bodies = Bodies(directory, SEED)
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as http:
            for path, body, allowed in _huge():
                response = await http.post(path, content=body)
                _check(response, path, body, allowed)
                seen[response.status_code] += 1
            for _ in range(count):
                path, body = bodies.next()
                response = await http.post(path, content=body)
                _check(response, path, body, {200, *CALLERS_FAULT})
                seen[response.status_code] += 1
    finally:
        await service.close()
    return seen


@pytest.mark.timeout(1800)
def test_no_body_is_the_servers_fault_and_every_answer_is_json() -> None:
    seen = anyio.run(_fuzz, BODIES)
    print(f"statuses of {seen.total()} bodies: {dict(sorted(seen.items()))}")
    assert seen[200] > BODIES / 20, "the bodies must reach the answers, too"
    assert all(seen[status] for status in (200, 400, 404, 413, 422))
