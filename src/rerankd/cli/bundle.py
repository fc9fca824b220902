"""`rerankd bundle`: models in one file, for machines without a network."""

from collections.abc import Sequence
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
from rerankd.cli.progress import downloads, megabytes, progress_bar
from rerankd.types import JsonObject


@click.group(invoke_without_command=True)
@debug_option
@click.pass_context
def bundle(context: click.Context) -> None:
    """Carry models to machines without a network: export here, import there."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@bundle.command("export")
@click.argument("models", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="The bundle to write; an older one is replaced.")  # fmt: skip
@server_options()
@config_option
@json_option
@debug_option
@click.pass_context
def export_bundle(
    context: click.Context, *, models: tuple[str, ...], output: Path, url: str, api_key: str, config_file: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Write MODELS to one file: weights, tokenizer, card, converted graph, checksums.

    Models that are not here are fetched first. The sha256 that is printed names the bundle; `rerankd bundle import
    --sha256` refuses any other. With --url the models are the server's, and FILE is written here.
    """
    say_failures_once(context)
    result = _export_there(url, api_key, models, output) if url else _export_here(models, output, config_file)
    size = output.stat().st_size
    if as_json:
        print_json({"file": output.name, "bytes": size, **result})
        return
    note(f"{output.name}: {', '.join(cast('Sequence[str]', result['models']))}, {megabytes(size)}")
    note(f"sha256 {result['sha256']}")


def _export_there(url: str, api_key: str, models: Sequence[str], output: Path) -> JsonObject:
    from rerankd.cli.remote import export

    result = export(url, api_key, models, output)
    return {"sha256": result["sha256"], "models": result["models"]}


def _export_here(models: Sequence[str], output: Path, config_file: Path | None) -> JsonObject:
    from rerankd.models.carrying import carried
    from rerankd.registry import bundle as bundles
    from rerankd.registry.resolve import resolve

    loader = open_loader(config_file)
    found: list[bundles.Model] = []
    for name in models:
        with progress_bar(name) as show:
            found.append(carried(resolve(name), loader, downloads(show)))
    with progress_bar(output.name) as report:
        digest = bundles.export(output, found, report)
    return {"sha256": digest, "models": [model.manifest.repository for model in found]}


@bundle.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sha256", default="", metavar="HEX", help="What `rerankd bundle export` printed: refuse any other.")
@server_options()
@config_option
@json_option
@debug_option
@click.pass_context
def import_(
    context: click.Context, *, file: Path, sha256: str, url: str, api_key: str, config_file: Path | None, as_json: bool
) -> None:
    """Check FILE and put its models into the store; `rerankd serve MODEL` then needs no network.

    With --url FILE is sent to the server, which checks it and puts its models into its own store.
    """
    say_failures_once(context)
    if url:
        from rerankd.cli.remote import import_ as import_there

        result = import_there(url, api_key, file, sha256)
    else:
        result = _import_here(file, sha256, config_file)
    if as_json:
        print_json(result)
        return
    note(f"{file.name}: imported, {megabytes(cast('int', result['bytes']))}, sha256 {result['sha256']}")
    for name in cast("Sequence[str]", result["models"]):
        note(f"{name}: {'load it: rerankd load' if url else 'serve it: rerankd serve'} {name}")


def _import_here(file: Path, sha256: str, config_file: Path | None) -> JsonObject:
    from rerankd.models.carrying import named
    from rerankd.registry import bundle as bundles

    _, store, _ = open_store(config_file)
    with progress_bar(file.name) as report:
        manifests, digest = bundles.import_bundle(file, store, report, sha256=sha256)
    size = sum(manifest.size for manifest in manifests)
    return {"sha256": digest, "models": [named(manifest) for manifest in manifests], "bytes": size}
