"""Trying a connection: the requests that a client would make, as it would make them, and what came of them."""

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import httpx2

from rerankd.connect.diagnosis import Asked, Server, Surroundings, Verdict, items, of_answer, of_failure
from rerankd.connect.places import in_container, is_loopback, is_own
from rerankd.connect.recipes import Body, Way
from rerankd.types import JsonObject, JsonValue

QUERY = "What is the capital of France?"
DOCUMENTS = ("Bananas are yellow.", "Paris is the capital of France.", "法国的首都是巴黎。")
_LOOK_S = 3.0
"""How long a look around may take, beside the request that counts."""
_LONGEST_S = 60.0
_UNHURRIED_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was asked and what came of it. `elapsed_s` and `top` (index, score, text) are None without an answer."""

    verdict: Verdict
    asked: Asked
    elapsed_s: float | None = None
    top: tuple[int, float, str] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What to try: the way of a client, the URL as given, and what the client would be told beside it.

    A URL without a path is the server's address; any other is what somebody pasted into the client.
    """

    way: Way
    url: str
    model: str = ""
    key: str = ""
    timeout_s: float | None = None


def check(wish: Wish) -> Outcome:
    """Do what the client does when it is set up and asked once; blocks, at most a few timeouts long."""
    given = _with_scheme(wish.url)
    problem = _bad_url(given)
    if problem is not None:
        return Outcome(problem, Asked("POST", given, given, given))
    base = _origin(given)
    pasted = wish.way.pasted(base) if httpx2.URL(given).path in {"", "/"} else given
    timeout_s = wish.timeout_s or min(wish.way.timeout_s or _UNHURRIED_S, _LONGEST_S)
    headers = {"authorization": f"Bearer {wish.key}"} if wish.key and wish.way.key != "never" else {}
    # A proxy from the environment is not meant for what is on this machine.
    local = is_loopback(httpx2.URL(base).host)
    with httpx2.Client(timeout=timeout_s, headers=headers, trust_env=not local) as http:
        tried = _Try(http, wish, base, pasted, timeout_s)
        return tried.run()


def is_local(url: str) -> bool:
    """Tell whether a URL leads to this machine itself."""
    given = _with_scheme(url)
    return _bad_url(given) is None and is_loopback(httpx2.URL(given).host)


class _Try:
    """One check on one connection pool."""

    def __init__(self, http: httpx2.Client, wish: Wish, base: str, pasted: str, timeout_s: float) -> None:
        self._http = http
        self._wish = wish
        self._base = base
        self._pasted = pasted
        self._timeout_s = timeout_s
        self._model = wish.model

    def run(self) -> Outcome:
        way = self._wish.way
        post = self._asked("POST", way.posts_to(self._pasted))
        try:
            if not self._model:
                # Clients always name a model. Where the list cannot be had, the request itself will tell why.
                self._model = next(iter(self._listed(self._timeout_s) or ()), "")
            for path in way.gets:
                url = self._pasted.rstrip("/") + path.replace("{model}", self._model)
                asked = self._asked("GET", url)
                # xinference-client asks whether a key is needed before it sends one.
                headers = {"authorization": ""} if path == "/v1/cluster/auth" else {}
                response = self._http.get(url, headers=headers)
                wrong = of_answer(response, None, asked, self._who(response))
                if wrong is not None:
                    return Outcome(wrong, asked)
            post = self._asked("POST", post.url)
            return self._post(post)
        except httpx2.RequestError as error:
            return Outcome(of_failure(error, post, _surroundings(post.url)), post)

    def _post(self, asked: Asked) -> Outcome:
        body = self._wish.way.body
        started = time.perf_counter()
        response = self._http.post(asked.url, json=_body(body, self._model))
        elapsed_s = time.perf_counter() - started
        wrong = of_answer(response, body, asked, self._who(response))
        if wrong is not None:
            return Outcome(wrong, asked, elapsed_s)
        top = _top(cast("JsonValue", response.json()), body)
        found = f"{len(DOCUMENTS)} documents ranked in {elapsed_s * 1000:.0f} ms"
        return Outcome(Verdict("ok", found), asked, elapsed_s, top)

    def _asked(self, method: str, url: str) -> Asked:
        return Asked(
            method=method,
            url=url,
            base=self._base,
            paste=self._wish.way.pasted(self._base),
            model=self._model,
            has_key=bool(self._wish.key) and self._wish.way.key != "never",
            can_send_key=self._wish.way.key != "never",
            timeout_s=self._timeout_s,
        )

    def _who(self, response: httpx2.Response) -> Server:
        """Find out who answers, where an answer leaves it open."""
        if response.status_code in {200, 204}:
            return Server(is_rerankd="x-request-id" in response.headers)
        about: JsonValue = None
        with suppress(httpx2.RequestError, ValueError):
            answer = self._http.get(self._base + "/", headers={"accept": "application/json"}, timeout=_LOOK_S)
            about = cast("JsonValue", answer.json())
        is_rerankd = isinstance(about, Mapping) and cast("JsonObject", about).get("name") == "rerankd"
        try:
            return Server(is_rerankd, self._listed(_LOOK_S))
        except httpx2.RequestError:
            return Server(is_rerankd)

    def _listed(self, timeout_s: float) -> Sequence[str] | None:
        """Return the ids that GET /v1/models lists; None where it lists none.

        Raises:
            httpx2.RequestError: there was no answer.
        """
        response = self._http.get(self._base + "/v1/models", timeout=timeout_s)
        try:
            body = cast("JsonValue", response.json())
        except ValueError:
            return None
        data = cast("JsonObject", body).get("data") if isinstance(body, Mapping) else None
        if not isinstance(data, list):
            return None
        models = [cast("JsonObject", item).get("id") for item in data if isinstance(item, Mapping)]
        return [str(model) for model in models if model]


def _body(kind: Body, model: str) -> JsonObject:
    documents = list(DOCUMENTS)
    named: JsonObject = {"model": model} if model else {}
    candidates: JsonObject = {"texts": documents} if kind == "tei" else {"documents": documents}
    beside: dict[Body, JsonObject] = {
        "standard": {**named, "top_n": len(documents)},
        "voyage": {**named, "top_k": None, "truncation": True},
        "infinity": {**named, "return_documents": False, "raw_scores": False},
        "tei_documents": {"top_n": len(documents)},
        "weaviate": {"property": ""},
    }
    return {"query": QUERY, **candidates, **beside.get(kind, {})}


def _top(answer: JsonValue, body: Body) -> tuple[int, float, str] | None:
    """Return the best document; Weaviate's scores come in input order, without indexes."""
    found = [
        (cast("int", item.get("index", place)), float(cast("float", item.get("relevance_score", item.get("score")))))
        for place, item in enumerate(items(answer, body) or ())
    ]
    index, score = max(found, key=lambda pair: pair[1])
    return (index, score, DOCUMENTS[index]) if 0 <= index < len(DOCUMENTS) else None


def _with_scheme(url: str) -> str:
    return url.strip() if "://" in url else f"http://{url.strip()}"


def _bad_url(url: str) -> Verdict | None:
    remedy = "write it like http://127.0.0.1:8036"
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        return Verdict("bad_url", f"{url!r} is no URL: {error}", remedy)
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        return Verdict("bad_url", f"{url!r} is no URL of a server", remedy)
    return None


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"


def _surroundings(url: str) -> Surroundings:
    parsed = httpx2.URL(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    address = parsed.host
    with suppress(OSError, UnicodeError):
        address = str(socket.getaddrinfo(parsed.host, port, type=socket.SOCK_STREAM)[0][4][0])
    asked_loopback = address in {"127.0.0.1", "::1"}
    return Surroundings(
        own_address=not asked_loopback and is_own(address),
        loopback_answers=_listens("127.0.0.1", port),
        in_container=in_container(),
        loopback_asked=asked_loopback,
        port=port,
    )


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
