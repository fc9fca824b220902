"""ModelScope's protocol, as modelscope-hub 0.5 speaks it: lists of files, bodies, refusals."""

import json
import re
from collections.abc import Mapping
from typing import Any

from hub.server import Answer, Asked, Hub, sha256

_API = re.compile(r"/api/v1/models/(?P<repo>[^/]+/[^/]+)(?P<what>/repo/files|/repo|/revisions)?")


class ModelScopeHub(Hub):
    def answer(self, asked: Asked, query: Mapping[str, str]) -> Answer:
        if asked.path.startswith("/cdn/"):
            return self._body(asked.path.removeprefix("/cdn/"))
        match = _API.fullmatch(asked.path)
        repository = self.repositories.get(match["repo"]) if match else None
        if not match or repository is None:
            return _refusal(404, "get model err: record not found")
        if repository.token and repository.token != asked.headers.get("authorization", "").removeprefix("Bearer "):
            return _refusal(403, "no permission")
        if match["what"] == "/revisions":
            branches = [{"Revision": name, "CreatedAt": 0} for name in repository.refs]
            return _data({"RevisionMap": {"Branches": branches, "Tags": []}})
        commit = repository.commit(query.get("Revision", "master"))
        if commit is None:
            return _refusal(404, "revision not found")
        return self._read(asked, match, repository.commits[commit], query)

    def _read(self, asked: Asked, match: re.Match[str], files: Mapping[str, bytes], query: Mapping[str, str]) -> Answer:
        if match["what"] is None:
            return _data({"Name": match["repo"].split("/")[1], "Path": match["repo"].split("/")[0]})
        if match["what"] == "/repo/files":
            return _data({"Files": [*_folders(files), *(_entry(name, data) for name, data in files.items())]})
        return self._delivered(asked, files.get(query.get("FilePath", "")))

    def _delivered(self, asked: Asked, data: bytes | None) -> Answer:
        if data is None:
            return _refusal(404, "file not found")
        if asked.method == "HEAD":
            return Answer(200, data, {"ETag": f'"{sha256(data)}"'})
        return Answer(302, b"", {"Location": f"{self.cdn}/cdn/{sha256(data)}"})

    def _body(self, digest: str) -> Answer:
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for data in files.values():
                    if sha256(data) == digest:
                        return Answer(200, data, {"ETag": f'"{digest}"'})
        return Answer(404, b"not found")


def _refusal(status: int, message: str) -> Answer:
    return _json({"Code": 10010205001, "Message": message, "Success": False}, status)


def _data(value: Any) -> Answer:
    return _json({"Code": 200, "Data": value, "Message": "success", "Success": True})


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"Name": name.rsplit("/", 1)[-1], "Path": name, "Type": "blob", "Size": len(data), "Sha256": sha256(data),
            "Revision": "0" * 40, "IsLFS": len(data) > 1 << 20}  # fmt: skip


def _folders(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    folders = {name.rpartition("/")[0] for name in files if "/" in name}
    return [{"Name": name, "Path": name, "Type": "tree", "Size": 0, "Sha256": ""} for name in sorted(folders)]
