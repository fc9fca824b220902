"""Runs a client's cases against rerankd and prints one JSON line for each; each script beside this one is one client.

A script runs inside its client's environment, so this file needs the standard library only. What a client must say is
taken from the server itself, asked with urllib: a client passes when it reads the same ranking out of its own call.

    python with_cohere.py --url http://127.0.0.1:8036 --model bge-reranker-v2-m3 [--locked-url URL --key KEY]
"""

import argparse
import json
import sys
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import cast

QUERY = "What is the capital of France?"
DOCUMENTS = ["bananas are yellow", "Paris is the capital of France", "France is a country", "bananas are yellow"]
BASES = ("", "/", "/v1")
_TOLERANCE = 1e-6
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost", "", None})

Hits = Iterable[tuple[int, float]]


@dataclass(frozen=True)
class Target:
    """One server under one name of its model. `h` is its URL without a trailing slash; `locked`: it wants `key`.

    `ranking` is what the server answers to `QUERY` and `DOCUMENTS`: (index, score), best first.
    """

    h: str
    key: str
    model: str
    locked: bool
    ranking: Sequence[tuple[int, float]]

    @property
    def authority(self) -> str:
        """Host and port, for clients that add the scheme themselves."""
        return self.h.partition("://")[2]


@dataclass(frozen=True)
class Case:
    """One thing to do with a client. `where`: "both" servers, the "open" one or the "locked" one."""

    client: str
    called: str
    function: Callable[[Target, str], object]
    bases: Sequence[str]
    where: str


class Cases:
    """The cases of one script, in the order written."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def __call__(
        self, client: str, called: str, *, bases: Sequence[str] = ("",), where: str = "both"
    ) -> Callable[[Callable[[Target, str], object]], Callable[[Target, str], object]]:
        """Register a function of (target, base URL); it fails by raising. `client` is the name of a distribution."""

        def register(function: Callable[[Target, str], object]) -> Callable[[Target, str], object]:
            self.cases.append(Case(client, called, function, bases, where))
            return function

        return register

    def main(self) -> None:
        """Run every case on every server under every name, print the lines, and exit with 1 if one failed."""
        asked = _arguments()
        sys.addaudithook(_stay_on_loopback)
        failed = 0
        for target in _targets(asked):
            for case in self.cases:
                if case.where in ("both", "locked" if target.locked else "open"):
                    failed += sum(not _run(case, target, base) for base in case.bases)
        sys.exit(1 if failed else 0)


def check_hits(hits: Hits, target: Target, top_n: int | None = None) -> None:
    """Compare what a client read with what the server answers: same indexes, same order, same scores."""
    got = [(index, float(score)) for index, score in hits]
    expected = list(target.ranking[:top_n])
    if [index for index, _ in got] != [index for index, _ in expected]:
        raise AssertionError(f"indexes {[index for index, _ in got]}, the server says {expected}")
    for (_, score), (_, right) in zip(got, expected, strict=True):
        if abs(score - right) > _TOLERANCE:
            raise AssertionError(f"scores {[score for _, score in got]}, the server says {expected}")


def check_texts(texts: Iterable[object], target: Target, top_n: int | None = None) -> None:
    """Compare the documents a client read with those sent, in the order of the ranking."""
    check(list(texts), [DOCUMENTS[index] for index, _ in target.ranking[:top_n]])


def check(got: object, expected: object) -> None:
    """Compare two values."""
    if got != expected:
        raise AssertionError(f"got {got!r}, expected {expected!r}")


def check_in(part: str, whole: object) -> None:
    """Look for a text in what a client reports."""
    if part not in str(whole):
        raise AssertionError(f"{part!r} is not in {whole!r}")


def fails(call: Callable[[], object], *, saying: str = "", as_: str = "", status: int = 0) -> None:
    """Demand that a call raises: with a text in the error, a class of a given name, a status code."""
    try:
        answer = call()
    except Exception as error:  # noqa: BLE001 each client has errors of its own
        said = f"{error} {getattr(error, 'body', '')}"
        check_in(saying, said)
        if as_:
            check(type(error).__name__, as_)
        if status:
            check(getattr(error, "status_code", None), status)
        return
    raise AssertionError(f"no error, but {answer!r}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="a server that wants no key")
    parser.add_argument("--locked-url", help="a server that wants --key")
    parser.add_argument("--key", default="x")
    parser.add_argument("--model", action="append", required=True, help="a name of the model; may be repeated")
    return parser.parse_args()


def _targets(asked: argparse.Namespace) -> Iterable[Target]:
    for model in cast("list[str]", asked.model):
        for url, key in ((asked.url, "x"), (asked.locked_url, asked.key)):
            if url:
                yield Target(url, key, model, url == asked.locked_url, _ranking(url, key, model))


def _ranking(url: str, key: str, model: str) -> Sequence[tuple[int, float]]:
    body = json.dumps({"model": model, "query": QUERY, "documents": DOCUMENTS}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/rerank", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    return [(item["index"], item["relevance_score"]) for item in answer["results"]]


def _run(case: Case, target: Target, base: str) -> bool:
    detail = ""
    try:
        case.function(target, target.h + base)
    except Exception as error:  # noqa: BLE001 whatever a client raises is the result
        detail = f"{type(error).__name__}: {error}"
    line = {
        "client": case.client,
        "version": metadata.version(case.client),
        "called": case.called,
        "case": f"{case.function.__name__} H{base} {target.model}{' with a key' if target.locked else ''}",
        "ok": not detail,
        "detail": detail[:1000],
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return not detail


def _stay_on_loopback(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse every connection that leaves the machine: no case may pass by asking the real service."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = cast("tuple[object, ...]", arguments[1])[0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name not in _LOOPBACK:
        raise ConnectionRefusedError(f"a client wanted to reach {name!r}")
