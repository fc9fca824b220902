"""`rerankd pull` and `rerankd rm`: models onto this machine, and off it."""

from pathlib import Path
from typing import cast

import click

from rerankd.cli.options import (
    config_option,
    debug_option,
    json_option,
    open_loader,
    open_store,
    say_failures_once,
    server_options,
)
from rerankd.cli.output import note, print_json
from rerankd.cli.progress import megabytes, progress_bar
from rerankd.types import JsonValue


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--convert", "convert_too", is_flag=True, help="Convert each too, as `rerankd convert` does.")
@server_options()
@config_option
@json_option
@debug_option
@click.pass_context
def pull(
    context: click.Context, *, models: tuple[str, ...], convert_too: bool, url: str, api_key: str,
    config_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Fetch MODELS: names from `rerankd list`, org/name, org/name@revision, modelscope:org/name.

    Only what is needed is fetched, each file is checked against the hub's checksum, and what was broken off goes on
    where it stopped. A model that is here already is left as it is, and nobody is asked. With --url all that happens on
    the server's machine, with its settings.
    """
    if url and convert_too:
        raise click.UsageError(
            "A server converts a model when it loads it (rerankd load): leave out --convert.", context
        )
    say_failures_once(context)
    pulled: list[JsonValue] = []
    for name in models:
        facts = _pulled_there(url, api_key, name) if url else _pulled_here(name, config_file)
        if not as_json:
            how = "was here already" if facts["was_here"] else "fetched"
            note(f"{facts['id']}: {how}, {megabytes(cast('int', facts['bytes']))}")
        if convert_too:
            facts |= _converted(name, config_file, quiet=as_json)
        pulled.append(facts)
    if as_json:
        print_json({"models": pulled})


def _pulled_there(url: str, api_key: str, name: str) -> dict[str, JsonValue]:
    from rerankd.cli.remote import tell

    result = tell(url, api_key, "pull", name)
    return {"id": result["model"], **{key: result[key] for key in ("names", "was_here", "bytes")}}


def _pulled_here(name: str, config_file: Path | None) -> dict[str, JsonValue]:
    from rerankd.models.inventory import size_of
    from rerankd.registry.obtain import find, obtain
    from rerankd.registry.resolve import resolve

    settings, _, access = open_store(config_file)
    entry = resolve(name)
    was_here = find(entry, access) is not None
    with progress_bar(entry.id) as report:
        folder = obtain(entry, access, report, prefer=settings.models.first_hub)
    return {"id": entry.id, "names": entry.names, "was_here": was_here, "bytes": size_of(folder)}


def _converted(name: str, config_file: Path | None, *, quiet: bool) -> dict[str, JsonValue]:
    from rerankd.cli.convert import precision_facts, prepare
    from rerankd.registry.resolve import resolve

    entry = resolve(name)
    prepared = prepare(entry, open_loader(config_file))
    if not quiet:
        note(f"{entry.id}: converted, runs in {prepared.graph.precision}: {prepared.why}")
    return precision_facts(prepared)


@click.command()
@click.argument("models", nargs=-1, required=True)
@server_options()
@config_option
@json_option
@debug_option
def rm(models: tuple[str, ...], url: str, api_key: str, config_file: Path | None, as_json: bool) -> None:
    """Delete the files of MODELS that `rerankd pull` or `rerankd bundle import` has put here.

    Folders of one's own, models inside the package and other programs' caches are left alone. With --url it is the
    server's store, and a model that is in its memory has to be unloaded first.
    """
    removed: list[JsonValue] = []
    for name in models:
        facts = _removed_there(url, api_key, name) if url else _removed_here(name, config_file)
        removed.append(facts)
        if not as_json:
            note(f"{facts['id']}: removed, {megabytes(cast('int', facts['bytes']))} are free again")
    if as_json:
        print_json({"models": removed})


def _removed_there(url: str, api_key: str, name: str) -> dict[str, JsonValue]:
    from rerankd.cli.remote import tell

    result = tell(url, api_key, "rm", name)
    return {"id": result["model"], "bytes": result["bytes"]}


def _removed_here(name: str, config_file: Path | None) -> dict[str, JsonValue]:
    from rerankd.models.removal import remove
    from rerankd.registry.resolve import resolve

    _, store, access = open_store(config_file)
    entry = resolve(name)
    return {"id": entry.id, "bytes": remove(entry, store, access)}
