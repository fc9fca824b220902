"""Folders as people's tools lay them out."""

import json
from pathlib import Path

import pytest

from rerankd.errors import DownloadFailed
from rerankd.sources.base import Access, Reference
from rerankd.sources.local import SOURCE


def fetch(folder: Path) -> Path:
    return SOURCE.fetch(Reference("local", str(folder)), Access(folder, offline=True), lambda _: None)


def cached(folder: Path, *commits: str, main: str = "") -> Path:
    """Lay a repository out as the hub's client does."""
    repository = folder / "models--org--name"
    for commit in commits:
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "config.json").write_text("{}")
    if main:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(main)
    return repository


def test_a_folder_is_served_in_place(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert fetch(tmp_path) == tmp_path


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(DownloadFailed, match="is a file, not a folder"):
        fetch(file)


def test_of_a_hub_clients_cache_the_snapshot_of_main_is_served(tmp_path: Path) -> None:
    repository = cached(tmp_path, "aaa", "bbb", main="bbb")
    assert fetch(repository) == repository / "snapshots" / "bbb"


def test_of_a_hub_clients_cache_the_only_snapshot_is_served(tmp_path: Path) -> None:
    repository = cached(tmp_path, "aaa")
    assert fetch(repository) == repository / "snapshots" / "aaa"


def test_among_several_snapshots_none_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="give one of the folders in its `snapshots`"):
        fetch(cached(tmp_path, "aaa", "bbb"))


def test_of_older_sentence_transformers_the_transformers_folder_is_served(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "0_Transformer"}]))
    (tmp_path / "0_Transformer").mkdir()
    (tmp_path / "0_Transformer" / "config.json").write_text("{}")
    assert fetch(tmp_path) == tmp_path / "0_Transformer"


def test_a_module_outside_its_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    inner = tmp_path / "model"
    inner.mkdir()
    (inner / "modules.json").write_text(json.dumps([{"path": ".."}]))
    assert fetch(inner) == inner


def test_the_folder_that_was_meant_is_named(tmp_path: Path) -> None:
    (tmp_path / "bge").mkdir()
    (tmp_path / "bge" / "config.json").write_text("{}")
    with pytest.raises(DownloadFailed, match="but its 'bge' has: give that"):
        fetch(tmp_path)
