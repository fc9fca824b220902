"""What is known to break clients does break their cases here: these tests can fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clients import running
from clients.deviating import deviating
from clients.running import Run, Servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Change = Callable[[Any], Any]


def every_result(change: Change) -> Change:
    def changed(answer: Any) -> Any:
        if isinstance(answer, dict) and "results" in answer:
            return {**answer, "results": [change(dict(item)) for item in answer["results"]]}
        return answer

    return changed


def without(key: str) -> Change:
    return lambda answer: {name: value for name, value in answer.items() if name != key}


def documents_as_strings(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "document": item["document"]["text"]} if "document" in item else item


def renamed_score(item: dict[str, Any]) -> dict[str, Any]:
    return {("score" if name == "relevance_score" else name): value for name, value in item.items()}


def worst_first(answer: Any) -> Any:
    return {**answer, "results": answer["results"][::-1]}


DEVIATIONS: tuple[tuple[str, str, Change], ...] = (
    ("with_xinference_client-cohere7", "a result without its document", every_result(without("document"))),
    ("with_cohere-cohere5", "a document that is a string", every_result(documents_as_strings)),
    ("with_voyageai-cohere7", "an answer without data", without("data")),
    ("with_voyageai-cohere7", "an answer without usage", without("usage")),
    ("with_dify_plugin-dify", "score in place of relevance_score", every_result(renamed_score)),
    ("with_infinity_client-cohere5", "object that says list", lambda answer: {**answer, "object": "list"}),
    ("with_xinference_client-cohere7", "results that are not sorted", worst_first),
)


@pytest.mark.parametrize(
    ("client", "change"),
    [(client, change) for client, _, change in DEVIATIONS],
    ids=[f"{client}: {what}" for client, what, _ in DEVIATIONS],
)
def test_a_client_notices(client: str, change: Change, servers: Servers) -> None:
    script, environment = client.split("-")
    with deviating(servers.url, change) as url:
        lines = running.run(Run(script, environment), replace(servers, url=url))
    on_proxy = [line for line in lines if "with a key" not in line["case"]]
    assert running.failures(on_proxy) != ""
    assert running.failures(line for line in lines if line not in on_proxy) == ""
