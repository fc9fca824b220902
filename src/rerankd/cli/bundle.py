"""`rerankd bundle`: models in one file, for machines without a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rerankd.cli.options import config_option, debug_option, json_option, open_store, say_failures_once
from rerankd.cli.output import note, print_json
from rerankd.cli.progress import megabytes, progress_bar

if TYPE_CHECKING:
    from rerankd.registry.bundle import Model
    from rerankd.registry.resolve import Entry
    from rerankd.registry.store import Store
    from rerankd.settings import Settings
    from rerankd.sources.base import Access
    from rerankd.sources.snapshots import Manifest


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
    from rerankd.registry import bundle as bundles

    say_failures_once(context)
    settings, store, access = open_store(config_file)
    carried = [_carried(name, settings, store, access) for name in models]
    with progress_bar(output.name) as report:
        digest = bundles.export(output, carried, report)
    ids = [model.manifest.repository for model in carried]
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
    from rerankd.registry import bundle as bundles

    say_failures_once(context)
    _, store, _ = open_store(config_file)
    with progress_bar(file.name) as report:
        manifests, digest = bundles.import_bundle(file, store, report, sha256=sha256)
    names = [_name(manifest) for manifest in manifests]
    if as_json:
        print_json({"sha256": digest, "models": names})
        return
    note(f"sha256 {digest}")
    for name, manifest in zip(names, manifests, strict=True):
        note(f"{name}: {megabytes(manifest.size)}; serve it: rerankd serve {name}")


def _name(manifest: "Manifest") -> str:
    """Write a model's name as `rerankd serve` takes it."""
    prefix = {"huggingface": "", "modelscope": "modelscope:", "bundle": "bundle:"}[manifest.source]
    return f"{prefix}{manifest.repository}"


def _carried(name: str, settings: "Settings", store: "Store", access: "Access") -> "Model":
    """Fetch a model, load it once (which converts it, and shows that it works), and gather what belongs to it.

    Raises:
        ConfigError: it ships inside the package: there is nothing to carry.
        ModelLoadError: it cannot be fetched or loaded.
    """
    from rerankd.convert.convert import can_convert
    from rerankd.errors import ConfigError
    from rerankd.models.loader import Loader, graph_key, take_snapshot
    from rerankd.registry.bundle import Model
    from rerankd.registry.obtain import obtain
    from rerankd.registry.resolve import resolve

    entry = resolve(name)
    if entry.reference.source == "bundled":
        raise ConfigError(f"{entry.id} ships inside the package: it is wherever rerankd is installed")
    with progress_bar(entry.id) as report:
        folder = obtain(entry, access, report, prefer=settings.models.first_hub)
    snapshot = take_snapshot(folder)
    engine = "onnx" if can_convert(snapshot) else "auto"
    Loader(store, access, engine=engine).load(entry, lambda _: None).engine.close()
    manifest, revisions = _described(entry, folder, access)
    return Model(manifest, folder, revisions, store.graphs(graph_key(snapshot, store)))


def _described(entry: "Entry", folder: Path, access: "Access") -> "tuple[Manifest, tuple[str, ...]]":
    """Describe a model's files, and name the revisions they are.

    What lies in the hub client's cache keeps its name and commit; a folder of one's own gets the model's id.
    """
    import hashlib

    from rerankd.registry.bundle import digest_of
    from rerankd.sources.selection import wanted
    from rerankd.sources.snapshots import Manifest, held

    for known in held(access.store):
        if known.folder == folder:
            return known.manifest, known.revisions
    there = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    files = {file: digest_of(folder / file) for file in wanted(there, entry.id)}
    if entry.reference.source == "huggingface":
        return Manifest("huggingface", entry.reference.repository, folder.name, files), (entry.reference.revision,)
    content = "".join(f"{file} {digest.sha256}\n" for file, digest in files.items())
    return Manifest("bundle", entry.id, hashlib.sha256(content.encode()).hexdigest()[:40], files), ("",)
