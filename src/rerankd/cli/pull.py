"""`rerankd pull` and `rerankd rm`: models onto this machine, and off it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import config_option, debug_option, json_option, open_store, say_failures_once
from rerankd.cli.output import note, print_json
from rerankd.cli.progress import megabytes, progress_bar
from rerankd.types import JsonValue

if TYPE_CHECKING:
    from rerankd.registry.resolve import Entry
    from rerankd.registry.store import Store
    from rerankd.sources.base import Access


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--convert", "convert_too", is_flag=True, help="Convert each too, as `rerankd convert` does.")
@config_option
@json_option
@debug_option
@click.pass_context
def pull(
    context: click.Context, *, models: tuple[str, ...], convert_too: bool, config_file: Path | None, as_json: bool
) -> None:
    """Fetch MODELS: names from `rerankd list`, org/name, org/name@revision, modelscope:org/name.

    Only what is needed is fetched, each file is checked against the hub's checksum, and what was broken off goes on
    where it stopped. A model that is here already is left as it is, and nobody is asked.
    """
    from rerankd.assembly import make_loader
    from rerankd.cli.convert import precision_facts, prepare
    from rerankd.registry.obtain import find, obtain
    from rerankd.registry.resolve import resolve

    say_failures_once(context)
    settings, _, access = open_store(config_file)
    pulled: list[JsonValue] = []
    for name in models:
        entry = resolve(name)
        was_here = find(entry, access) is not None
        with progress_bar(entry.id) as report:
            folder = obtain(entry, access, report, prefer=settings.models.first_hub)
        size = _size(folder)
        facts: dict[str, JsonValue] = {"id": entry.id, "names": entry.names, "was_here": was_here, "bytes": size}
        if not as_json:
            note(f"{entry.id}: {'was here already' if was_here else 'fetched'}, {megabytes(size)}")
        if convert_too:
            prepared = prepare(entry, make_loader(settings))
            facts |= precision_facts(prepared)
            if not as_json:
                note(f"{entry.id}: converted, runs in {prepared.graph.precision}: {prepared.why}")
        pulled.append(facts)
    if as_json:
        print_json({"models": pulled})


@click.command()
@click.argument("models", nargs=-1, required=True)
@config_option
@json_option
@debug_option
def rm(models: tuple[str, ...], config_file: Path | None, as_json: bool) -> None:
    """Delete the files of MODELS that `rerankd pull` or `rerankd bundle import` has put here.

    Folders of one's own, models inside the package and other programs' caches are left alone.
    """
    from rerankd.registry.resolve import resolve

    _, store, access = open_store(config_file)
    removed: list[JsonValue] = []
    for name in models:
        entry = resolve(name)
        freed = _remove(entry, store, access)
        removed.append({"id": entry.id, "bytes": freed})
        if not as_json:
            note(f"{entry.id}: removed, {megabytes(freed)} are free again")
    if as_json:
        print_json({"models": removed})


def _remove(entry: "Entry", store: "Store", access: "Access") -> int:
    """Delete a model's files and the graphs made of them; return the bytes.

    Raises:
        DownloadFailed: it is not here, or is nothing that was fetched.
    """
    from rerankd.errors import DownloadFailed
    from rerankd.models.loader import graph_key, take_snapshot
    from rerankd.sources.snapshots import Repository

    references = (entry.reference, *entry.alternatives)
    places = [Repository.of(reference, access.store) for reference in references if reference.source in _FETCHED]
    here = [(place, held) for place in places for held in place.held()]
    if not here and not any(place.partial_bytes() for place in places):
        raise DownloadFailed(
            f"model {entry.id!r} has not been fetched to this store: there is nothing to remove (`rerankd list` shows "
            "what is here)"
        )
    freed = sum(store.forget(graph_key(take_snapshot(held.folder), store)) for _, held in here)
    return freed + sum(place.remove() for place in places)


_FETCHED = frozenset({"huggingface", "modelscope", "bundle"})


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
