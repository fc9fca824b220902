"""`/admin`: models changed while the server serves, by whoever holds an admin key and by nobody else."""

import json
import logging
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jsonschema
import pytest
from pydantic import SecretStr

from http_app import opened
from hub.huggingface import HuggingFaceHub
from hub.server import Fault, files_of, running
from rerankd.assembly import assemble
from rerankd.evaluation.golden import measure
from rerankd.settings import AuthSettings, LoggingSettings, ModelsSettings, ServerSettings, Settings
from tiny import tiny_bert

pytestmark = pytest.mark.anyio

NAME = "example/tiny-reranker"
ADMIN = {"authorization": "Bearer root"}
STREAM = {**ADMIN, "accept": "text/event-stream"}
GETS = ["/admin/ps", "/admin/list", "/admin/show", "/admin/bundle/export/0"]
POSTS = [f"/admin/{verb}" for verb in
         ("pull", "load", "unload", "update", "rollback", "rm", "bundle/export", "bundle/import")]  # fmt: skip


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    return [files_of(tiny_bert(tmp_path_factory.mktemp(f"v{seed}") / "m", seed=seed)) for seed in (1, 2)]


@pytest.fixture
def hub(versions: list[dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceHub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running(HuggingFaceHub()) as hub:
        hub.repository(NAME).push(versions[0], "main")
        yield hub


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tiny_bert(tmp_path / "own", seed=9)


def settings(tmp_path: Path, own: Path, hub: HuggingFaceHub, **models: Any) -> Settings:
    return Settings(
        auth=AuthSettings(keys=(SecretStr("user"),), admin_keys=(SecretStr("root"),)),
        models=ModelsSettings(
            default=str(own), store=tmp_path / "store", hf_endpoint=hub.url, download_timeout_s=2, **models
        ),
        logging=LoggingSettings(access=False),
    )  # fmt: skip


@asynccontextmanager
async def serving(given: Settings, *, remember: bool = False) -> AsyncGenerator[httpx2.AsyncClient]:
    service = assemble(given, measure=measure, remember=remember)
    await service.start()
    await service.wait_ready()
    try:
        async with opened(service, given) as http:
            yield http
    finally:
        await service.close()


@pytest.fixture
async def http(tmp_path: Path, own: Path, hub: HuggingFaceHub) -> AsyncGenerator[httpx2.AsyncClient]:
    async with serving(settings(tmp_path, own, hub)) as client:
        yield client


async def post(http: httpx2.AsyncClient, verb: str, model: str, status: int = 200) -> Any:
    answer = await http.post(f"/admin/{verb}", json={"model": model}, headers=ADMIN)
    assert answer.status_code == status, answer.text
    return answer.json()


def events(answer: httpx2.Response) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block.startswith("event: ")]
    return [(head.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for head, data in blocks]


async def test_nothing_here_opens_without_an_admin_key(http: httpx2.AsyncClient) -> None:
    for method, paths in (("GET", GETS), ("POST", POSTS)):
        for path in paths:
            assert (await http.request(method, path)).status_code == 401, path
            wrong = await http.request(method, path, headers={"x-api-key": "guess"})
            assert wrong.status_code == 401, path
            ordinary = await http.request(method, path, headers={"authorization": "Bearer user"})
            assert ordinary.status_code == 403, path
            assert "tiny" not in ordinary.text


async def test_without_any_key_it_is_closed(tmp_path: Path, own: Path, hub: HuggingFaceHub) -> None:
    given = settings(tmp_path, own, hub).model_copy(update={"auth": AuthSettings()})
    async with serving(given) as http:
        for method, paths in (("GET", GETS), ("POST", POSTS)):
            for path in paths:
                assert (await http.request(method, path)).status_code == 403, path


async def test_a_model_is_fetched_loaded_unloaded_and_deleted(http: httpx2.AsyncClient) -> None:
    pulled = await post(http, "pull", NAME)
    assert (pulled["was_here"], pulled["bytes"] > 1000) == (False, True)
    assert (await post(http, "pull", NAME))["was_here"] is True
    assert (await post(http, "load", NAME))["state"] == "ready"
    asked = {"model": NAME, "query": "q", "documents": ["a", "b"]}
    answer = await http.post("/v1/rerank", json=asked, headers={"x-api-key": "user"})
    assert answer.json()["model"] == "tiny-reranker"
    told = {item["id"]: item for item in (await http.get("/admin/ps", headers=ADMIN)).json()["models"]}
    assert {name: item["state"] for name, item in told.items()} == {"own": "ready", "tiny-reranker": "ready"}
    assert "in use" in (await post(http, "rm", NAME, 409))["message"]
    assert (await post(http, "unload", "tiny-reranker"))["state"] == "unloaded"
    assert (await post(http, "rm", NAME))["bytes"] > 1000
    gone = await http.post("/v1/rerank", json=asked, headers={"x-api-key": "user"})
    assert gone.status_code == 404
    await post(http, "rm", NAME, 503)


async def test_what_is_known_is_listed_and_shown(http: httpx2.AsyncClient, hub: HuggingFaceHub) -> None:
    await post(http, "pull", NAME)
    listed = (await http.get("/admin/list", headers=ADMIN)).json()["models"]
    assert {"rerankd-zh-en", NAME} <= {item["id"] for item in listed}
    shown = (await http.get("/admin/show", params={"model": NAME}, headers=ADMIN)).json()
    assert shown["files"]["config.json"] > 0
    assert shown["revision"] == hub.repository(NAME).refs["main"]
    unknown = await http.get("/admin/show", params={"model": "nonsense"}, headers=ADMIN)
    assert "not known here" in unknown.json()["message"]


async def test_an_update_tells_how_far_it_is_and_can_be_taken_back(
    http: httpx2.AsyncClient, hub: HuggingFaceHub, versions: list[dict[str, bytes]]
) -> None:
    await post(http, "load", NAME)
    first = hub.repository(NAME).refs["main"]
    second = hub.repository(NAME).push({**versions[1], "merges.txt": bytes(200_000)}, "main")
    hub.faults.append(Fault("GET /cdn/", slow_bytes_s=400_000))
    answer = await http.post("/admin/update", json={"model": NAME}, headers=STREAM)
    told = events(answer)
    assert {event for event, _ in told[:-1]} == {"progress"}
    assert any(data["total_bytes"] and 0 < data["done_bytes"] < data["total_bytes"] for _, data in told[:-1])
    assert told[-1][0] == "done"
    assert (told[-1][1]["how"], told[-1][1]["before"], told[-1][1]["after"]) == ("updated", first, second)
    (item,) = [one for one in (await http.get("/admin/ps", headers=ADMIN)).json()["models"] if one["id"] != "own"]
    assert item["revision"] == second
    assert (await post(http, "rollback", NAME))["after"] == first
    shown = (await http.get("/admin/show", params={"model": NAME}, headers=ADMIN)).json()
    assert [change["how"] for change in shown["history"]] == ["updated", "rolled back"]


async def test_an_operation_that_fails_says_so_in_its_last_event(http: httpx2.AsyncClient, hub: HuggingFaceHub) -> None:
    await post(http, "load", NAME)
    hub.faults.append(Fault("GET /api/", status=404))
    event, data = events(await http.post("/admin/update", json={"model": NAME}, headers=STREAM))[-1]
    assert (event, data["status"], data["error"]["kind"]) == ("error", 503, "download_failed")
    assert hub.url in data["message"]


async def test_a_newer_revision_is_judged_on_the_golden_set(
    tmp_path: Path, own: Path, hub: HuggingFaceHub, versions: list[dict[str, bytes]]
) -> None:
    documents = ["a fox", "Berlin has inhabitants", "the password", "北京是中国的首都", "now dogs", "a reranker reads"]
    queries = ["fox", "Berlin", "password", "北京"]
    async with serving(settings(tmp_path, own, hub, served=(NAME,))) as http:
        await post(http, "load", NAME)
        best: list[dict[str, Any]] = []
        for query in queries:
            body = {"model": NAME, "query": query, "documents": documents}
            ranked = (await http.post("/v1/rerank", json=body, headers={"x-api-key": "user"})).json()["results"]
            order = [documents[hit["index"]] for hit in ranked]
            best.append({"query": query, "positive": order[:1], "negative": order[1:]})
    golden = tmp_path / "golden.jsonl"  # what the first revision does is right, by definition
    golden.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in best))
    second = hub.repository(NAME).push(versions[1], "main")
    given = settings(tmp_path, own, hub, served=(NAME,), golden_set=golden, golden_margin=0.05)
    async with serving(given) as http:
        await post(http, "load", NAME)
        refused = await post(http, "update", NAME, 409)
        assert refused["error"]["kind"] == "revision_refused"
        assert "1.0000 before" in refused["message"]
    async with serving(settings(tmp_path, own, hub, served=(NAME,), golden_set=golden, golden_margin=1)) as http:
        await post(http, "load", NAME)
        outcome = await post(http, "update", NAME)
        assert outcome["after"] == second
        assert outcome["ndcg_before"] == 1.0
        assert outcome["ndcg_after"] < 0.95


async def test_a_bundle_goes_out_and_comes_in(http: httpx2.AsyncClient, tmp_path: Path) -> None:
    answer = await http.post("/admin/bundle/export", json={"models": [NAME]}, headers=ADMIN, timeout=60)
    assert answer.status_code == 200, answer.text
    digest = answer.headers["x-rerankd-sha256"]
    await post(http, "rm", NAME)
    wrong = await http.post("/admin/bundle/import?sha256=00", content=answer.content, headers=ADMIN)
    assert wrong.status_code == 503
    assert wrong.json()["error"]["kind"] == "checksum_mismatch"
    right = await http.post(f"/admin/bundle/import?sha256={digest}", content=answer.content, headers=ADMIN)
    assert {**right.json(), "bytes": 0} == {"sha256": digest, "models": [NAME], "bytes": 0}
    assert right.json()["bytes"] > 1000
    assert (await post(http, "pull", NAME))["was_here"] is True
    assert not list((tmp_path / "store").glob("bundle-*")), "nothing is left lying about"


async def test_a_bundle_that_goes_out_and_comes_in_tells_how_far_it_is(
    http: httpx2.AsyncClient, hub: HuggingFaceHub, versions: list[dict[str, bytes]], tmp_path: Path
) -> None:
    hub.repository(NAME).push({**versions[1], "merges.txt": bytes(200_000)}, "main")
    hub.faults.append(Fault("GET /cdn/", slow_bytes_s=400_000))
    told = events(await http.post("/admin/bundle/export", json={"models": [NAME]}, headers=STREAM, timeout=60))
    assert any(data["total_bytes"] and 0 < data["done_bytes"] < data["total_bytes"] for _, data in told[:-1])
    event, made = told[-1]
    assert (event, made["models"]) == ("done", [NAME])
    path = made["download"]
    assert (await http.get(path, headers={"x-api-key": "user"})).status_code == 403
    bundle = await http.get(path, headers=ADMIN)
    assert len(bundle.content) == made["bytes"]
    again = await http.get(path, headers=ADMIN)
    assert (again.status_code, "export it again" in again.text) == (400, True), "it is fetched once"
    assert (await http.get("/admin/bundle/export/..%2Fx", headers=ADMIN)).status_code in {400, 404}
    await post(http, "rm", NAME)
    for sent, kind in ((bundle.content, "done"), (bundle.content[:-20_000], "error")):
        event, data = events(await http.post("/admin/bundle/import", content=sent, headers=STREAM))[-1]
        assert event == kind
    assert data["error"]["kind"] == "checksum_mismatch"
    assert (await post(http, "pull", NAME))["was_here"] is True
    assert not list((tmp_path / "store").glob("bundle-*")), "nothing is left lying about"


async def test_bundles_nobody_fetches_do_not_pile_up(http: httpx2.AsyncClient, tmp_path: Path) -> None:
    told: list[tuple[str, Any]] = []
    for _ in range(6):
        told = events(await http.post("/admin/bundle/export", json={"models": [NAME]}, headers=STREAM, timeout=60))
    assert len(list((tmp_path / "store").glob("bundle-*.tar"))) <= 4
    assert (await http.get(told[-1][1]["download"], headers=ADMIN)).status_code == 200, "the last one is there"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"model": 1}', b'{"model": ""}', b'{"models": "a"}'])
async def test_a_body_that_names_no_model_is_refused(http: httpx2.AsyncClient, body: bytes) -> None:
    for path in POSTS[:-1]:
        assert (await http.post(path, content=body, headers=ADMIN)).status_code == 400, path


async def test_a_name_that_means_nothing_is_refused_and_changes_nothing(http: httpx2.AsyncClient) -> None:
    assert "not known here" in (await post(http, "load", "nonsense", 400))["message"]
    assert len((await http.get("/admin/ps", headers=ADMIN)).json()["models"]) == 1


async def test_a_model_that_cannot_be_loaded_leaves_the_others_alone(http: httpx2.AsyncClient, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "config.json").write_text("{}")
    refused = await post(http, "load", str(bad), 503)
    assert refused["error"]["kind"] == "unsupported_model"
    ranked = await http.post("/v1/rerank", json={"query": "q", "documents": ["a"]}, headers={"x-api-key": "user"})
    assert ranked.status_code == 200
    assert threading.active_count() < 40


async def test_one_of_several_processes_is_not_changed_alone(tmp_path: Path, own: Path, hub: HuggingFaceHub) -> None:
    given = settings(tmp_path, own, hub).model_copy(update={"server": ServerSettings(processes=2)})
    async with serving(given) as http:
        for verb in ("load", "unload", "update", "rollback", "rm"):
            assert "this server has 2" in (await post(http, verb, NAME, 409))["message"]
        assert (await post(http, "pull", NAME))["was_here"] is False


async def loaded(http: httpx2.AsyncClient) -> set[str]:
    """Wait until nothing is on its way; return what is served."""
    models: list[Any] = []
    for _ in range(200):
        models = (await http.get("/admin/ps", headers=ADMIN)).json()["models"]
        if {item["state"] for item in models} <= {"ready", "failed", "unloaded"}:
            break
        await anyio.sleep(0.02)
    return {f"{item['id']} {item['state']}" for item in models}


async def test_what_was_loaded_is_loaded_again_at_the_next_start_until_it_is_unloaded(
    tmp_path: Path, own: Path, hub: HuggingFaceHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_bert(tmp_path / "mine", seed=3)
    monkeypatch.chdir(tmp_path)
    given = settings(tmp_path, own, hub)
    async with serving(given, remember=True) as http:
        await post(http, "load", NAME)
        await post(http, "load", "./mine")
        await post(http, "load", "nonsense", 400)
    monkeypatch.chdir("/")
    both = {"own ready", "tiny-reranker ready", "mine ready"}
    with caplog.at_level(logging.INFO, "rerankd.service.operator"):
        async with serving(given, remember=True) as http:
            assert await loaded(http) == both
            assert caplog.text.count("loaded again") == 2
            await post(http, "unload", "mine")
    told_not_to = given.model_copy(update={"models": given.models.model_copy(update={"restore": False})})
    async with serving(told_not_to, remember=True) as http:
        assert await loaded(http) == {"own ready"}
    elsewhere = given.model_copy(update={"server": ServerSettings(port=1)})
    async with serving(elsewhere, remember=True) as http:
        assert await loaded(http) == {"own ready"}, "another server on the same store"
    async with serving(given, remember=True) as http:
        assert await loaded(http) == {"own ready", "tiny-reranker ready"}
        await post(http, "unload", NAME)
        await post(http, "rm", NAME)
    async with serving(given, remember=True) as http:
        assert await loaded(http) == {"own ready"}


async def test_the_settings_go_before_what_was_loaded(
    tmp_path: Path, own: Path, hub: HuggingFaceHub, caplog: pytest.LogCaptureFixture
) -> None:
    other = tiny_bert(tmp_path / "other" / "tiny-reranker", seed=4)
    given = settings(tmp_path, own, hub)
    async with serving(given, remember=True) as http:
        await post(http, "load", str(other))
    set_since = settings(tmp_path, own, hub, served=(NAME,), preload="default")
    async with serving(set_since, remember=True) as http:
        assert await loaded(http) == {"own ready", "tiny-reranker ready"}, "loaded, for that is what was asked"
        (item,) = [one for one in (await http.get("/admin/ps", headers=ADMIN)).json()["models"] if one["id"] != "own"]
        assert item["revision"] == hub.repository(NAME).refs["main"], "the one that the settings name"
    assert "was loaded from elsewhere" in caplog.text


async def test_the_openapi_document_has_every_path_and_every_answer_is_as_it_says(
    http: httpx2.AsyncClient, hub: HuggingFaceHub, versions: list[dict[str, bytes]]
) -> None:
    document = (await http.get("/openapi.json", headers={"x-api-key": "user"})).json()
    documented = {path.replace("{id}", "0"): each for path, each in document["paths"].items() if "/admin/" in path}
    assert {path for path, each in documented.items() if "get" in each} == set(GETS)
    assert {path for path, each in documented.items() if "post" in each} == set(POSTS)
    for each in documented.values():
        for operation in each.values():
            assert (operation["security"], operation["tags"]) == ([{"admin": []}], ["admin"])
            assert {"401", "403", "409"} <= set(operation["responses"])

    def check(path: str, answer: Any) -> None:
        (operation,) = documented[path].values()
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer, {**schema, "components": document["components"]})

    for verb in ("pull", "load", "unload", "load"):
        check(f"/admin/{verb}", await post(http, verb, NAME))
    hub.repository(NAME).push(versions[1], "main")
    for verb in ("update", "rollback"):
        check(f"/admin/{verb}", await post(http, verb, NAME))
    check("/admin/ps", (await http.get("/admin/ps", headers=ADMIN)).json())
    check("/admin/list", (await http.get("/admin/list", headers=ADMIN)).json())
    for name in (NAME, "rerankd-zh-en", "bge-reranker-v2-m3", "own"):
        check("/admin/show", (await http.get("/admin/show", params={"model": name}, headers=ADMIN)).json())
    told = events(await http.post("/admin/bundle/export", json={"models": [NAME]}, headers=STREAM, timeout=60))
    bundle = await http.get(told[-1][1]["download"], headers=ADMIN)
    assert bundle.headers["content-type"] == "application/x-tar"
    await post(http, "unload", NAME)
    check("/admin/rm", await post(http, "rm", NAME))
    imported = await http.post("/admin/bundle/import", content=bundle.content, headers=ADMIN)
    check("/admin/bundle/import", imported.json())


async def test_offline_all_is_done_with_what_is_here_and_nobody_is_asked(
    tmp_path: Path, own: Path, hub: HuggingFaceHub, versions: list[dict[str, bytes]]
) -> None:
    async with serving(settings(tmp_path, own, hub)) as http:
        await post(http, "pull", NAME)
    hub.repository(NAME).push(versions[1], "main")
    asked = len(hub.asked)
    assert asked
    given = settings(tmp_path, own, hub, offline=True, served=(NAME, "example/not-here"))
    async with serving(given) as http:
        assert (await post(http, "load", NAME))["state"] == "ready"
        assert (await post(http, "pull", NAME))["was_here"] is True
        for verb, name in (("update", NAME), ("pull", "example/other"), ("load", "modelscope:example/other")):
            assert "HF_HUB_OFFLINE) forbids" in (await post(http, verb, name, 503))["message"], verb
        body = {"query": "q", "documents": ["a", "b"]}
        for name, status in ((NAME, 200), ("example/not-here", 503)):
            answer = await http.post("/v1/rerank", json={**body, "model": name}, headers={"x-api-key": "user"})
            assert answer.status_code == status, answer.text
        exported = await http.post("/admin/bundle/export", json={"models": [NAME]}, headers=ADMIN, timeout=60)
        assert exported.status_code == 200
        shown = (await http.get("/admin/show", params={"model": NAME}, headers=ADMIN)).json()
        assert shown["revision"] != hub.repository(NAME).refs["main"]
    assert len(hub.asked) == asked
