"""ModelScope: `modelscope:org/name`, `modelscope:org/name@revision`. Two calls of its API, no package needed.

The calls are those of modelscope-hub 0.5 (`repo/files` lists, `repo?FilePath=` delivers, in `/api/v1/models/`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import cast
from urllib.parse import quote

from rerankd import __version__
from rerankd.errors import DownloadFailed
from rerankd.sources.base import Access, Reference, Report
from rerankd.sources.selection import wanted
from rerankd.sources.snapshots import Bring, Manifest, Repository, fetched_beside, fetched_once
from rerankd.sources.transfer import PASSING_STATUS, Broken, Passing, RemoteFile, download, said
from rerankd.sources.trying import first_that_delivers, patiently, refuse_offline, without_credentials
from rerankd.types import JsonValue

_PREFIX = "modelscope:"
_NAME = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")
_BRANCH = "master"


class _ModelScope:
    def refer(self, name: str) -> Reference | None:
        match = _NAME.fullmatch(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
        return Reference("modelscope", match["repository"], match["revision"] or "") if match else None

    def find(self, reference: Reference, access: Access) -> Path | None:
        return Repository.of(reference, access.store).find(reference.revision)

    def fetch(self, reference: Reference, access: Access, report: Report) -> Path:
        if found := self.find(reference, access):
            return found
        refuse_offline(_written(reference), access)
        if not _NAME.fullmatch(reference.repository):
            raise DownloadFailed(f"{reference.repository!r} is no repository of ModelScope: write modelscope:org/name")
        bring = _bring(reference, access, report)
        return fetched_once(reference, access, report, lambda: self.find(reference, access), bring)

    def newest(self, reference: Reference, access: Access, report: Report) -> Path:
        refuse_offline(_written(reference), access)
        return fetched_beside(reference, access, report, _bring(reference, access, report))


def _bring(reference: Reference, access: Access, report: Report) -> Bring:
    def bring(place: Repository) -> Path:
        fetch = partial(_fetch_from, reference=reference, access=access, place=place, report=report)
        return first_that_delivers(_written(reference), (access.modelscope_endpoint,), fetch)

    return bring


def _fetch_from(address: str, *, reference: Reference, access: Access, place: Repository, report: Report) -> Path:
    """Fetch a repository; see `huggingface`."""
    headers = {"User-Agent": f"rerankd/{__version__}"}
    if access.modelscope_token:
        # Its client sends both: older parts of the API know the cookie only.
        headers["Authorization"] = f"Bearer {access.modelscope_token}"
        headers["Cookie"] = f"m_session_id={access.modelscope_token}"
    base = f"{address.rstrip('/')}/api/v1/models/{reference.repository}/repo"
    revision = quote(reference.revision or _BRANCH, safe="")
    listed = patiently(lambda: _listed(f"{base}/files?Revision={revision}&Recursive=True", headers, access.timeout_s))
    files: list[RemoteFile] = []
    for name in wanted(listed, reference.repository):
        size, digest = listed[name]
        files.append(RemoteFile(name, f"{base}?Revision={revision}&FilePath={quote(name, safe='')}", size, digest))
    # There is no commit to name the snapshot by: its content does.
    content = json.dumps([[file.name, file.size, file.sha256] for file in files])
    snapshot_id = sha256(content.encode()).hexdigest()[:40]
    if place.folder(snapshot_id).is_dir():
        return place.folder(snapshot_id)
    digests = download(files, place.partial(snapshot_id), report, headers=headers, timeout_s=access.timeout_s)
    shown = without_credentials(address)
    return place.publish(Manifest("modelscope", reference.repository, snapshot_id, digests, shown))


def _listed(url: str, headers: Mapping[str, str], timeout_s: float) -> dict[str, tuple[int, str]]:
    """Ask for every file's size and sha256.

    Raises:
        Broken: the address does not say.
    """
    import httpx2

    try:
        answer = httpx2.get(url, headers=dict(headers), timeout=timeout_s, follow_redirects=True)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Broken(said(error)) from error
    if answer.status_code != 200:
        kind = Passing if answer.status_code in PASSING_STATUS else Broken
        raise kind(f"answered {answer.status_code}: {_meaning(answer.status_code, answer.text)}")
    try:
        body = cast("Mapping[str, JsonValue]", answer.json())
        data = cast("Mapping[str, JsonValue]", body["Data"])
        entries = cast("Sequence[Mapping[str, JsonValue]]", data["Files"])
        return {
            str(entry["Path"]): (int(cast("int", entry["Size"])), str(entry["Sha256"]))
            for entry in entries
            if entry["Type"] != "tree"
        }
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("answered what ModelScope does not answer (a proxy or a login page?)") from error


def _written(reference: Reference) -> str:
    return f"{_PREFIX}{reference.repository}" + (f"@{reference.revision}" if reference.revision else "")


def _meaning(status: int, body: str) -> str:
    match status:
        case 401 | 403:
            return "the repository is private: set models.modelscope_token"
        case 404:
            return "there is no such repository or revision, or it is private (models.modelscope_token)"
        case _:
            return " ".join(body.split())[:120] or "no reason given"


SOURCE = _ModelScope()
