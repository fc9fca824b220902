"""Everything that is not a rerank: models, health, metrics, what does not exist, and who may see what."""

import httpx2
import pytest
from pydantic import SecretStr
from starlette.routing import Route

from fake_service import FakeService
from http_app import opened
from rerankd.dialects.detect import load_all
from rerankd.http.app import create_app
from rerankd.settings import AuthSettings, Settings
from rerankd.types import ModelState, Verified

pytestmark = pytest.mark.anyio

PUBLIC = [
    "/", "/health", "/healthz", "/ping", "/readyz", "/livez", "/.well-known/ready", "/v1/cluster/auth", "/metrics",
    "/docs", "/openapi.json", "/static/swagger-ui.css",
]  # fmt: skip
KEYED = ["/v1/models", "/models", "/v1/models/tiny-reranker", "/models/tiny-reranker"]


async def test_models_are_listed_under_the_id_and_the_full_name(http: httpx2.AsyncClient) -> None:
    body = (await http.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [item["id"] for item in body["data"]] == ["tiny-reranker", "example/tiny-reranker"]
    first = body["data"][0]
    wanted = {
        "object": "model", "created": 0, "owned_by": "rerankd", "model_type": "rerank", "model_name": "tiny-reranker",
        "model_ability": ["rerank"], "max_tokens": 512, "context_length": 512, "max_model_len": 512,
        "score_type": "probability", "state": "ready", "family": "cross_encoder", "precision": "fp32",
    }  # fmt: skip
    assert {name: first[name] for name in wanted} == wanted


@pytest.mark.parametrize("name", ["tiny-reranker", "example/tiny-reranker", "tiny"])
async def test_a_model_is_found_by_each_of_its_names(http: httpx2.AsyncClient, name: str) -> None:
    item = (await http.get(f"/v1/models/{name}")).json()
    assert (item["id"], item["model_type"], item["model_name"]) == (name, "rerank", "tiny-reranker")


async def test_an_unknown_model_is_404_with_detail(http: httpx2.AsyncClient) -> None:
    response = await http.get("/v1/models/nobody/knows")
    assert response.status_code == 404
    assert "tiny-reranker" in response.json()["detail"]


async def test_infinity_clients_can_list_models(http: httpx2.AsyncClient) -> None:
    item = (await http.get("/models")).json()["data"][0]
    assert (item["owned_by"], item["stats"], item["capabilities"]) == ("infinity", {}, ["rerank"])


@pytest.mark.parametrize(
    ("state", "word"), [(ModelState.LOADING, "loading"), (ModelState.FAILED, "failed"), (ModelState.READY, "healthy")]
)
async def test_health_says_whether_the_model_answers(service: FakeService, state: ModelState, word: str) -> None:
    service.state = state
    status = 200 if state is ModelState.READY else 503
    async with opened(service) as http:
        for path in ("/health", "/healthz", "/ping"):
            response = await http.get(path)
            assert (response.status_code, response.json()["status"]) == (status, word)
            assert response.json()["model_loaded"] is (status == 200)
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (status, {"status": "ready" if status == 200 else word})
        assert (await http.get("/livez")).status_code == 200
        assert (await http.get("/.well-known/ready")).status_code == (204 if status == 200 else 503)


async def test_the_root_is_a_page_for_browsers_and_json_for_programs(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/")).json()["name"] == "rerankd"
    page = await http.get("/", headers={"accept": "text/html,*/*"})
    assert 'href="docs"' in page.text


async def test_metrics_are_for_prometheus(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/rerank", json={"query": "q", "documents": ["a", "b"]})
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'rerankd_requests_total{dialect="standard",model="tiny-reranker",outcome="ok"} 1.0' in response.text
    assert 'rerankd_request_documents_sum{dialect="standard",model="tiny-reranker"} 2.0' in response.text


async def test_an_unknown_route_names_the_nearest_one(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/rerank/rerank", json={})
    assert response.status_code == 404
    body = response.json()
    assert body["error"]["kind"] == "route_not_found"
    assert "did you mean" in body["detail"]
    assert "/v1/rerank" in (await http.get("/x")).json()["detail"]


async def test_a_wrong_method_is_405_with_allow(http: httpx2.AsyncClient) -> None:
    response = await http.get("/v1/rerank")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["kind"] == "method_not_allowed"
    assert (await http.post("/health", json={})).headers["allow"] == "GET, HEAD"


async def test_with_a_key_only_health_and_explanations_are_public(service: FakeService) -> None:
    settings = Settings(auth=AuthSettings(keys=(SecretStr("sesame"),)))
    async with opened(service, settings) as http:
        for path in PUBLIC:
            assert (await http.get(path)).status_code < 300, path
        for path in KEYED:
            refused = await http.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert (await http.get(path, headers={"authorization": "Bearer sesame"})).status_code == 200
        assert (await http.get("/v1/cluster/auth")).json() == {"auth": True}


async def test_every_route_is_known_to_be_public_or_keyed(service: FakeService) -> None:
    names = load_all().dialects
    gets = {
        route.path
        for route in create_app(service, Settings()).routes
        if isinstance(route, Route) and "GET" in (route.methods or ())
    }
    prefixed = {path for path in gets if path.split("/")[1] in names}
    known = {*PUBLIC, "/static/{name}", "/v1/models", "/models", "/v1/models/{id:path}", "/models/{id:path}", "/info"}
    for_admins = {"/admin/ps", "/admin/list", "/admin/show", "/admin/bundle/export/{id}"}  # see test_admin.py
    assert gets - prefixed - known - for_admins == set()
    assert {"/" + path[1:].partition("/")[2] for path in prefixed} <= known


async def test_what_is_told_about_the_server_is_told_under_every_prefix_too(service: FakeService) -> None:
    settings = Settings(auth=AuthSettings(keys=(SecretStr("sesame"),)))
    async with opened(service, settings) as http:
        for name in load_all().dialects:
            assert (await http.get(f"/{name}/health")).status_code == 200
            assert (await http.get(f"/{name}/v1/cluster/auth")).json() == {"auth": True}
            for path in ("/v1/models", "/models", "/info", "/v1/models/tiny"):
                assert (await http.get(f"/{name}{path}")).status_code == 401
                answer = await http.get(f"/{name}{path}", headers={"authorization": "Bearer sesame"})
                assert answer.status_code == 200


async def test_info_is_read_by_dify_and_by_ragflow(http: httpx2.AsyncClient) -> None:
    info = (await http.get("/info")).json()
    assert list(info["model_type"]) == ["reranker", "rerank"]
    assert (info["model_id"], info["max_input_length"]) == ("tiny-reranker", 512)
    assert info["max_client_batch_size"] == Settings().limits.max_documents
    assert (await http.get("/tei/info")).json() == info


async def test_info_refuses_in_teis_words(service: FakeService) -> None:
    async with opened(service, Settings(auth=AuthSettings(keys=(SecretStr("sesame"),)))) as http:
        refused = await http.get("/info")
        assert (refused.status_code, refused.json()["error_type"]) == (401, "Unauthorized")


async def test_infinitys_client_finds_its_owner_under_its_prefix(http: httpx2.AsyncClient) -> None:
    for path in ("/models", "/infinity/models", "/infinity/v1/models"):
        items = (await http.get(path)).json()["data"]
        assert {item["owned_by"] for item in items} == {"infinity"}
        assert all(item["stats"] == {} for item in items)
    assert (await http.get("/v1/models")).json()["data"][0]["owned_by"] == "rerankd"


async def test_without_keys_xinference_clients_learn_that_none_is_needed(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/v1/cluster/auth")).json() == {"auth": False}


async def test_a_certificate_is_told_where_there_is_one(http: httpx2.AsyncClient, service: FakeService) -> None:
    assert "verified" not in (await http.get("/v1/models/tiny")).json()
    service.verified = Verified(2e-6, "sentence-transformers 6.2.0", "fp32")
    told = (await http.get("/v1/models/tiny")).json()["verified"]
    assert told == {"max_abs_diff": 2e-6, "reference": "sentence-transformers 6.2.0", "precision": "fp32"}
