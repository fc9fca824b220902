"""The real client libraries, unmodified, read our answers: each in its own environment, against a live server.

REAL_CLIENTS=record writes the results down, for the tables of the READMEs.
"""

import os
import subprocess
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from clients import environments, products, running, table
from clients.running import MODEL, Line, Run, Servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMES = (MODEL, "BAAI/bge-reranker-v2-m3", "BGE-reranker-v2-m3___VLLM")
"""As it is served, and as RAGFlow writes it."""
RUNS = (
    Run("with_cohere", "dify"),
    Run("with_cohere", "cohere5"),
    Run("with_cohere", "frameworks"),
    Run("with_cohere", "cohere6"),
    Run("with_cohere", "cohere7", NAMES),
    Run("with_xinference_client", "cohere7", NAMES),
    Run("with_litellm", "cohere7"),
    Run("with_voyageai", "cohere7"),
    Run("with_voyageai", "frameworks"),
    Run("with_rerankers", "cohere7"),
    Run("with_langchain_voyageai", "cohere7"),
    Run("with_langchain", "frameworks"),
    Run("with_llama_index", "frameworks"),
    Run("with_haystack", "frameworks"),
    Run("with_infinity_client", "cohere5", NAMES),
    Run("with_langchain_community", "cohere5"),
    Run("with_dify_plugin", "dify"),
)

Answers = Callable[[Run], Sequence[Line]]


@pytest.fixture(scope="module")
def answers(servers: Servers) -> Generator[Answers]:
    """Run each script once for all tests; while one is looked at, the next is under way."""
    with ThreadPoolExecutor(2) as pool:
        started: dict[Run, Future[Sequence[Line]]] = {}

        def start(wanted: Run) -> Future[Sequence[Line]]:
            if wanted not in started:
                started[wanted] = pool.submit(running.run, wanted, servers)
            return started[wanted]

        def ask(wanted: Run) -> Sequence[Line]:
            answer = start(wanted)
            if wanted in RUNS[:-1]:
                start(RUNS[RUNS.index(wanted) + 1])
            return answer.result()

        yield ask


@pytest.mark.parametrize("wanted", RUNS, ids=str)
def test_a_real_client_reads_every_answer(wanted: Run, answers: Answers) -> None:
    assert running.failures(answers(wanted)) == ""


def test_the_bundled_model_ranks_the_capital_first_for_a_real_client(answers: Answers) -> None:
    assert running.failures(answers(Run("with_cohere", "cohere7", (running.BUNDLED,)))) == ""


def test_the_clients_that_are_written_down_are_those_of_this_run(answers: Answers) -> None:
    found = table.rows(line for wanted in RUNS for line in answers(wanted))
    if os.environ.get("REAL_CLIENTS") == "record":
        table.write(replace(table.read(), clients=found))
    assert table.read().clients == found, "run `make clients`, which writes the results of this run down"


@pytest.mark.parametrize("product", products.PRODUCTS, ids=lambda product: product.script)
def test_a_product_from_a_checkout_reads_every_answer(product: products.Product, servers: Servers) -> None:
    checkout = os.environ.get(product.variable)
    if not checkout:
        pytest.skip(f"set {product.variable} to a checkout of {product.repository} to run its own files")
    lines = running.run(Run(product.script, product.environment), servers, {product.variable: checkout})
    if os.environ.get("REAL_CLIENTS") == "record":
        found = replace(table.rows(lines)[0], client=product.repository, versions=(commit_of(checkout),))
        known = table.read()
        others = [row for row in known.products if row.client != found.client]
        table.write(replace(known, products=tuple(sorted((*others, found), key=lambda row: row.client))))
    assert running.failures(lines) == ""


def commit_of(checkout: str) -> str:
    command = ["git", "-C", checkout, "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@pytest.mark.parametrize("page", table.PAGES, ids=lambda page: page.path)
def test_a_page_shows_what_was_written_down(page: table.Page) -> None:
    text = (table.ROOT / page.path).read_text("utf-8")
    assert text == table.rendered(text, page, table.read()), "run `make clients`"


def test_every_script_is_run() -> None:
    scripts = {file.stem for file in (running.HERE / "scripts").glob("with_*.py")}
    assert scripts == {wanted.script for wanted in RUNS} | {product.script for product in products.PRODUCTS}


@pytest.mark.parametrize("name", environments.names())
def test_no_client_brings_torch(name: str) -> None:
    pins = (environments.REQUIREMENTS / f"{name}.txt").read_text("utf-8").lower()
    assert not [line for line in pins.splitlines() if line.startswith(("torch", "nvidia", "triton"))]
