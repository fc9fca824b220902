"""Telling a running server what to do with its models: one request to /admin, its progress shown as it comes."""

import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from rerankd.cli.progress import progress_bar
from rerankd.cli.rank import read_key
from rerankd.types import JsonObject, Progress

if TYPE_CHECKING:
    import httpx2

_SILENCE_S = 60.0
"""Longer than the server's signs of life are apart."""
_CHUNK = 1 << 20


def tell(url: str, api_key: str, what: str, model: str) -> JsonObject:
    """Ask for an operation, wait until it is done, and return what came of it.

    Raises:
        RerankError: what the server raised, by kind; ServerUnreachable where nobody answers.
    """
    with _asked(url, api_key, "POST", what, body={"model": model}) as answer:
        return _result(answer, model)


def look(url: str, api_key: str, what: str) -> JsonObject:
    """Ask what a server knows ("list", "show?model=NAME"). Raises as `tell`."""
    with _asked(url, api_key, "GET", what) as answer:
        return _result(answer, what)


def export(url: str, api_key: str, models: Sequence[str], output: Path) -> JsonObject:
    """Have a server write a bundle, and fetch it. The file appears when it is whole.

    Raises:
        RerankError: see `tell`; DownloadFailed where the file cannot be written.
    """
    from rerankd.errors import DownloadFailed

    if not output.parent.is_dir():
        raise DownloadFailed(f"the bundle cannot be written: there is no folder {output.parent.name!r}")
    with _asked(url, api_key, "POST", "bundle/export", body={"models": list(models)}) as answer:
        result = _result(answer, output.name)
    path = str(result["download"]).removeprefix("/admin/")
    try:
        handle = tempfile.NamedTemporaryFile(dir=output.parent, prefix=f"{output.name}.", delete=False)  # noqa: SIM115
        try:
            with handle, _asked(url, api_key, "GET", path) as answer, progress_bar(output.name) as show:
                for chunk in answer.iter_bytes(_CHUNK):
                    handle.write(chunk)
                    show(Progress(answer.num_bytes_downloaded, int(answer.headers.get("content-length", 0))))
            Path(handle.name).chmod(0o644)
            Path(handle.name).replace(output)
        finally:
            Path(handle.name).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadFailed(f"the bundle cannot be written: {error.strerror}") from error
    return {name: value for name, value in result.items() if name != "download"}


def import_(url: str, api_key: str, file: Path, sha256: str) -> JsonObject:
    """Send a bundle to a server, which checks it and puts its models into its store.

    Raises:
        RerankError: see `tell`; ConfigError where there is no such file.
    """
    from rerankd.errors import ConfigError

    with _asked(url, api_key, "GET", "ps"):  # a wrong address or key is told before gigabytes are sent
        pass
    try:
        with file.open("rb") as stream, progress_bar(file.name) as show:
            size = file.stat().st_size

            def chunks() -> Iterator[bytes]:
                while chunk := stream.read(_CHUNK):
                    yield chunk
                    show(Progress(stream.tell(), size))

            what = "bundle/import" + (f"?sha256={quote(sha256)}" if sha256 else "")
            with _asked(url, api_key, "POST", what, content=chunks(), size=size) as answer:
                return _result(answer, file.name)
    except OSError as error:
        raise ConfigError(f"the bundle {file.name!r} cannot be read: {error.strerror}") from error


@contextmanager
def _asked(
    url: str, api_key: str, method: str, what: str, *, body: JsonObject | None = None,
    content: Iterator[bytes] | None = None, size: int = 0,
) -> "Generator[httpx2.Response]":  # fmt: skip
    """Send a request; yield an answer that is no error, its body still to come."""
    import httpx2

    from rerankd.client_wire import read_error
    from rerankd.errors import ServerUnreachable

    key = read_key(api_key)
    headers = {"accept": "text/event-stream", **({"authorization": f"Bearer {key}"} if key else {})}
    if content is not None:
        headers["content-length"] = str(size)
    address = f"{url.rstrip('/')}/admin/{what}"
    try:
        with httpx2.stream(
            method, address, json=body, content=content, headers=headers, timeout=_SILENCE_S
        ) as answer:  # fmt: skip
            if not answer.is_success:
                answer.read()
                raise read_error(answer)
            yield answer
    except httpx2.HTTPError as error:
        raise ServerUnreachable(
            f"nothing answers at {url}: start a server with `rerankd serve`, or give --url"
        ) from error


def _result(answer: "httpx2.Response", title: str) -> JsonObject:
    if "event-stream" not in answer.headers.get("content-type", ""):
        return cast("JsonObject", json.loads(answer.read()))
    return _followed(answer, title)


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
