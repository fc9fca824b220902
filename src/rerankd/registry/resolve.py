"""A name as a person types it to the model that is meant."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from rerankd import plugins
from rerankd.errors import ConfigError
from rerankd.registry.catalog import Card, cards, find
from rerankd.registry.options import Options
from rerankd.sources.base import Reference, Source

_NO_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class Entry:
    """A model to serve: its id (without "/"), all its names, where its files are, and its card if it has one.

    `alternatives` are further places that have the same files, asked in order where `reference` cannot deliver.
    `options` are what is set for it alone.
    """

    id: str
    names: tuple[str, ...]
    reference: Reference
    card: Card | None = None
    alternatives: tuple[Reference, ...] = ()
    options: Options = _NO_OPTIONS


def resolve(name: str) -> Entry:
    """Find the model a name means: the catalog first, then whichever source the name is written for.

    `NAME=MODEL` serves a model under a name of one's own: BAAI/bge-reranker-v2-m3=./bge is reached by that name and by
    its last part, which is the id. `hf:org/name@revision` means that place and revision, whatever the catalog says.

    Raises:
        ConfigError: no catalog entry and no source; the message names what is known.
    """
    given, equals, model = name.partition("=")
    if equals and given and not Path(name).is_dir():  # a folder may have "=" in its name
        entry = resolve(model)
        id_ = given.rsplit("/", 1)[-1]
        if not id_:
            raise ConfigError(f"{name!r} names a model {given!r}: a name must not end in /")
        return replace(entry, id=id_, names=tuple(dict.fromkeys((id_, given))))
    card = find(name)
    if card and not Path(name).is_dir():
        return Entry(card.id, card.names, card.source, card, card.references[1:])
    reference = _refer(name)
    if reference:
        return _entry(reference)
    known = [card.id for card in cards()]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise ConfigError(
        f"model {name!r} is not known here (known: {', '.join(known)}).{hint} "
        "A model of a hub is written org/name or modelscope:org/name; a folder of your own as a path: ./my-model"
    )


def lasting(entry: Entry) -> str:
    """Write a name that means this model tomorrow, too, and from another folder: `resolve` reads it."""
    card, reference = entry.card, entry.reference
    at = f"@{reference.revision}" if reference.revision else ""
    if card and reference == card.source and entry.alternatives == card.references[1:]:
        model = card.id
    elif reference.source == "local":
        model = str(Path(reference.repository).expanduser().resolve())
    else:
        model = f"{_PREFIXES.get(reference.source, reference.source)}:{reference.repository}{at}"
    given = entry.names[-1]
    if (reference.source == "local" and "=" in model) or resolve(model).names != entry.names:
        return f"{given}={model}"
    return model


_PREFIXES = {"huggingface": "hf"}


def _refer(name: str) -> Reference | None:
    """Ask the sources; a folder that is there means itself, even where it is called like a repository."""
    sources = dict.fromkeys(("local", *plugins.names("sources")))
    found = (cast("Source", plugins.load("sources", source)).refer(name) for source in sources)
    return next((reference for reference in found if reference), None)


def _entry(reference: Reference) -> Entry:
    """Name a model after its place; a repository that the catalog knows keeps its id and its facts."""
    card = find(reference.repository)
    if card and reference.source in {known.source for known in card.references}:
        return Entry(card.id, card.names, reference, card)
    if reference.source == "local":
        id_ = Path(reference.repository).expanduser().resolve().name
        return Entry(id_, (id_,), reference)
    id_ = reference.repository.rsplit("/", 1)[-1]
    return Entry(id_, tuple(dict.fromkeys((id_, reference.repository))), reference)
