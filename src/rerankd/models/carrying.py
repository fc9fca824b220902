"""What goes into a bundle with a model: its files, its names, and the graph made of it."""

import hashlib
from pathlib import Path

from rerankd.convert.convert import can_convert
from rerankd.errors import ConfigError
from rerankd.models.loader import Loader, Report, graph_key, take_snapshot
from rerankd.registry.bundle import Model, digest_of
from rerankd.registry.resolve import Entry
from rerankd.sources.base import Access
from rerankd.sources.selection import wanted
from rerankd.sources.snapshots import Manifest, held


def carried(entry: Entry, loader: Loader, report: Report) -> Model:
    """Fetch a model, load it once (which converts it, and shows that it works), and gather what belongs to it.

    Raises:
        ConfigError: it ships inside the package: there is nothing to carry.
        ModelLoadError: it cannot be fetched or loaded.
    """
    if entry.reference.source == "bundled":
        raise ConfigError(f"{entry.id} ships inside the package: it is wherever rerankd is installed")
    folder = loader.fetch(entry, report)
    snapshot = take_snapshot(folder)
    engine = "onnx" if can_convert(snapshot) else "auto"
    Loader(loader.store, loader.access, engine=engine).load(entry, report).engine.close()
    manifest, revisions = _described(entry, folder, loader.reach)
    return Model(manifest, folder, revisions, loader.store.graphs(graph_key(snapshot, loader.store)))


def named(manifest: Manifest) -> str:
    """Write a carried model's name as `rerankd serve` takes it."""
    prefix = {"huggingface": "", "modelscope": "modelscope:", "bundle": "bundle:"}[manifest.source]
    return f"{prefix}{manifest.repository}"


def _described(entry: Entry, folder: Path, access: Access) -> tuple[Manifest, tuple[str, ...]]:
    """Describe a model's files, and name the revisions they are.

    What lies in the hub client's cache keeps its name and commit; a folder of one's own gets the model's id.
    """
    for known in held(access.store):
        if known.folder == folder:
            return known.manifest, known.revisions
    there = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    files = {file: digest_of(folder / file) for file in wanted(there, entry.id)}
    if entry.reference.source == "huggingface":
        return Manifest("huggingface", entry.reference.repository, folder.name, files), (entry.reference.revision,)
    content = "".join(f"{file} {digest.sha256}\n" for file, digest in files.items())
    return Manifest("bundle", entry.id, hashlib.sha256(content.encode()).hexdigest()[:40], files), ("",)
