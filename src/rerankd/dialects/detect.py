"""Which dialect reads a request: by prefix, by path, by the keys of the body; never by guessing what a value means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from rerankd import plugins
from rerankd.dialects.base import Dialect
from rerankd.errors import InvalidRequest
from rerankd.types import JsonObject, JsonValue

STANDARD = "standard"
_VERSION = re.compile(r"v\d+")
_KEY_OF_A_DIALECT = {"passages": "nim", "input": "mixedbread"}
_RULES = (
    ("key `texts`", "tei"),
    *((f"key `{key}`, no `documents`", name) for key, name in _KEY_OF_A_DIALECT.items()),
    ("keys `documents` and `raw_scores`", "infinity"),
    ("POST /rerank, no `model`, key `property`", "weaviate"),
    ("POST /rerank, no `model`", "simple"),
)
"""What `choose` does, in its order, for people."""
_ACCEPTED = "send `query` and `documents`"


def normalise(path: str) -> str:
    """Undo what clients do to a base URL: `//`, a trailing `/`, and doubled versions (`/v1/v2/x` is `/v2/x`)."""
    kept: list[str] = []
    for part in path.split("/"):
        if not part:
            continue
        if kept and _VERSION.fullmatch(part) and _VERSION.fullmatch(kept[-1]):
            kept.pop()
        kept.append(part)
    return "/" + "/".join(kept)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes, as far as its path tells: the path without prefix, and the dialect if that is certain."""

    path: str
    dialect: Dialect | None


class Directory:
    """The dialects that are installed, and the rules by which a request finds its own."""

    def __init__(self, dialects: Mapping[str, Dialect]) -> None:
        self.dialects = dialects
        self._owners: dict[str, str] = {}
        for name in sorted(dialects, key=lambda name: name != STANDARD):
            for path in _paths(dialects[name], prefixed=False):
                self._owners.setdefault(path, name)

    @property
    def standard(self) -> Dialect:
        """The dialect that answers where nothing asks for another."""
        return self.dialects[STANDARD]

    @property
    def paths(self) -> Sequence[str]:
        """Every path that takes a POST, prefixed ones last."""
        prefixed = [f"/{name}{path}".rstrip("/") for name in self.dialects for path in _paths(self.dialects[name])]
        return [*self._owners, *prefixed]

    def place(self, path: str) -> Place:
        """Read a normalised path. A prefix or a path that only one dialect has decides without a look at the body."""
        first, _, rest = path[1:].partition("/")
        if first in self.dialects:
            return Place("/" + rest, self.dialects[first])
        owner = self._owners.get(path, STANDARD)
        return Place(path, None if owner == STANDARD else self.dialects[owner])

    def choose(self, path: str, body: JsonValue) -> Dialect:
        """Pick the dialect of a body on a path that several share.

        Raises:
            InvalidRequest: its keys belong to two dialects, or to one that is not installed.
        """
        if not isinstance(body, Mapping):
            return self.standard
        keys = cast("JsonObject", body)
        if keys.get("texts") is not None:
            if keys.get("documents") is not None:
                raise InvalidRequest("`texts` and `documents` were both sent: send one of them", field="texts")
            return self._installed("tei", "texts")
        if keys.get("documents") is None:
            for key, name in _KEY_OF_A_DIALECT.items():
                if keys.get(key) is not None:
                    return self._installed(name, key)
        elif keys.get("raw_scores") is not None and "infinity" in self.dialects:
            return self.dialects["infinity"]
        if path == "/rerank" and not keys.get("model"):
            return self._without_model(keys)
        return self.standard

    def _without_model(self, keys: JsonObject) -> Dialect:
        if "property" in keys and "weaviate" in self.dialects:
            return self.dialects["weaviate"]
        return self.dialects.get("simple", self.standard)

    def rules(self) -> Sequence[tuple[str, str]]:
        """Say in words what `place` and `choose` do: (condition, dialect), the first that holds decides."""
        prefixes = [(f"path begins with /{name}/", name) for name in self.dialects if name != STANDARD]
        own = [(f"POST {path}", name) for path, name in self._owners.items() if name != STANDARD]
        keys = [(rule, name) for rule, name in _RULES if name in self.dialects]
        return [*prefixes, *own, *keys, ("anything else", STANDARD)]

    def _installed(self, name: str, key: str) -> Dialect:
        if name not in self.dialects:
            raise InvalidRequest(f"`{key}` is not a key of an API served here: {_ACCEPTED}", field=key)
        return self.dialects[name]


def load_all() -> Directory:
    """Import every dialect there is, ours and third parties'."""
    names = plugins.names("dialects")
    return Directory({name: cast("Dialect", plugins.load("dialects", name)) for name in names})


def _paths(dialect: Dialect, *, prefixed: bool = True) -> Sequence[str]:
    """List its paths without prefix; those that exist under the prefix only are left out with `prefixed` False."""
    routes = [route for route in dialect.routes if prefixed or not route.prefixed]
    return [path for route in routes for path in (route.path, *route.aliases)]
