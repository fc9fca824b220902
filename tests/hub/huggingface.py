"""The Hugging Face hub's protocol, as huggingface_hub 2.4 speaks it: metadata, resolve, CDN, kinds of refusal."""

import json
import re
from collections.abc import Mapping
from typing import Any

from hub.server import LARGE, Answer, Asked, Hub, Repository, git_id, sha256

_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+?)(/revision/(?P<revision>.+)|/tree/(?P<tree>[^?]+))?")
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class HuggingFaceHub(Hub):
    """`xet` adds the headers that make its own client fetch from xet storage, which does not exist here."""

    def __init__(self, *, xet: bool = False) -> None:
        super().__init__()
        self._xet = xet

    def answer(self, asked: Asked, query: Mapping[str, str]) -> Answer:
        if asked.path.startswith("/cdn/"):
            return self._cdn(asked)
        if match := _API.fullmatch(asked.path):
            return self._described(asked, match)
        if match := _RESOLVE.fullmatch(asked.path):
            return self._resolved(asked, match)
        return Answer(404, b"not found")

    def _described(self, asked: Asked, match: re.Match[str]) -> Answer:
        repository = self._open(asked, match["repo"])
        if isinstance(repository, Answer):
            return repository
        commit = repository.commit(match["revision"] or match["tree"] or "main")
        if commit is None:
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {match['revision']}")
        files = repository.commits[commit]
        if match["tree"]:
            return _json([_entry(name, data) for name, data in files.items()])
        siblings = [_sibling(name, data) for name, data in files.items()]
        return _json({"id": match["repo"], "modelId": match["repo"], "sha": commit, "private": bool(repository.token),
                      "gated": "auto" if repository.gated else False, "tags": [], "siblings": siblings})  # fmt: skip

    def _resolved(self, asked: Asked, match: re.Match[str]) -> Answer:
        repository = self._open(asked, match["repo"])
        if isinstance(repository, Answer):
            return repository
        commit = repository.commit(match["revision"])
        if commit is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        data = repository.commits[commit].get(match["file"])
        if data is None:
            return _refusal(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_id(data)}"'}
        if len(data) < LARGE:
            return Answer(200, data, headers)
        headers |= {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
        headers["Location"] = f"{self.cdn}/cdn/{sha256(data)}"
        if self._xet:
            link = f'<{self.url}/api/models/{match["repo"]}/xet-read-token/{commit}>; rel="xet-auth"'
            headers |= {"X-Xet-Hash": sha256(data), "Link": link}
        return Answer(302, b"", headers)

    def _cdn(self, asked: Asked) -> Answer:
        if "authorization" in asked.headers:
            return Answer(400, b"Only one auth mechanism allowed")  # as S3 answers to a token beside its signature
        digest = asked.path.removeprefix("/cdn/")
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for data in files.values():
                    if sha256(data) == digest:
                        return Answer(200, data, {"ETag": f'"{digest}"'})
        return Answer(404, b"not found")

    def _open(self, asked: Asked, name: str) -> Repository | Answer:
        repository = self.repositories.get(name)
        given = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if repository is None:
            return _refusal(404 if given else 401, "RepoNotFound", "Repository not found")
        if repository.token and given != repository.token:
            if repository.gated:
                why = f"Access to model {name} is restricted. You must be authenticated to access it."
                return _refusal(403 if given else 401, "GatedRepo", why)
            return _refusal(404 if given else 401, "RepoNotFound", "Repository not found")
        return repository


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8"})


def _refusal(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"error": message}).encode()
    return Answer(status, body, {"X-Error-Code": code, "X-Error-Message": message})


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_id(data)}
    if len(data) >= LARGE:
        sibling["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
    return sibling


def _entry(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": git_id(data)}
    if len(data) >= LARGE:
        entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
    return entry
