"""`rerankd pull` and `rerankd rm`: models onto this machine, and off it."""

from pathlib import Path

import click

from rerankd.cli.options import config_option, debug_option, json_option, open_store, say_failures_once
from rerankd.cli.output import note, print_json
from rerankd.cli.progress import megabytes, progress_bar
from rerankd.types import JsonValue


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
    from rerankd.models.inventory import size_of
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
        size = size_of(folder)
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
    from rerankd.models.removal import remove
    from rerankd.registry.resolve import resolve

    _, store, access = open_store(config_file)
    removed: list[JsonValue] = []
    for name in models:
        entry = resolve(name)
        freed = remove(entry, store, access)
        removed.append({"id": entry.id, "bytes": freed})
        if not as_json:
            note(f"{entry.id}: removed, {megabytes(freed)} are free again")
    if as_json:
        print_json({"models": removed})
