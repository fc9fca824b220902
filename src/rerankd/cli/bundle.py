"""`rerankd bundle`: models in one file, for machines without a network."""

from pathlib import Path

import click

from rerankd.cli.options import config_option, debug_option, json_option, open_loader, open_store, say_failures_once
from rerankd.cli.output import note, print_json
from rerankd.cli.progress import downloads, megabytes, progress_bar


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
@config_option
@json_option
@debug_option
@click.pass_context
def export_bundle(
    context: click.Context, models: tuple[str, ...], output: Path, config_file: Path | None, as_json: bool
) -> None:
    """Write MODELS to one file: weights, tokenizer, card, converted graph, checksums.

    Models that are not here are fetched first. The sha256 that is printed names the bundle; `rerankd bundle import
    --sha256` refuses any other.
    """
    from rerankd.models.carrying import carried
    from rerankd.registry import bundle as bundles
    from rerankd.registry.resolve import resolve

    say_failures_once(context)
    loader = open_loader(config_file)
    found: list[bundles.Model] = []
    for name in models:
        with progress_bar(name) as show:
            found.append(carried(resolve(name), loader, downloads(show)))
    with progress_bar(output.name) as report:
        digest = bundles.export(output, found, report)
    ids = [model.manifest.repository for model in found]
    size = output.stat().st_size
    if as_json:
        print_json({"file": output.name, "bytes": size, "sha256": digest, "models": ids})
        return
    note(f"{output.name}: {', '.join(ids)}, {megabytes(size)}")
    note(f"sha256 {digest}")


@bundle.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sha256", default="", metavar="HEX", help="What `rerankd bundle export` printed: refuse any other.")
@config_option
@json_option
@debug_option
@click.pass_context
def import_(context: click.Context, file: Path, sha256: str, config_file: Path | None, as_json: bool) -> None:
    """Check FILE and put its models into the store; `rerankd serve MODEL` then needs no network."""
    from rerankd.models.carrying import named
    from rerankd.registry import bundle as bundles

    say_failures_once(context)
    _, store, _ = open_store(config_file)
    with progress_bar(file.name) as report:
        manifests, digest = bundles.import_bundle(file, store, report, sha256=sha256)
    names = [named(manifest) for manifest in manifests]
    if as_json:
        print_json({"sha256": digest, "models": names})
        return
    note(f"sha256 {digest}")
    for name, manifest in zip(names, manifests, strict=True):
        note(f"{name}: {megabytes(manifest.size)}; serve it: rerankd serve {name}")
