"""How people's tools lay models out on disk: a plain folder, the hub client's cache, sentence-transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from rerankd.types import JsonValue

_INDEX = "model.safetensors.index.json"
_ONNX = ("onnx/model.onnx", "model.onnx")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "*.model", "merges.txt")


def cached(repository: str, revision: str, cache: Path) -> Path | None:
    """Find a repository's snapshot in a cache of the hub's client (`models--org--name/snapshots/COMMIT`), if whole."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = snapshot_of(folder, revision) if folder.is_dir() else None
    return snapshot if snapshot and is_whole(snapshot) else None


def snapshot_of(folder: Path, revision: str = "") -> Path | None:
    """Choose the snapshot of one repository of such a cache: a revision's, else `main`'s, else the only one there."""
    snapshots = folder / "snapshots"
    ref = folder / "refs" / (revision or "main")
    if ref.is_file():
        named = snapshots / ref.read_text("utf-8").strip()
        return named if named.is_dir() else None
    if revision:
        return snapshots / revision if (snapshots / revision).is_dir() else None
    there = [each for each in snapshots.iterdir() if each.is_dir()] if snapshots.is_dir() else []
    return there[0] if len(there) == 1 else None


def is_whole(folder: Path) -> bool:
    """Tell whether configuration, tokenizer and all weights are there: other programs often fetch only a part."""
    if not (folder / "config.json").is_file() or not any(any(folder.glob(name)) for name in _TOKENIZERS):
        return False
    if (folder / _INDEX).is_file():
        return all((folder / shard).is_file() for shard in shards(folder / _INDEX))
    return (folder / "model.safetensors").is_file() or any((folder / name).is_file() for name in _ONNX)


def shards(index: Path) -> frozenset[str]:
    """Name the files of weights that an index lists; none where it cannot be read."""
    try:
        table = cast("JsonValue", json.loads(index.read_text("utf-8")))
        entries = table.get("weight_map") if isinstance(table, dict) else None
        return frozenset(str(name) for name in entries.values()) if isinstance(entries, Mapping) else frozenset()
    except (OSError, ValueError):
        return frozenset()


def transformer_of(folder: Path) -> Path | None:
    """Find the network's own folder where older sentence-transformers put it: `0_Transformer`, as modules.json says."""
    try:
        modules = cast("JsonValue", json.loads((folder / "modules.json").read_text("utf-8")))
    except (OSError, ValueError):
        return None
    first = modules[0] if isinstance(modules, list) and modules else None
    path = first.get("path") if isinstance(first, dict) else None
    if not isinstance(path, str) or not path or ".." in Path(path).parts or Path(path).is_absolute():
        return None
    return folder / path if (folder / path / "config.json").is_file() else None
