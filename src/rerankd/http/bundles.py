"""Bundles over HTTP: a tar file comes in, is checked and imported; or is written and goes out."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import disk_usage

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from rerankd.dialects.base import Answer
from rerankd.errors import DownloadFailed, InvalidRequest
from rerankd.http.errors import respond
from rerankd.service.operator import Operator

_SILENCE_S = 60.0
_CHUNK = 1 << 20


async def received(request: Request, operator: Operator) -> Response:
    """Take a bundle as the body; `?sha256=` refuses any other.

    Raises:
        InvalidRequest: it stopped coming.
        DownloadFailed: there is no room for it, or the store cannot be written.
        ConfigError, ChecksumMismatch: it is no bundle, or was changed.
    """
    file = await asyncio.to_thread(_temporary, operator.store)
    try:
        await _save(request, file, operator.store)
        imported = await operator.import_bundle(file, request.query_params.get("sha256", ""))
        return respond(Answer(200, await asyncio.shield(imported.task)))
    finally:
        await asyncio.to_thread(file.unlink, missing_ok=True)


async def sent(operator: Operator, names: Sequence[str]) -> Response:
    """Answer with a bundle of these models; its sha256 is in the header `x-rerankd-sha256`.

    Raises:
        RerankError: see `registry.bundle.export`.
    """
    file = await asyncio.to_thread(_temporary, operator.store)
    try:
        exported = await operator.export(names, file)
        result = await asyncio.shield(exported.task)
    except BaseException:
        await asyncio.to_thread(file.unlink, missing_ok=True)
        raise
    headers = {"x-rerankd-sha256": str(result["sha256"])}
    gone = BackgroundTask(file.unlink, missing_ok=True)
    return FileResponse(file, headers=headers, media_type="application/x-tar", filename="models.tar", background=gone)


async def _save(request: Request, file: Path, store: Path) -> None:
    declared = request.headers.get("content-length", "")
    free = (await asyncio.to_thread(disk_usage, store)).free
    if declared.isdigit() and int(declared) > free:
        raise DownloadFailed(f"the bundle has {int(declared) / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free")
    stream, gathered = request.stream().__aiter__(), bytearray()
    try:
        while True:
            async with asyncio.timeout(_SILENCE_S):
                chunk = await anext(stream, None)
            if chunk is None:
                break
            gathered += chunk
            if len(gathered) >= _CHUNK:
                await asyncio.to_thread(_append, file, bytes(gathered))
                gathered.clear()
    except TimeoutError as error:
        raise InvalidRequest(f"no more of the bundle came for {_SILENCE_S:g} s: send it again") from error
    await asyncio.to_thread(_append, file, bytes(gathered))


def _temporary(store: Path) -> Path:
    try:
        store.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=store, prefix="bundle-")
    except OSError as error:
        raise DownloadFailed(f"the store cannot be written: {error.strerror}") from error
    os.close(handle)
    return Path(name)


def _append(file: Path, data: bytes) -> None:
    try:
        with file.open("ab") as out:
            out.write(data)
    except OSError as error:
        raise DownloadFailed(f"the bundle cannot be kept: {error.strerror}; free some disk space") from error
