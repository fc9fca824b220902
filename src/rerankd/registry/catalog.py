"""Cards: what is known of a model before its files are read.

A table of catalog.toml is a card; its name is the model's id (no "/" in it). Its keys:

    title, description, languages, licence, family, base, aliases    facts for people; "" is not known, or none
    model_type = "bert"        what its config.json says, where a family knows only some
    max_tokens                 the longest pair; absent: not known
    parameters_millions        its size
    active_millions            the same without the word table, of which a token reads one row: what a token costs
    precision                  advice
    quality = [{measure, figure, source}, ...]   published figures, each with its source
    facts_from                 where the other facts were looked up
    hf = "org/name"            the repository on the Hugging Face hub ...
    revision = "..."           ... and its tag or commit, where not the newest is meant
    modelscope = "org/name"    the repository on ModelScope ...
    modelscope_revision        ... and its revision there
    temperature, bias          a calibration: scores are the activation of raw / temperature + bias
    bundled = "name"           the folder of a model that ships inside the package

At least one of `hf`, `modelscope` and `bundled` is there. Repositories are names of the model, too. Known scores of a
card stand in golden.toml.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import cast

from rerankd.registry.golden import Golden, golden
from rerankd.sources.base import Reference
from rerankd.types import JsonObject, JsonValue

_PLACES = (
    ("bundled", "bundled", ""),
    ("hf", "huggingface", "revision"),
    ("modelscope", "modelscope", "modelscope_revision"),
)
"""A place's key in a card, the source that reads it, and the key of its revision."""


@dataclass(frozen=True, slots=True)
class Card:
    """One known model.

    `names` are all names that reach it, `id` first; `references` are the places that have its files, in the order in
    which they are asked; `quality` maps a data set or measure to its figures; `max_tokens` 0 is not known.
    """

    id: str
    title: str
    description: str
    languages: tuple[str, ...]
    licence: str
    family: str
    max_tokens: int
    references: tuple[Reference, ...]
    names: tuple[str, ...]
    base: str = ""
    quality: JsonObject = field(default_factory=dict[str, JsonValue])
    model_type: str = ""
    parameters_millions: float | None = None
    active_millions: float | None = None
    precision: str = ""
    facts_from: str = ""
    golden: tuple[Golden, ...] = ()
    temperature: float = 1.0
    bias: float = 0.0

    @property
    def source(self) -> Reference:
        """The first place to ask for its files."""
        return self.references[0]


@cache
def cards() -> Sequence[Card]:
    """Return every card, the bundled model first."""
    text = (resources.files("rerankd.registry") / "catalog.toml").read_text("utf-8")
    return read(text)


def read(text: str) -> tuple[Card, ...]:
    """Read the cards of a catalog in TOML."""
    return tuple(_card(name, cast("Mapping[str, JsonValue]", table)) for name, table in tomllib.loads(text).items())


def find(name: str) -> Card | None:
    """Return the card of a name, whatever its case; None when there is none."""
    wanted = name.casefold()
    return next((card for card in cards() if wanted in (known.casefold() for known in card.names)), None)


def _card(name: str, table: Mapping[str, JsonValue]) -> Card:
    references = tuple(_references(table))
    facts = _bundled_facts(references[0])
    repositories = (reference.repository for reference in references)
    return Card(
        id=name,
        title=str(table["title"]),
        description=str(table["description"]),
        languages=_texts(table["languages"]),
        licence=str(table["licence"]),
        family=str(table["family"]),
        max_tokens=int(cast("int", table.get("max_tokens", 0))),
        references=references,
        names=tuple(dict.fromkeys((name, *repositories, *_texts(table.get("aliases", ()))))),
        base=str(table.get("base", "")),
        quality=_published(table) or cast("JsonObject", facts.get("quality", {})),
        model_type=str(table.get("model_type", "")),
        parameters_millions=_millions(table, "parameters_millions"),
        active_millions=_millions(table, "active_millions"),
        precision=str(table.get("precision", "")),
        facts_from=str(table.get("facts_from", "")),
        golden=golden().get(name, ()),
        temperature=float(cast("float", table.get("temperature", 1.0))),
        bias=float(cast("float", table.get("bias", 0.0))),
    )


def _published(table: Mapping[str, JsonValue]) -> JsonObject:
    rows = cast("Sequence[Mapping[str, JsonValue]]", table.get("quality", ()))
    return {str(row["measure"]): {"figure": row["figure"], "source": row["source"]} for row in rows}


def _millions(table: Mapping[str, JsonValue], name: str) -> float | None:
    return float(cast("float", table[name])) if name in table else None


def _references(table: Mapping[str, JsonValue]) -> Iterator[Reference]:
    for key, source, revision in _PLACES:
        if key in table:
            yield Reference(source, str(table[key]), str(table.get(revision, "")))


def _bundled_facts(source: Reference) -> Mapping[str, JsonValue]:
    """A bundled model's measured quality stands in its own card.json, beside the weights it was measured on."""
    if source.source != "bundled":
        return {}
    file = resources.files("rerankd") / "bundled" / source.repository / "card.json"
    return cast("Mapping[str, JsonValue]", json.loads(file.read_text("utf-8"))) if file.is_file() else {}


def _texts(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(text) for text in cast("Sequence[JsonValue]", value))
