"""The OpenAPI document and its page: valid, true to the answers, and complete without the internet."""

import re
import shutil
from collections.abc import Generator
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest
from openapi_spec_validator import validate
from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright

from fake_service import FakeService
from http_app import opened
from live_server import running_fake
from programs import missing_program
from rerankd.dialects.detect import load_all

PAGES = Path(__file__).parents[2] / "docs" / "reference"
REFERENCE = "".join((PAGES / page).read_text("utf-8") for page in ("http-api.md", "admin-api.md"))
ALIASES = [alias for route in load_all().standard.routes for alias in route.aliases]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip


@pytest.mark.anyio
async def test_the_openapi_document_is_valid(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) >= {"/v1/rerank", "/v1/models", "/health"}


@pytest.mark.anyio
async def test_every_documented_route_and_example_works() -> None:
    service = FakeService()
    async with opened(service) as http:
        document = (await http.get("/openapi.json")).json()
        for path, operations in document["paths"].items():
            if path.startswith("/admin/"):  # see test_admin.py
                continue
            if "get" in operations:
                assert (await http.get(path.replace("{id}", "tiny-reranker"))).status_code == 200
                continue
            examples = operations["post"]["requestBody"]["content"]["application/json"]["examples"]
            for example in examples.values():
                assert (await http.post(path, json=example["value"])).status_code == 200
    assert service.asked


@pytest.mark.anyio
async def test_the_page_names_no_other_server(http: httpx2.AsyncClient) -> None:
    page = (await http.get("/docs")).text
    assert not re.search(r"https?:|//", page)
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert (await http.get(f"/{name}")).status_code == 200
    assert (await http.get("/static/../app.py")).status_code == 404
    assert (await http.get("/static/swagger-ui.LICENSE.txt")).status_code == 404


def test_the_licence_of_the_page_is_shipped() -> None:
    static = files("rerankd.http") / "static"
    assert "Apache License" in (static / "swagger-ui.LICENSE.txt").read_text("utf-8")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert "sourceMappingURL" not in (static / name).read_text("utf-8")


@pytest.fixture
def page() -> Generator[Page]:
    if not CHROMIUM:
        missing_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_page(viewport={"width": 1200, "height": 900})
        browser.close()


def test_a_browser_shows_the_rerank_operation_and_can_try_it(page: Page, tmp_path: Path) -> None:
    problems: list[str] = []
    asked: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            problems.append(message.text)

    def on_request(request: Request) -> None:
        asked.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", on_request)
    with running_fake(FakeService()) as url:
        page.goto(f"{url}/docs")
        page.get_by_text("Rank documents by relevance to a query").first.click(timeout=20_000)
        page.get_by_role("button", name="Execute").click(timeout=20_000)
        answer = page.locator(".live-responses-table tbody .response-col_description").first
        answer.wait_for(timeout=20_000)
        assert "relevance_score" in answer.inner_text()
        page.screenshot(path=str(tmp_path / "docs.png"), full_page=True)
    assert problems == []
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []


@pytest.mark.anyio
async def test_the_reference_page_names_every_path_and_every_key(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    for path in document["paths"]:
        assert path.replace("{id}", "ID") in REFERENCE, path
    for alias in ALIASES:
        assert f"`{alias}`" in REFERENCE, alias
    for field in document["components"]["schemas"]["StandardRequest"]["properties"]:
        assert f"| `{field}` |" in REFERENCE, field
    for field in document["components"]["schemas"]["StandardResponse"]["properties"]:
        assert re.search(rf"`{field}(\[\])?`", REFERENCE), field
