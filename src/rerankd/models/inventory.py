"""What is known of models, and which of them are on this machine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from rerankd.models.coverage import served
from rerankd.registry.catalog import Card, cards
from rerankd.registry.obtain import find
from rerankd.registry.resolve import Entry
from rerankd.registry.revisions import history, snapshot_id
from rerankd.sources.base import Access
from rerankd.sources.snapshots import Held, held
from rerankd.types import JsonValue


def items(access: Access) -> Iterator[dict[str, JsonValue]]:
    """Describe every model of the catalog, then every other that was fetched; `here_bytes` is null where it is not."""
    for card in cards():
        folder = find(Entry(card.id, card.names, card.source, card, card.references[1:]), access)
        yield {**card_facts(card), "here_bytes": size_of(folder) if folder else None}
    known = {reference.repository for card in cards() for reference in card.references}
    for each in held(access.store):
        if each.manifest.repository not in known:
            yield _held_facts(each)


def matches(item: Mapping[str, JsonValue], *, lang: str, max_millions: float | None, licence: str) -> bool:
    """Tell whether a model passes the filters; what is not known passes no filter that asks for it."""
    languages = {str(each).casefold() for each in cast("Sequence[JsonValue]", item["languages"])}
    size = item["parameters_millions"]
    return (
        (not lang or bool(languages & {lang.casefold(), "multilingual"}))
        and (max_millions is None or (isinstance(size, int | float) and size <= max_millions))
        and (not licence or licence.casefold() in str(item["licence"]).casefold())
    )


def card_facts(card: Card) -> dict[str, JsonValue]:
    """Return a card as a JSON object."""
    return {
        "id": card.id,
        "names": card.names,
        "title": card.title,
        "description": card.description,
        "languages": card.languages,
        "licence": card.licence,
        "family": card.family,
        "max_tokens": card.max_tokens or None,
        "parameters_millions": card.parameters_millions,
        "precision_advice": card.precision,
        "served": served(card),
        "source": card.source.source,
        "base": card.base,
        "facts_from": card.facts_from,
    }


def _held_facts(each: Held) -> dict[str, JsonValue]:
    """Describe a fetched model that no card describes."""
    manifest = each.manifest
    prefix = {"huggingface": "", "modelscope": "modelscope:"}.get(manifest.source, f"{manifest.source}:")
    named = [f"{prefix}{manifest.repository}@{revision}" for revision in each.revisions if revision]
    names = [f"{prefix}{manifest.repository}", *named]
    return {
        "id": names[0],
        "names": names,
        "title": manifest.repository,
        "description": f"revision {manifest.id[:12]}" + (f", from {manifest.address}" if manifest.address else ""),
        "languages": (),
        "licence": "",
        "family": "",
        "max_tokens": None,
        "parameters_millions": None,
        "precision_advice": "",
        "served": None,
        "source": manifest.source,
        "base": "",
        "facts_from": "",
        "here_bytes": manifest.size,
    }


def details(entry: Entry, access: Access) -> dict[str, JsonValue]:
    """Tell what is known of one model without loading it: card, files here with their sizes, changes of revision."""
    folder = find(entry, access)
    return {
        **(card_facts(entry.card) if entry.card else {"id": entry.id, "names": entry.names}),
        "revision": snapshot_id(folder),
        "here_bytes": size_of(folder) if folder else None,
        "files": files_of(folder) if folder else {},
        "history": changes(entry, access),
        "quality": entry.card.quality if entry.card else {},
    }


def changes(entry: Entry, access: Access) -> list[JsonValue]:
    """List the changes of the revision in use, the oldest first."""
    return [asdict(change) for change in history(entry, access)]


def files_of(folder: Path) -> dict[str, JsonValue]:
    """Name every file with its size in bytes."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def size_of(folder: Path) -> int:
    """Count a folder's bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
