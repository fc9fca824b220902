"""Cards: what is known of a model before its files are read."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import cast

from rerankd.sources.base import Reference
from rerankd.types import JsonObject, JsonValue


@dataclass(frozen=True, slots=True)
class Card:
    """One known model. `names` are all names that reach it, `id` first; `quality` maps a data set to its figures."""

    id: str
    title: str
    description: str
    languages: tuple[str, ...]
    licence: str
    family: str
    max_tokens: int
    source: Reference
    names: tuple[str, ...]
    base: str = ""
    quality: JsonObject = field(default_factory=dict[str, JsonValue])


@cache
def cards() -> Sequence[Card]:
    """Return every card, the bundled model first."""
    text = (resources.files("rerankd.registry") / "catalog.toml").read_text("utf-8")
    return tuple(_card(name, cast("Mapping[str, JsonValue]", table)) for name, table in tomllib.loads(text).items())


def find(name: str) -> Card | None:
    """Return the card of a name, whatever its case; None when there is none."""
    wanted = name.casefold()
    return next((card for card in cards() if wanted in (known.casefold() for known in card.names)), None)


def _card(name: str, table: Mapping[str, JsonValue]) -> Card:
    source = Reference(str(table["source"]), str(table["repository"]), str(table.get("revision", "")))
    facts = _bundled_facts(source)
    return Card(
        id=name,
        title=str(table["title"]),
        description=str(table["description"]),
        languages=_texts(table["languages"]),
        licence=str(table["licence"]),
        family=str(table["family"]),
        max_tokens=int(cast("int", table["max_tokens"])),
        source=source,
        names=(name, *_texts(table.get("aliases", ()))),
        base=str(table.get("base", "")),
        quality=cast("JsonObject", facts.get("quality", {})),
    )


def _bundled_facts(source: Reference) -> Mapping[str, JsonValue]:
    """A bundled model's measured quality stands in its own card.json, beside the weights it was measured on."""
    if source.source != "bundled":
        return {}
    file = resources.files("rerankd") / "bundled" / source.repository / "card.json"
    return cast("Mapping[str, JsonValue]", json.loads(file.read_text("utf-8"))) if file.is_file() else {}


def _texts(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(text) for text in cast("Sequence[JsonValue]", value))
