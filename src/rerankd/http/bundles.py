"""Bundles over HTTP: a tar file comes in, is checked and imported; or is written and goes out.

An export whose progress is told cannot answer with the file, too: it waits in the store, under a name that nobody
guesses, to be fetched once, by whichever process is asked for it.
"""

import asyncio
import contextlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import disk_usage

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from rerankd.errors import DownloadFailed, InvalidRequest
from rerankd.http import events
from rerankd.service.operator import Operator
from rerankd.types import JsonObject

_SILENCE_S = 60.0
_CHUNK = 1 << 20
_WAITS_S = 3600.0
"""How long an export waits to be fetched, and what an import that was killed has left lies about."""
_WAITING = 4
_NAME = re.compile(r"[0-9a-f]{32}")


async def received(request: Request, operator: Operator) -> Response:
    """Take a bundle as the body; `?sha256=` refuses any other. Once it is here, it may be told how far its check is.

    Raises:
        InvalidRequest: it stopped coming.
        DownloadFailed: there is no room for it, or the store cannot be written.
        ConfigError, ChecksumMismatch: it is no bundle, or was changed.
    """
    file = await asyncio.to_thread(_temporary, operator.store)
    try:
        await _save(request, file, operator.store)
        imported = await operator.import_bundle(file, request.query_params.get("sha256", ""))
    except BaseException:
        await asyncio.to_thread(file.unlink, missing_ok=True)
        raise
    return await events.answered(request, imported)


async def sent(request: Request, operator: Operator, names: Sequence[str]) -> Response:
    """Answer with a bundle of these models; its sha256 is in the header `x-rerankd-sha256`.

    Where progress is to be told, the last word is where the bundle can be fetched, see `fetched`.

    Raises:
        RerankError: see `registry.bundle.export`.
    """
    if events.streams(request):
        await asyncio.to_thread(_tidy, operator.store)
        name = secrets.token_hex(16)
        exported = await operator.export(names, _waiting(operator.store, name))
        where: JsonObject = {"download": f"/admin/bundle/export/{name}"}
        return await events.answered(request, exported, lambda result: {**result, **where})
    file = await asyncio.to_thread(_temporary, operator.store)
    try:
        exported = await operator.export(names, file)
        result = await asyncio.shield(exported.task)
    except BaseException:
        await asyncio.to_thread(file.unlink, missing_ok=True)
        raise
    return _tar(file, {"x-rerankd-sha256": str(result["sha256"])})


async def fetched(request: Request, operator: Operator) -> Response:
    """Answer with a bundle that was exported before, and delete it.

    Raises:
        InvalidRequest: there is none of that name.
    """
    name = str(request.path_params["id"])
    file = _waiting(operator.store, name)
    if not _NAME.fullmatch(name) or not await asyncio.to_thread(file.is_file):
        raise InvalidRequest("no such bundle waits here: it was fetched, or has waited too long; export it again")
    return _tar(file, {})


def _tar(file: Path, headers: Mapping[str, str]) -> Response:
    gone = BackgroundTask(file.unlink, missing_ok=True)
    return FileResponse(
        file, headers=dict(headers), media_type="application/x-tar", filename="models.tar", background=gone
    )


def _waiting(store: Path, name: str) -> Path:
    return store / f"bundle-{name}.tar"


def _tidy(store: Path) -> None:
    """Make the store's folder, and delete there what nobody has come for: what is old, and the oldest of many."""
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadFailed(f"the store cannot be written: {error.strerror}") from error
    with contextlib.suppress(OSError):  # another process does the same
        here = sorted((file.stat().st_mtime, file) for file in store.glob("bundle-*"))
        waiting = [file for _, file in here if file.suffix == ".tar"]
        old = [file for changed, file in here if time.time() - changed > _WAITS_S]
        for file in {*old, *waiting[: max(0, len(waiting) + 1 - _WAITING)]}:
            file.unlink(missing_ok=True)


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
    _tidy(store)
    try:
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
