"""Telling a running server what to do with its models: one request to /admin, its progress shown as it comes."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from rerankd.cli.progress import progress_bar
from rerankd.cli.rank import read_key
from rerankd.types import JsonObject, Progress

if TYPE_CHECKING:
    import httpx2

_SILENCE_S = 60.0
"""Longer than the server's signs of life are apart."""


def tell(url: str, api_key: str, what: str, model: str) -> JsonObject:
    """Ask for an operation, wait until it is done, and return what came of it.

    Raises:
        RerankError: what the server raised, by kind; ServerUnreachable where nobody answers.
    """
    import httpx2

    from rerankd.client_wire import read_error
    from rerankd.errors import ServerUnreachable

    key = read_key(api_key)
    headers = {"accept": "text/event-stream", **({"authorization": f"Bearer {key}"} if key else {})}
    address = f"{url.rstrip('/')}/admin/{what}"
    try:
        with httpx2.stream("POST", address, json={"model": model}, headers=headers, timeout=_SILENCE_S) as answer:
            if not answer.is_success:
                answer.read()
                raise read_error(answer)
            if "event-stream" not in answer.headers.get("content-type", ""):
                return cast("JsonObject", json.loads(answer.read()))
            return _followed(answer, model)
    except httpx2.HTTPError as error:
        raise ServerUnreachable(
            f"nothing answers at {url}: start a server with `rerankd serve`, or give --url"
        ) from error


def _followed(answer: "httpx2.Response", model: str) -> JsonObject:
    import httpx2

    from rerankd.client_wire import read_error
    from rerankd.errors import ServerUnreachable

    with progress_bar(model) as show:
        for name, data in _events(answer):
            if name == "done":
                return data
            if name == "error":
                raise read_error(httpx2.Response(int(cast("int", data["status"])), json=data))
            _show(data, show)
    raise ServerUnreachable("the server broke off before it was done; `rerankd ps` shows what has become of it")


def _events(answer: "httpx2.Response") -> Iterator[tuple[str, JsonObject]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, cast("JsonObject", json.loads(line.removeprefix("data: ")))


def _show(data: JsonObject, show: Callable[[Progress], None]) -> None:
    done, total = data.get("done_bytes"), data.get("total_bytes")
    if isinstance(done, int):
        show(Progress(done, total if isinstance(total, int) else 0))
