"""What a failed connection means, in words that a person can act on. Pure: failures and answers in, a verdict out."""

import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import httpx2

from rerankd.connect.recipes import Body
from rerankd.types import JsonObject, JsonValue

Kind = Literal[
    "ok",
    "bad_url",
    "refused",
    "loopback_only",
    "name_not_found",
    "unreachable",
    "timeout",
    "tls_to_plain",
    "plain_to_tls",
    "bad_certificate",
    "broken",
    "redirected",
    "wrong_path",
    "key_missing",
    "wrong_key",
    "wrong_model",
    "loading",
    "busy",
    "no_rerank_server",
    "request_refused",
    "server_error",
]
ITEMS: Mapping[Body, str] = {
    "standard": "results",
    "simple": "results",
    "infinity": "results",
    "voyage": "data",
    "weaviate": "scores",
    "tei": "",
    "tei_documents": "",
}
"""The key that holds the ranking in the answer to each kind of body; "" where the answer is a bare list."""
_NAME_ERRORS = ("Name or service not known", "nodename nor servname", "getaddrinfo failed", "Temporary failure in name",
                "No address associated", "Name does not resolve")  # fmt: skip
_SAID = 200
_TAG = re.compile(r"<(style|script).*?</\1>|<[^>]*>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a request: `found` says what happened, `remedy` what to do ("" when all is well)."""

    kind: Kind
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether the client will work."""
        return self.kind == "ok"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it was made. `base` is the server's address; `paste` is the URL that would be right."""

    method: str
    url: str
    base: str
    paste: str
    model: str = ""
    has_key: bool = False
    can_send_key: bool = True
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """What else is known of who answers: whether it is rerankd, and the models that it lists (None: it lists none)."""

    is_rerankd: bool = False
    models: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this machine tells: whether the host is itself, whether its loopback listens there, and whether it
    runs in a container and its loopback was asked.
    """

    own_address: bool = False
    loopback_answers: bool = False
    in_container: bool = False
    loopback_asked: bool = False
    port: int = field(default=80)


def of_failure(error: httpx2.RequestError, asked: Asked, around: Surroundings) -> Verdict:
    """Say why there was no answer at all."""
    causes = list(_causes(error))
    text = " | ".join(str(cause) for cause in causes)
    host = httpx2.URL(asked.url).host
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return _no_tls(causes, host, asked)
    if any(part in text for part in _NAME_ERRORS):
        return _name_not_found(host)
    if isinstance(error, httpx2.TimeoutException):
        return _too_slow(error, host, asked, around)
    if isinstance(error, httpx2.ConnectError):
        return _not_connected(text, host, around)
    return Verdict(
        "broken",
        f"the connection was cut before an answer came ({type(error).__name__})",
        "the port speaks another protocol (https:// instead of http://?), or the server stopped: see its log",
    )


def of_answer(response: httpx2.Response, body: Body | None, asked: Asked, server: Server) -> Verdict | None:
    """Say what is wrong with an answer; None when nothing is. `body` is None for what only has to be there."""
    status, said = response.status_code, _message(response)
    if status < 300:
        return None if body is None else _misshapen(response, body, asked, server)
    if status < 400:
        target = response.headers.get("location", "elsewhere")
        return Verdict("redirected", f"{asked.url} redirects to {target}", "paste the address that it leads to")
    if "sent to HTTPS port" in said or "to an HTTPS server" in said:
        secure = asked.url.replace("http://", "https://", 1)
        return Verdict("plain_to_tls", "http:// was used, and the port speaks TLS", f"use {secure}")
    if status in {404, 405, 501}:
        return _not_there(response, asked, server)
    return _by_status(status, said, asked) or _refused(response, asked, server, said)


def _by_status(status: int, said: str, asked: Asked) -> Verdict | None:
    if status in {401, 403}:
        return _unauthorised(asked, said)
    if status == 503:
        return Verdict("loading", f"the server is not ready: {said}", "wait until GET /readyz answers 200")
    if status == 429:
        return Verdict("busy", f"the server is busy: {said}", "try again, or send less at once")
    if status >= 500:
        return Verdict("server_error", f"the server failed with {status}: {said}", "its log tells why")
    return None


def _no_tls(causes: Sequence[BaseException], host: str, asked: Asked) -> Verdict:
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Verdict(
            "bad_certificate",
            f"{host} has a certificate that this machine does not trust",
            "install its authority's certificate where the client runs, or use http:// in a private network",
        )
    plain = asked.url.replace("https://", "http://", 1)
    return Verdict("tls_to_plain", "https:// was used, and the port speaks plain HTTP", f"use {plain}")


def _too_slow(error: httpx2.TimeoutException, host: str, asked: Asked, around: Surroundings) -> Verdict:
    if isinstance(error, httpx2.ConnectTimeout):
        return Verdict(
            "timeout",
            f"{host} port {around.port} did not take the connection within {asked.timeout_s:g} s",
            "a firewall drops it, or the address is not the server's: check both on the server's machine",
        )
    return Verdict(
        "timeout",
        f"the connection stands, and no answer came within {asked.timeout_s:g} s",
        "a port that never answers belongs to another program; where it is rerankd, look whether it is overloaded, "
        "send fewer or shorter documents, or raise the client's timeout",
    )


def items(answer: JsonValue, body: Body) -> Sequence[JsonObject] | None:
    """Return the ranking in an answer, as the client would look for it; None when there is none."""
    key = ITEMS[body]
    found = cast("JsonObject", answer).get(key) if key and isinstance(answer, Mapping) else answer
    if not isinstance(found, list) or not found or not all(isinstance(item, Mapping) for item in found):
        return None
    listed = cast("Sequence[JsonObject]", found)
    names = ("score",) if body in {"tei", "tei_documents", "weaviate"} else ("relevance_score",)
    return listed if all(any(isinstance(item.get(n), float | int) for n in names) for item in listed) else None


def _name_not_found(host: str) -> Verdict:
    remedy = "check the spelling, or use the server's IP address"
    if host.endswith((".docker.internal", ".containers.internal")):
        remedy = (
            "that name exists inside containers only, on Linux with --add-host host.docker.internal:host-gateway: "
            "run this check in the container, or use 127.0.0.1 on this machine"
        )
    return Verdict("name_not_found", f"the name {host!r} is not known to this machine", remedy)


def _not_connected(text: str, host: str, around: Surroundings) -> Verdict:
    port = around.port
    if around.own_address and around.loopback_answers:
        return Verdict(
            "loopback_only",
            f"a server listens on 127.0.0.1 port {port} only, not on {host}",
            "start it with `rerankd serve --host 0.0.0.0` and a key (RERANKD_AUTH__KEYS=…), or use 127.0.0.1 from "
            "this machine",
        )
    if "refused" not in text.lower() and "10061" not in text:
        return Verdict("unreachable", f"{host} port {port} cannot be reached: {text[:_SAID]}", "check the address")
    remedy = f"start it with `rerankd serve --port {port}`, or correct the port"
    if around.loopback_asked and around.in_container:
        remedy += "; in a container, 127.0.0.1 is the container itself: use host.docker.internal"
    elif not around.loopback_asked and not around.own_address:
        remedy += "; if it runs there, it may listen on 127.0.0.1 only: start it with --host 0.0.0.0"
    return Verdict("refused", f"nothing listens on {host} port {port}: the connection was refused", remedy)


def _unauthorised(asked: Asked, said: str) -> Verdict:
    if asked.has_key:
        return Verdict("wrong_key", f"the key is not accepted: {said}", "use one of the server's auth.keys")
    remedy = "give it with --key, and to the client in its field for the key"
    if not asked.can_send_key:
        remedy = "this client cannot send one: take another way, or a server without keys that only it can reach"
    return Verdict("key_missing", f"the server wants a key: {said or 'it answered 401'}", remedy)


def _not_there(response: httpx2.Response, asked: Asked, server: Server) -> Verdict:
    if _kind(response) == "model_not_found" or (asked.method == "GET" and "/models/" in asked.url):
        return _wrong_model(asked, server, _message(response))
    if _kind(response) in {"route_not_found", "method_not_allowed"} or server.is_rerankd:
        return Verdict(
            "wrong_path", f"rerankd answers, but not at {asked.method} {_path(asked.url)}", f"paste {asked.paste}"
        )
    if server.models is not None:
        return Verdict(
            "no_rerank_server",
            f"an OpenAI-style server answers (models: {', '.join(server.models[:5]) or 'none'}), and it does not "
            f"rerank at {_path(asked.url)}",
            "this is another program's port: paste rerankd's address (by default port 8036)",
        )
    return _another(response, asked)


def _another(response: httpx2.Response, asked: Asked) -> Verdict:
    name = response.headers.get("server", "")
    what = f"another server ({name[:60]})" if name else "another server"
    form = "an HTML page" if "html" in response.headers.get("content-type", "") else f"{response.status_code}"
    return Verdict(
        "no_rerank_server",
        f"{what} answers {asked.method} {_path(asked.url)} with {form}: it is not rerankd",
        "correct host and port (by default 8036); behind a proxy, let it pass this path on",
    )


def _refused(response: httpx2.Response, asked: Asked, server: Server, said: str) -> Verdict:
    lists = server.models or ()
    if "model" in said.lower() and asked.model and asked.model not in lists and ("not found" in said or lists):
        return _wrong_model(asked, server, said)
    if "json" not in response.headers.get("content-type", "") and not server.is_rerankd:
        return _another(response, asked)
    if server.is_rerankd and _path(asked.url) in {"", "/"}:
        return Verdict("wrong_path", f"{asked.url} is no path for this client: {said}", f"paste {asked.paste}")
    return Verdict(
        "request_refused", f"the server refused the request: {said}", "the message says what it wants instead"
    )


def _wrong_model(asked: Asked, server: Server, said: str) -> Verdict:
    served = ", ".join(server.models or ())
    remedy = f"use one of: {served}" if served else "use a model that GET /v1/models lists"
    return Verdict("wrong_model", said or f"model {asked.model!r} is not served", remedy)


def _misshapen(response: httpx2.Response, body: Body, asked: Asked, server: Server) -> Verdict | None:
    try:
        answer = cast("JsonValue", response.json())
    except ValueError:
        return _another(response, asked)
    if items(answer, body) is not None:
        return None
    wanted = f"`{ITEMS[body]}`" if ITEMS[body] else "a list"
    remedy = f"paste {asked.paste}" if server.is_rerankd else "is this a rerank server? rerankd's default port is 8036"
    return Verdict("no_rerank_server", f"the answer holds no ranking: {wanted} with scores was expected", remedy)


def _kind(response: httpx2.Response) -> str:
    error = _json(response).get("error")
    return str(cast("JsonObject", error).get("kind", "")) if isinstance(error, Mapping) else ""


def _message(response: httpx2.Response) -> str:
    """Return what the answer says went wrong, wherever it says so."""
    found = _json(response)
    error = found.get("error")
    inner = cast("JsonObject", error).get("message") if isinstance(error, Mapping) else error
    for said in (found.get("detail"), found.get("message"), inner):
        if isinstance(said, str) and said:
            return said[:_SAID]
        if isinstance(said, list):
            return json.dumps(said, ensure_ascii=False)[:_SAID]
    return " ".join(_TAG.sub(" ", response.text[:5000]).split())[:_SAID]


def _json(response: httpx2.Response) -> JsonObject:
    try:
        found = cast("JsonValue", response.json())
    except ValueError:
        return {}
    return cast("JsonObject", found) if isinstance(found, Mapping) else {}


def _path(url: str) -> str:
    return httpx2.URL(url).path


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
