"""A name as a person types it to the model that is meant."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from rerankd import plugins
from rerankd.errors import ConfigError
from rerankd.registry.catalog import Card, cards, find
from rerankd.sources.base import Reference, Source


@dataclass(frozen=True, slots=True)
class Entry:
    """A model to serve: its id (without "/"), all its names, where its files are, and its card if it has one.

    `alternatives` are further places that have the same files, asked in order where `reference` cannot deliver.
    """

    id: str
    names: tuple[str, ...]
    reference: Reference
    card: Card | None = None
    alternatives: tuple[Reference, ...] = ()


def resolve(name: str) -> Entry:
    """Find the model a name means: the catalog first, then whichever source the name is written for.

    `NAME=MODEL` serves a model under a name of one's own: BAAI/bge-reranker-v2-m3=./bge is reached by that name and by
    its last part, which is the id.

    Raises:
        ConfigError: no catalog entry and no source; the message names what is known.
    """
    given, equals, model = name.partition("=")
    if equals and given:
        entry = resolve(model)
        id_ = given.rsplit("/", 1)[-1]
        if not id_:
            raise ConfigError(f"{name!r} names a model {given!r}: a name must not end in /")
        return replace(entry, id=id_, names=tuple(dict.fromkeys((id_, given))))
    card = find(name)
    if card:
        return Entry(card.id, card.names, card.source, card, card.references[1:])
    for source in plugins.names("sources"):
        if cast("Source", plugins.load("sources", source)).owns(name):
            id_ = Path(name).expanduser().resolve().name
            return Entry(id_, (id_,), Reference(source, name))
    known = [card.id for card in cards()]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise ConfigError(
        f"model {name!r} is not known here (known: {', '.join(known)}).{hint} "
        "To serve a model of your own, give its folder, written as a path: ./my-model"
    )
