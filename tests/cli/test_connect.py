"""`rerankd connect` says what to paste, and `--check` says what is wrong, over real sockets."""

import json
import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr

import connect_pages
from cli_runs import Run
from fake_service import MODEL, FakeService
from live_server import running_fake
from rerankd.connect.diagnosis import Kind
from rerankd.connect.places import own_addresses, places
from rerankd.connect.probe import DOCUMENTS, Wish, check
from rerankd.connect.recipes import Recipe, Way, find, find_way, recipes
from rerankd.errors import ModelNotReady, Overloaded
from rerankd.settings import AuthSettings, Settings
from rerankd.types import JsonObject

KEY = "a-secret-key"
WAYS = [pytest.param(recipe, way, id=f"{recipe.id}-{way.name}") for recipe in recipes().values() for way in recipe.ways]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_fake(FakeService()) as url:
        yield url


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with running_fake(FakeService(), Settings(auth=AuthSettings(keys=(SecretStr(KEY),)))) as url:
        yield url


@contextmanager
def another_server(answers: Mapping[str, tuple[int, str, str]]) -> Generator[str]:
    """A server that is not ours: path -> status, content type and body; 404 in HTML for the rest."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            status, kind, body = answers.get(self.path, (404, "text/html", "<html><h1>Not Found</h1></html>"))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body.encode())))
            if status == 301:
                self.send_header("location", "https://elsewhere.example/v1/rerank")
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}"
        finally:
            listener.shutdown()
            thread.join(10)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def checked(run: Run, *arguments: str) -> tuple[int, JsonObject]:
    outcome = run("connect", *arguments, "--json")
    return outcome.code, json.loads(outcome.out)


# --- what to paste


def test_without_a_client_every_way_of_every_client_is_a_row(run: Run) -> None:
    rows = [line.split("\t") for line in run("connect").out.splitlines()]
    assert [(row[0], row[2]) for row in rows] == [(r.id, w.name) for r in recipes().values() for w in r.ways]
    assert ["dify", "Dify", "OpenAI-API-compatible", "http://SERVER/v1"] in rows
    listed = json.loads(run("connect", "--json").out)["clients"]
    assert [client["client"] for client in listed] == list(recipes())


@pytest.mark.parametrize(("recipe", "way"), WAYS)
def test_what_is_pasted_names_the_url_and_the_client_sends_no_key_unless_it_can(recipe: Recipe, way: Way) -> None:
    filled = way.filled("http://h:1", "m-rerank", "K-E-Y")
    everything = " ".join(value for _, value in filled.values) + filled.code
    assert way.pasted("http://h:1") in everything
    assert ("K-E-Y" in everything) == (way.key != "never")
    assert "{url}" not in everything
    assert "{model}" not in everything
    assert "{key}" not in everything
    assert bool(filled.values) != bool(filled.code)


@pytest.mark.parametrize(
    ("client", "way", "url"),
    [
        ("dify", "OpenAI-API-compatible", "http://h:1/v1"),
        ("dify", "Xorbits Inference", "http://h:1"),
        ("ragflow", "Jina", "http://h:1/v1/rerank"),
        ("Open WebUI", "external", "http://h:1/v1/rerank"),
        ("litellm", "infinity/", "http://h:1/infinity"),
        ("elasticsearch", "hugging_face", "http://h:1/tei/rerank"),
        ("voyage-sdk", "Client", "http://h:1/v1"),
    ],
)
def test_the_url_has_the_form_that_the_client_needs(run: Run, client: str, way: str, url: str) -> None:
    outcome = run("connect", client, "--way", way, "--url", "http://h:1/", "--json")
    (shown,) = json.loads(outcome.out)["ways"]
    assert shown["urls"] == {"given": url}
    assert outcome.code == 0


def test_the_settings_decide_host_port_model_and_key(run: Run, workdir: Path) -> None:
    (workdir / "rerankd.toml").write_text(f'[server]\nhost = "0.0.0.0"\nport = 9000\n[auth]\nkeys = ["{KEY}"]\n')
    hidden = run("connect", "dify")
    assert "http://127.0.0.1:9000/v1" in hidden.out
    assert "http://host.docker.internal:9000/v1" in hidden.out
    assert "rerankd-zh-en" in hidden.out
    assert KEY not in hidden.out + hidden.err
    assert "YOUR_KEY" in hidden.out
    assert KEY in run("connect", "dify", "--show-key").out
    for address in own_addresses():
        assert (f"http://{address}:9000/v1" in hidden.out) == (":" not in address)


def test_a_container_cannot_reach_a_server_on_loopback(run: Run) -> None:
    _, advice = checked(run, "dify")
    assert "loopback only" in str(advice["warnings"])
    _, advice = checked(run, "langchain")
    assert "loopback only" not in str(advice["warnings"])


def test_a_server_for_others_needs_keys(run: Run, workdir: Path) -> None:
    (workdir / "rerankd.toml").write_text('[server]\nhost = "0.0.0.0"\n')
    assert "refuses to listen" in run("connect", "dify").out
    (workdir / "rerankd.toml").write_text('[server]\nhost = "0.0.0.0"\n[auth]\nallow_open = true\n')
    assert "refuses to listen" not in run("connect", "dify").out


def test_a_client_that_cannot_send_a_key_is_warned_of_where_one_is_set(run: Run, workdir: Path) -> None:
    assert "cannot send a key" not in run("connect", "weaviate").out
    (workdir / "rerankd.toml").write_text(f'[auth]\nkeys = ["{KEY}"]\n')
    assert "cannot send a key" in run("connect", "weaviate").out
    assert "cannot send a key" not in run("connect", "curl").out


def test_a_hasty_client_is_warned_of(run: Run) -> None:
    assert "gives up after 5 s" in run("connect", "haystack", "--way", "JinaRanker").out
    assert "gives up" not in run("connect", "dify", "--way", "OpenAI-API-compatible").out


def test_ragflow_is_warned_of_an_id_that_it_would_misread(run: Run) -> None:
    assert "'rerank'" in run("connect", "ragflow", "--model", "bge-m3").out
    assert "'rerank'" not in run("connect", "ragflow", "--model", "bge-reranker-v2-m3").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("difx",), "did you mean dify?"),
        (("dify", "--way", "ollama"), "'OpenAI-API-compatible'"),
        (("--way", "x"), "name one"),
        (("dify", "--check", "http://h:1", "--timeout", "0"), "--timeout"),
    ],
)
def test_wrong_usage_is_told_with_what_would_be_right(run: Run, arguments: tuple[str, ...], told: str) -> None:
    outcome = run("connect", *arguments)
    assert outcome.code == 2
    assert told in outcome.err


@pytest.mark.parametrize(
    ("host", "here", "container", "network"),
    [
        ("127.0.0.1", "http://127.0.0.1:1", "http://host.docker.internal:1", ["http://10.0.0.5:1"]),
        ("localhost", "http://127.0.0.1:1", "http://host.docker.internal:1", ["http://10.0.0.5:1"]),
        ("0.0.0.0", "http://127.0.0.1:1", "http://host.docker.internal:1", ["http://10.0.0.5:1"]),
        ("::", "http://[::1]:1", "http://host.docker.internal:1", ["http://[fd00::5]:1"]),
        ("10.0.0.5", "http://10.0.0.5:1", "http://10.0.0.5:1", ["http://10.0.0.5:1"]),
    ],
)
def test_a_server_is_seen_differently_from_different_places(
    host: str, here: str, container: str, network: list[str]
) -> None:
    seen = places(host, 1, ["10.0.0.5", "fd00::5"])
    assert [place.url for place in seen] == [here, container, *network]
    beyond = {place.reachable for place in seen[1:]}
    assert beyond == {host not in {"127.0.0.1", "localhost"}}


# --- does it work


@pytest.mark.parametrize(("recipe", "way"), WAYS)
def test_every_recipe_works_on_a_server_without_keys(server: str, recipe: Recipe, way: Way) -> None:
    outcome = check(Wish(way, server, timeout_s=20))
    assert outcome.verdict.ok, outcome.verdict
    assert outcome.top
    assert outcome.top[2] == DOCUMENTS[1]
    assert outcome.asked.url == way.posts_to(way.pasted(server))


@pytest.mark.parametrize(("recipe", "way"), WAYS)
def test_every_recipe_works_with_the_key_if_the_client_can_send_it(locked: str, recipe: Recipe, way: Way) -> None:
    right, wrong = (check(Wish(way, locked, key=key, timeout_s=20)).verdict for key in (KEY, "wrong"))
    if way.key == "never":
        assert (right.kind, wrong.kind) == ("key_missing", "key_missing")
        assert "cannot send one" in right.remedy
    else:
        assert (right.kind, wrong.kind) == ("ok", "wrong_key")


def test_a_check_tells_time_and_best_document(server: str, run: Run) -> None:
    outcome = run("connect", "dify", "--check", server)
    assert outcome.code == 0
    assert f"POST {server}/v1/rerank" in outcome.out
    assert "3 documents ranked in" in outcome.out
    assert DOCUMENTS[1] in outcome.out
    assert f"paste {server}/v1" in outcome.out
    code, answer = checked(run, "--check", server)
    assert (code, answer["ok"], answer["model"]) == (0, True, MODEL.id)


def test_a_url_with_a_path_is_used_as_the_client_would(server: str, run: Run) -> None:
    code, answer = checked(run, "openwebui", "--check", f"{server}/v1")
    assert (code, answer["kind"]) == (1, "wrong_path")
    assert answer["request"] == f"POST {server}/v1"
    assert answer["remedy"] == f"paste {server}/v1/rerank"
    assert checked(run, "openwebui", "--check", f"{server}/v1/rerank")[0] == 0
    assert checked(run, "dify", "--check", f"{server}/v1/")[0] == 0


def test_litellms_infinity_needs_its_prefix_and_the_recipe_gives_it(server: str) -> None:
    way = find_way(find("litellm"), "infinity/")
    assert check(Wish(way, server)).asked.url == f"{server}/infinity/rerank"


def test_keys_are_told_apart_from_no_keys(locked: str, run: Run, workdir: Path) -> None:
    code, answer = checked(run, "dify", "--check", locked)
    assert (code, answer["kind"]) == (1, "key_missing")
    code, answer = checked(run, "dify", "--check", locked, "--key", "wrong")
    assert (code, answer["kind"]) == (1, "wrong_key")
    (workdir / "key.txt").write_text(KEY + "\n")
    assert checked(run, "dify", "--check", locked, "--key", "@key.txt")[0] == 0


def test_the_key_of_the_settings_goes_to_this_machine_only(locked: str, run: Run, workdir: Path) -> None:
    (workdir / "rerankd.toml").write_text(f'[auth]\nkeys = ["{KEY}"]\n')
    assert checked(run, "dify", "--check", locked)[0] == 0
    own = next((address for address in own_addresses() if ":" not in address), None)
    if own is not None:
        heard: list[str] = []
        with socket.create_server((own, 0)) as listener:
            thread = threading.Thread(target=_hear_once, args=(listener, heard), daemon=True)
            thread.start()
            checked(run, "curl", "--check", f"http://{own}:{listener.getsockname()[1]}", "--timeout", "1")
            thread.join(10)
        assert "/v1/models" in heard[0]
        assert KEY not in heard[0]


def _hear_once(listener: socket.socket, heard: list[str]) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        heard.append(connection.recv(65536).decode())


def test_a_model_that_is_not_served_is_told_with_those_that_are(server: str, run: Run) -> None:
    for client in ("dify", "xinference-client"):
        code, answer = checked(run, client, "--check", server, "--model", "gpt-9")
        assert (code, answer["kind"]) == (1, "wrong_model")
        assert MODEL.id in str(answer["remedy"])


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ModelNotReady("the model is loading", retry_after_s=1), "loading"),
        (Overloaded("the queue is full", retry_after_s=1), "busy"),
    ],
)
def test_a_server_that_cannot_answer_now_says_so(failure: Exception, kind: str) -> None:
    service = FakeService()
    service.failure = failure
    with running_fake(service) as url:
        verdict = check(Wish(find("dify").ways[0], url)).verdict
    assert verdict.kind == kind
    assert str(failure) in verdict.found


def test_a_closed_port_is_told_with_how_to_start_a_server(run: Run) -> None:
    port = closed_port()
    code, answer = checked(run, "dify", "--check", f"http://127.0.0.1:{port}")
    assert (code, answer["kind"]) == (1, "refused")
    assert f"rerankd serve --port {port}" in str(answer["remedy"])


def test_a_server_on_loopback_asked_at_another_address_is_recognised(server: str) -> None:
    own = next((address for address in own_addresses() if ":" not in address), "127.0.0.2")
    verdict = check(Wish(find("dify").ways[0], server.replace("127.0.0.1", own))).verdict
    assert verdict.kind == "loopback_only"
    assert "--host 0.0.0.0" in verdict.remedy


def test_a_socket_that_never_answers_is_a_timeout(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code, answer = checked(run, "dify", "--check", url, "--timeout", "0.3")
    assert (code, answer["kind"]) == (1, "timeout")
    assert "0.3 s" in str(answer["found"])


def test_a_slow_model_is_a_timeout(run: Run) -> None:
    import asyncio

    service = FakeService()
    service.hold = asyncio.Event()
    with running_fake(service) as url:
        code, answer = checked(run, "dify", "--check", url, "--timeout", "0.5")
    assert (code, answer["kind"]) == (1, "timeout")


def test_a_name_that_does_not_resolve_is_told(run: Run) -> None:
    code, answer = checked(run, "dify", "--check", "http://no-such-host.invalid:8036")
    assert (code, answer["kind"]) == (1, "name_not_found")
    assert "no-such-host.invalid" in str(answer["found"])


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:port", "http://[::1"])
def test_what_is_no_url_is_told(run: Run, url: str) -> None:
    code, answer = checked(run, "dify", "--check", url)
    assert (code, answer["kind"]) == (1, "bad_url")


def test_tls_spoken_to_a_plain_port_is_told(server: str, run: Run) -> None:
    code, answer = checked(run, "dify", "--check", server.replace("http:", "https:"), "--timeout", "5")
    assert (code, answer["kind"]) == (1, "tls_to_plain")
    assert f"use {server}" in str(answer["remedy"])


def test_a_connection_that_is_cut_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cut() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        thread = threading.Thread(target=cut, daemon=True)
        thread.start()
        verdict = check(Wish(find("curl").ways[0], f"http://127.0.0.1:{listener.getsockname()[1]}")).verdict
        thread.join(10)
    assert verdict.kind == "broken"


HTML = (200, "text/html", "<html>welcome</html>")
MODELS = (200, "application/json", json.dumps({"object": "list", "data": [{"id": "llama-4"}]}))


@pytest.mark.parametrize(
    ("answers", "kind", "told"),
    [
        ({}, "no_rerank_server", "an HTML page"),
        ({"/v1/rerank": HTML}, "no_rerank_server", "an HTML page"),
        ({"/v1/models": MODELS}, "no_rerank_server", "llama-4"),
        ({"/v1/rerank": (200, "application/json", '{"ok": true}')}, "no_rerank_server", "no ranking"),
        ({"/v1/rerank": (200, "application/json", '{"results": [{"index": 0, "score": 1.0}]}')}, "no_rerank_server",
         "no ranking"),
        ({"/v1/rerank": (301, "text/html", "")}, "redirected", "https://elsewhere.example"),
        ({"/v1/rerank": (400, "text/html", "The plain HTTP request was sent to HTTPS port")}, "plain_to_tls", "TLS"),
        ({"/v1/rerank": (401, "text/html", "<h1>Unauthorized</h1>")}, "key_missing", "Unauthorized"),
        ({"/v1/rerank": (500, "application/json", '{"detail": "out of memory"}')}, "server_error", "out of memory"),
        ({"/v1/rerank": (422, "application/json", '{"detail": [{"msg": "no query"}]}')}, "request_refused", "no query"),
        ({"/v1/models": MODELS, "/v1/rerank": (400, "application/json", '{"detail": "Model not found, uid: m"}')},
         "wrong_model", "not found"),
    ],
)  # fmt: skip
def test_a_server_that_is_not_ours_is_recognised(
    answers: Mapping[str, tuple[int, str, str]], kind: str, told: str
) -> None:
    with another_server(answers) as url:
        verdict = check(Wish(find("curl").ways[0], url, model="m")).verdict
    assert verdict.kind == kind, verdict
    assert told in verdict.found
    assert verdict.remedy
    assert not verdict.ok


# --- the pages


@pytest.mark.parametrize("page", connect_pages.PAGES)
def test_a_page_shows_the_recipes_as_they_are(page: str) -> None:
    text = (connect_pages.HOW_TO / page).read_text("utf-8")
    assert text == connect_pages.filled(page), "run `python tests/connect_pages.py`"
    assert sorted(connect_pages.shown(page)) == sorted(each.id for each in recipes().values() if each.page == page)
    assert "rerankd connect" in text
    assert "--check" in text
    assert "127.0.0.1" in text
    assert "between 0 and 1" in text or "0..1" in text


@pytest.mark.parametrize("client", ["dify", "ragflow"])
def test_a_chinese_page_names_every_way_and_its_url(client: str) -> None:
    recipe = find(client)
    text = (connect_pages.HOW_TO / recipe.page.replace(".md", ".zh-CN.md")).read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for way in recipe.ways:
        (start,) = [at for at, row in enumerate(rows) if row.startswith(f"| {way.name}")]
        part = " ".join(rows[start : start + 2])
        assert f"`{way.pasted(connect_pages.BASE)}`" in part
    assert f"rerankd connect {client} --check" in text


def test_every_page_is_linked() -> None:
    hub, index = ((connect_pages.HOW_TO / name).read_text("utf-8") for name in ("connect.md", "../README.md"))
    for page in connect_pages.HOW_TO.glob("connect-*.md"):
        assert f"({page.name})" in hub
    assert "(how-to/connect.md)" in index


def test_every_kind_of_diagnosis_is_explained() -> None:
    hub = (connect_pages.HOW_TO / "connect.md").read_text("utf-8")
    for kind in get_args(Kind):
        assert kind == "ok" or f"`{kind}`" in hub
