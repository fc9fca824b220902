"""The Hugging Face hub and its mirrors: `org/name`, `hf:org/name`, `hf:org/name@revision`.

The hub's own client reads what a repository holds (addresses, tokens, kinds of refusal); see `transfer` for the bytes.
"""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rerankd import __version__
from rerankd.errors import DownloadFailed
from rerankd.sources import layout
from rerankd.sources.base import Access, Reference, Report
from rerankd.sources.selection import wanted
from rerankd.sources.snapshots import Bring, Manifest, Repository, fetched_beside, fetched_once
from rerankd.sources.transfer import PASSING_STATUS, Broken, Passing, RemoteFile, download, said
from rerankd.sources.trying import first_that_delivers, patiently, refuse_offline, without_credentials

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import ModelInfo

_PREFIX = "hf:"
_NAME = re.compile(r"(?P<repository>\w[\w.-]*(/\w[\w.-]*)?)(@(?P<revision>\w[\w./-]*))?")


class _HuggingFace:
    def refer(self, name: str) -> Reference | None:
        match = _NAME.fullmatch(name.removeprefix(_PREFIX))
        if not match or not (name.startswith(_PREFIX) or "/" in match["repository"]):
            return None
        return Reference("huggingface", match["repository"], match["revision"] or "")

    def find(self, reference: Reference, access: Access) -> Path | None:
        place = Repository.of(reference, access.store)
        ours = place.find(reference.revision)
        if ours or not access.hf_cache:
            return ours
        meant = place.meant(reference.revision)  # an update may have been taken back to what lies in the cache
        names = [name for name in (meant, reference.revision) if name or name is reference.revision]
        found = (layout.cached(reference.repository, name, access.hf_cache) for name in names)
        return next((folder for folder in found if folder), None)

    def fetch(self, reference: Reference, access: Access, report: Report) -> Path:
        if found := self.find(reference, access):
            return found
        refuse_offline(_written(reference), access)
        if not _NAME.fullmatch(reference.repository):
            raise DownloadFailed(f"{reference.repository!r} is no repository of the hub: write org/name")
        bring = _bring(reference, access, report)
        return fetched_once(reference, access, report, lambda: self.find(reference, access), bring)

    def newest(self, reference: Reference, access: Access, report: Report) -> Path:
        refuse_offline(_written(reference), access)
        return fetched_beside(reference, access, report, _bring(reference, access, report))


def _bring(reference: Reference, access: Access, report: Report) -> Bring:
    def bring(place: Repository) -> Path:
        fetch = partial(_fetch_from, reference=reference, access=access, place=place, report=report)
        return first_that_delivers(_written(reference), (access.hf_endpoint, *access.mirrors), fetch)

    return bring


def _fetch_from(address: str, *, reference: Reference, access: Access, place: Repository, report: Report) -> Path:
    """Fetch what a revision means at one address, unless it is here.

    Raises:
        Broken: the address does not deliver; the text says why.
        ChecksumMismatch, DownloadFailed, UnsupportedModel: see `Source.fetch`.
    """
    token = _token(address, access)
    info = patiently(lambda: _describe(address, reference, token, access.timeout_s))
    commit = str(info.sha)
    if there := _here(reference, commit, place, access):
        return there
    files = _files(address, reference.repository, info)
    headers = {"User-Agent": f"rerankd/{__version__}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    digests = download(files, place.partial(commit), report, headers=headers, timeout_s=access.timeout_s)
    shown = without_credentials(address)
    return place.publish(Manifest("huggingface", reference.repository, commit, digests, shown))


def _here(reference: Reference, commit: str, place: Repository, access: Access) -> Path | None:
    if place.folder(commit).is_dir():
        return place.folder(commit)
    return layout.cached(reference.repository, commit, access.hf_cache) if access.hf_cache else None


def _describe(address: str, reference: Reference, token: str, timeout_s: float) -> "ModelInfo":
    """Ask what the repository holds at this revision.

    Raises:
        Broken: the address does not say.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.hf_api import HfApi

    api = HfApi(endpoint=address.rstrip("/"), library_name="rerankd", library_version=__version__)
    try:
        info = api.model_info(
            reference.repository,
            revision=reference.revision or None,
            files_metadata=True,
            token=token or False,
            timeout=timeout_s,
        )
    except HfHubHTTPError as error:
        kind = Passing if error.response.status_code in PASSING_STATUS else Broken
        raise kind(_answered(error, reference, has_token=bool(token))) from error
    except httpx2.HTTPError as error:
        raise Broken(said(error)) from error
    except httpx2.InvalidURL as error:
        raise Broken(f"is no address ({error})") from error
    except OfflineModeIsEnabled as error:
        raise Broken("HF_HUB_OFFLINE was set when this program started") from error
    except HFValidationError as error:
        raise Broken(f"{reference.repository!r} is no name of a repository") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("answered what no hub answers (a proxy or a login page?)") from error
    if not info.sha or info.siblings is None:
        raise Broken("answered what no hub answers (no commit, no files)")
    return info


def _files(address: str, repository: str, info: "ModelInfo") -> list[RemoteFile]:
    """Choose the files, each under the commit that was described: a push in between changes nothing."""
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    files: list[RemoteFile] = []
    for name in wanted(siblings, repository):
        sibling = siblings[name]
        if sibling.size is None or not (sibling.lfs or sibling.blob_id):
            raise Broken(f"does not tell size and checksum of {name}")
        url = f"{address.rstrip('/')}/{repository}/resolve/{info.sha}/{quote(name)}"
        sha256 = sibling.lfs.sha256 if sibling.lfs else ""
        files.append(RemoteFile(name, url, sibling.size, sha256, "" if sha256 else str(sibling.blob_id)))
    return files


def _token(address: str, access: Access) -> str:
    """Show the token to the hub, and to mirrors only where that is wanted."""
    if address != access.hf_endpoint and not access.mirrors_get_token:
        return ""
    if access.hf_token:
        return access.hf_token
    from huggingface_hub import get_token

    return get_token() or ""


def _answered(error: "HfHubHTTPError", reference: Reference, *, has_token: bool) -> str:
    """Say what a refusal means."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = f"answered {error.response.status_code}"
    token = "the token given has no access" if has_token else "no token was sent: set models.hf_token or HF_TOKEN"
    match error:
        case GatedRepoError():
            return f"{status}: access must be asked for on the repository's page, and then a token given ({token})"
        case DisabledRepoError():
            return f"{status}: the repository is disabled"
        case RepositoryNotFoundError():
            return f"{status}: there is no such repository, or it is private ({token})"
        case RevisionNotFoundError():
            return f"{status}: there is no revision {reference.revision!r}"
        case _:
            return f"{status} {error.response.reason_phrase}".rstrip()


def _written(reference: Reference) -> str:
    at = f"@{reference.revision}" if reference.revision else ""
    return f"{reference.repository}{at}"


SOURCE = _HuggingFace()
