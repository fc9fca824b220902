"""What each client wants pasted, and the request it makes of it: data from recipes.toml, filled in for one server."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, cast

from rerankd.errors import ConfigError
from rerankd.types import JsonObject, JsonValue

Body = Literal["standard", "tei", "tei_documents", "simple", "weaviate", "infinity", "voyage"]
KeyUse = Literal["optional", "required", "never"]


@dataclass(frozen=True, slots=True)
class Way:
    """One provider, class or prefix of a client. See the head of recipes.toml for what each field means."""

    name: str
    url: str
    then: str
    root: str
    full: bool
    body: Body
    gets: tuple[str, ...]
    key: KeyUse
    timeout_s: float
    paste: tuple[tuple[str, str], ...]
    code: str
    notes: tuple[str, ...]

    def pasted(self, base: str) -> str:
        """Return the URL to paste for a server at `base`, an address without a trailing "/"."""
        return base + self.url

    def posts_to(self, pasted: str) -> str:
        """Return the URL that the client makes of the pasted one."""
        if self.full and "/rerank" in pasted:
            return pasted
        if self.root:
            scheme, _, rest = pasted.partition("://")
            return f"{scheme}://{rest.partition('/')[0]}{self.root}"
        return pasted.rstrip("/") + self.then if self.then else pasted

    def filled(self, base: str, model: str, key: str) -> "Filled":
        """Return the values to paste and the code, for a server at `base`."""
        values = {"{url}": self.pasted(base), "{base}": base, "{model}": model, "{key}": key}
        return Filled(tuple((label, _fill(text, values)) for label, text in self.paste), _fill(self.code, values))


@dataclass(frozen=True, slots=True)
class Filled:
    """Values by label, in the order of the client's form, and a snippet of code; either may be empty."""

    values: tuple[tuple[str, str], ...]
    code: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One client. `page` is its page in docs/how-to; `ways` are its ways to a reranker, the best first."""

    id: str
    title: str
    in_container: bool
    page: str
    model_holds: str
    notes: tuple[str, ...]
    ways: tuple[Way, ...]


@cache
def recipes() -> Mapping[str, Recipe]:
    """Return every client by its id, in the order of the file."""
    text = (resources.files("rerankd.connect") / "recipes.toml").read_text("utf-8")
    return {name: _recipe(name, cast("JsonObject", table)) for name, table in tomllib.loads(text).items()}


def find(name: str) -> Recipe:
    """Return a client by its id, as people type it ("Open WebUI", "open_webui").

    Raises:
        ConfigError: there is none of that name; the message lists those that exist.
    """
    known = {_letters(each): recipe for recipe in recipes().values() for each in (recipe.id, recipe.title)}
    found = known.get(_letters(name))
    if found is not None:
        return found
    close = difflib.get_close_matches(_letters(name), known, n=1, cutoff=0.6)
    hint = f"did you mean {known[close[0]].id}? " if close else ""
    raise ConfigError(f"no recipe for a client {name!r}: {hint}There are: {', '.join(recipes())}")


def find_way(recipe: Recipe, name: str) -> Way:
    """Return one of a client's ways by its name; its first for "".

    Raises:
        ConfigError: it has none of that name; the message lists those it has.
    """
    for way in recipe.ways:
        if not name or _letters(way.name) == _letters(name):
            return way
    ways = ", ".join(repr(way.name) for way in recipe.ways)
    raise ConfigError(f"{recipe.title} has no way {name!r}: there are {ways}")


def _recipe(name: str, table: JsonObject) -> Recipe:
    return Recipe(
        id=name,
        title=str(table["title"]),
        in_container=table["lives"] == "container",
        page=str(table["page"]),
        model_holds=str(table.get("model_holds", "")),
        notes=_texts(table.get("notes", ())),
        ways=tuple(_way(way) for way in cast("Sequence[JsonObject]", table["ways"])),
    )


def _way(table: JsonObject) -> Way:
    pairs = cast("Sequence[Sequence[JsonValue]]", table.get("paste", ()))
    return Way(
        name=str(table["name"]),
        url=str(table["url"]),
        then=str(table.get("then", "")),
        root=str(table.get("root", "")),
        full=bool(table.get("full", False)),
        body=cast("Body", table["body"]),
        gets=_texts(table.get("gets", ())),
        key=cast("KeyUse", table["key"]),
        timeout_s=float(cast("float", table["timeout_s"])),
        paste=tuple((str(label), str(value)) for label, value in pairs),
        code=str(table.get("code", "")).strip(),
        notes=_texts(table.get("notes", ())),
    )


def _texts(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(text) for text in cast("Sequence[JsonValue]", value))


def _fill(text: str, values: Mapping[str, str]) -> str:
    # Not str.format: snippets hold braces of their own.
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _letters(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())
