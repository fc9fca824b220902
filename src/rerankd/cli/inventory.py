"""What is known of models, and which of them are on this machine."""

from collections.abc import Iterator
from pathlib import Path

from rerankd.registry.catalog import Card, cards
from rerankd.registry.obtain import find
from rerankd.registry.resolve import Entry
from rerankd.sources.base import Access
from rerankd.sources.snapshots import Held, held
from rerankd.types import JsonValue


def items(access: Access) -> Iterator[dict[str, JsonValue]]:
    """Describe every model of the catalog, then every other that was fetched; `here_bytes` is null where it is not."""
    for card in cards():
        folder = find(Entry(card.id, card.names, card.source, card, card.references[1:]), access)
        yield {**card_facts(card), "here_bytes": _size(folder) if folder else None}
    known = {reference.repository for card in cards() for reference in card.references}
    for each in held(access.store):
        if each.manifest.repository not in known:
            yield _held_facts(each)


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
        "max_tokens": card.max_tokens,
        "source": card.source.source,
        "base": card.base,
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
        "source": manifest.source,
        "base": "",
        "here_bytes": manifest.size,
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
