"""Files over HTTP: several at once, resumed where they broke off, verified before they count.

The hub's own client starts a broken file again from its first byte (huggingface_hub 1.x and 2.x), which is why bytes
are fetched here. A part that one mirror began, another can finish: what counts is the digest.
"""

import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rerankd.errors import ChecksumMismatch, DownloadFailed
from rerankd.sources.base import Report
from rerankd.sources.snapshots import Digest, unwritable
from rerankd.types import Progress

if TYPE_CHECKING:
    import httpx2

_AT_ONCE = 4
_CHUNK = 1 << 20
_ATTEMPTS = 5
"""Attempts in a row that bring no new byte before an address is given up."""
_LONGEST_PAUSE_S = 30.0
_REPORT_EVERY_S = 0.2
_SPARE_BYTES = 64 << 20
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Broken(Exception):
    """An address did not deliver; the text says what it answered. Caught by the sources, which try the next."""


class Passing(Broken):
    """Busy or out of order for the moment: the same question may be answered in a second."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the hub describes it. One of the digests is there: sha256 of large files, git's blob id of others."""

    name: str
    url: str
    size: int
    sha256: str = ""
    git_id: str = ""


@dataclass(slots=True)
class _Count:
    """Bytes on disk, by file; written by the threads that fetch, one file each."""

    done: dict[str, int] = field(default_factory=dict[str, int])

    def total(self) -> int:
        return sum(list(self.done.values()))


@dataclass(frozen=True, slots=True)
class _Transfer:
    """What the threads of one download share."""

    folder: Path
    client: "httpx2.Client"
    pause_s: float
    count: _Count = field(default_factory=_Count)
    stop: threading.Event = field(default_factory=threading.Event)


def download(
    files: Sequence[RemoteFile], folder: Path, report: Report, *, headers: Mapping[str, str], timeout_s: float,
    pause_s: float = 0.5,
) -> dict[str, Digest]:  # fmt: skip
    """Fetch files into a folder and return what each is; those that are there already are not asked for again.

    `pause_s` is the first pause before an attempt is repeated; each further one is twice as long.

    Raises:
        Broken: the address gave up, or refused.
        ChecksumMismatch: a file arrived whole, twice, and is not what it should be.
        DownloadFailed: there is not enough room, or the folder cannot be written.
    """
    import httpx2

    _check_room(files, folder)
    total = sum(file.size for file in files)
    # Compressed answers cannot be resumed: ask for the bytes as they are.
    every = {"Accept-Encoding": "identity", **headers}
    with httpx2.Client(headers=every, timeout=timeout_s, follow_redirects=True) as client:
        transfer = _Transfer(folder, client, pause_s)
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rerankd-fetch")
        try:
            largest_first = sorted(files, key=lambda file: -file.size)
            futures = {pool.submit(_fetch, file, transfer): file.name for file in largest_first}
            _watch(futures, lambda: report(Progress(transfer.count.total(), total)))
            return {name: future.result() for future, name in futures.items()}
        except OSError as error:
            raise unwritable(error) from error
        finally:
            transfer.stop.set()
            pool.shutdown(cancel_futures=True)


def _watch(futures: "Mapping[Future[Digest], str]", tell: Callable[[], None]) -> None:
    """Report until all are done; raise what the first to fail raised."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_REPORT_EVERY_S)
        for future in done:
            future.result()
        tell()


def _check_room(files: Sequence[RemoteFile], folder: Path) -> None:
    missing = sum(max(0, file.size - _size(folder / file.name) - _size(_part(folder / file.name))) for file in files)
    free = shutil.disk_usage(folder).free
    if missing + _SPARE_BYTES > free:
        raise DownloadFailed(
            f"the model needs {missing / 1e6:,.0f} MB more and {free / 1e6:,.0f} MB are free: free some disk space, or "
            "set models.store to a folder on a larger disk"
        )


def _fetch(file: RemoteFile, transfer: _Transfer) -> Digest:
    target = transfer.folder / file.name
    if _size(target) == file.size and target.is_file():  # renamed after it was verified
        transfer.count.done[file.name] = file.size
        return Digest(file.size, _sha256(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    for last in (False, True):
        _gather(file, _part(target), transfer)
        digest = _verified(file, _part(target))
        if digest:
            _part(target).replace(target)
            return digest
        # The part may be of another day, or of a mirror that is not to be trusted: once more, from the first byte.
        _part(target).unlink()
        if last:
            raise ChecksumMismatch(f"{file.name} is not the file that its hub describes (its checksum differs)")
    raise AssertionError


def _gather(file: RemoteFile, part: Path, transfer: _Transfer) -> None:
    """Fetch until the part is as long as the file."""
    attempts = 0
    if _size(part) > file.size:
        part.unlink()
    transfer.count.done[file.name] = _size(part)
    while (before := _size(part)) < file.size or not part.exists():
        try:
            _read_on(file, part, transfer)
            problem = f"ended after {_size(part):,} of {file.size:,} bytes of {file.name}"
            pause = 0.0
        except _Retry as retry:
            problem, pause = str(retry), retry.pause_s
        attempts = 0 if _size(part) > before else attempts + 1
        if _size(part) == file.size:
            return
        if attempts >= _ATTEMPTS:
            raise Broken(problem)
        pause = max(pause, transfer.pause_s * 2**attempts)
        if transfer.stop.wait(min(_LONGEST_PAUSE_S, pause)):
            raise Broken("stopped")


class _Retry(Exception):
    """An attempt failed, and another may not."""

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def _read_on(file: RemoteFile, part: Path, transfer: _Transfer) -> None:
    """Ask once for what is missing, and append what comes.

    Raises:
        Broken: a refusal that another attempt will not change.
        _Retry: anything else.
    """
    import httpx2

    have = _size(part)
    transfer.count.done[file.name] = have
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with transfer.client.stream("GET", file.url, headers=headers) as answer:
            if answer.status_code == 416:
                part.unlink(missing_ok=True)
                raise _Retry(f"answered 416 for {file.name}")
            _refuse(answer, file)
            goes_on = answer.status_code == 206 and _first_byte(answer) == have
            with part.open("ab" if goes_on else "wb") as stream:
                _copy(answer, stream.write, file, transfer, have if goes_on else 0)
                stream.flush()
                os.fsync(stream.fileno())
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise _Retry(said(error)) from error
    except httpx2.HTTPError as error:
        raise Broken(said(error)) from error


def _refuse(answer: "httpx2.Response", file: RemoteFile) -> None:
    if answer.status_code in {200, 206}:
        return
    what = f"answered {answer.status_code} {answer.reason_phrase} for {file.name}".rstrip()
    if answer.status_code in PASSING_STATUS:
        raise _Retry(what, _retry_after(answer))
    raise Broken(what)


def _copy(
    answer: "httpx2.Response", write: Callable[[bytes], int], file: RemoteFile, transfer: _Transfer, have: int
) -> None:
    for chunk in answer.iter_bytes():  # as it arrives: what was read before a break counts
        if transfer.stop.is_set():
            raise Broken("stopped")
        have += len(chunk)
        if have > file.size:
            raise Broken(f"sent more than the {file.size:,} bytes of {file.name}")
        write(chunk)
        transfer.count.done[file.name] = have


def _first_byte(answer: "httpx2.Response") -> int:
    told = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(told) if told.isdigit() else -1


def _retry_after(answer: "httpx2.Response") -> float:
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isdigit() else 0.0


def said(error: Exception) -> str:
    """Say in a few words what became of a connection: never an address, which the caller names."""
    import httpx2

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and isinstance(cause, Exception):
        causes.append(cause)
    reason = next((each.strerror for each in causes if isinstance(each, OSError) and each.strerror), "")
    match error:
        case httpx2.ConnectTimeout():
            return "no connection in time"
        case httpx2.TimeoutException():
            return "silent for too long"
        case httpx2.ProxyError():
            return f"the proxy refused: {error}"
        case httpx2.ConnectError():
            return f"cannot be reached ({reason or error})"
        case httpx2.TooManyRedirects():
            return "redirects in a circle"
        case _:
            return f"the connection broke ({reason or error})"


def _verified(file: RemoteFile, part: Path) -> Digest | None:
    """Return what the part is, if it is the file."""
    sha256 = _sha256(part)
    if file.sha256:
        return Digest(file.size, sha256) if sha256 == file.sha256.lower() else None
    if file.git_id:
        return Digest(file.size, sha256) if _git_id(part) == file.git_id.lower() else None
    return Digest(file.size, sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git_id(path: Path) -> str:
    """Name a file as git does: sha1 over a short header and the content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
