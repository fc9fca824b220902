"""Bundles: everything arrives, or nothing, and nothing that was changed."""

import io
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.server import files_of
from rerankd.errors import ChecksumMismatch, ConfigError
from rerankd.registry.bundle import Model, digest_of, export, import_bundle
from rerankd.registry.store import Store
from rerankd.sources.base import Access, Reference
from rerankd.sources.huggingface import SOURCE
from rerankd.sources.snapshots import Manifest
from rerankd.types import Progress

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "2_Dense/config.json": b"{}"}
REFERENCE = Reference("huggingface", "example/tiny")
KEY = "0123abcd-0.1.0"


def quiet(_: Progress) -> None:
    return


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder, graph = tmp_path / "model", tmp_path / "graph"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    graph.mkdir()
    (graph / "model.onnx").write_bytes(b"graph")
    files = {name: digest_of(folder / name) for name in FILES}
    manifest = Manifest("huggingface", "example/tiny", "c0ffee", files, "https://hub.example")
    export(tmp_path / "b.tar", [Model(manifest, folder, ("", "v1"), {KEY: graph})], quiet)
    return tmp_path / "b.tar"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def found(store: Store, revision: str = "") -> Path | None:
    reference = Reference("huggingface", "example/tiny", revision)
    return SOURCE.find(reference, Access(store.root, offline=True))


def rewritten(bundle: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """Write the bundle again, each member as `change` returns it."""
    other = bundle.with_name("changed.tar")
    with tarfile.open(bundle) as old, tarfile.open(other, "w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream
            changed = change(member.name, stream.read())
            if changed:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))
    return other


def with_contents(bundle: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "rerankd-bundle.json":
            table = json.loads(data)
            edit(table)
            data = json.dumps(table).encode()
        return name, data

    return rewritten(bundle, change)


def test_what_was_exported_is_imported_under_every_name_it_had(bundle: Path, store: Store) -> None:
    told: list[Progress] = []
    manifests, _ = import_bundle(bundle, store, told.append)
    folder = found(store)
    assert folder
    assert files_of(folder) == FILES
    assert found(store, "v1") == found(store, "c0ffee") == folder
    assert manifests[0].repository == "example/tiny"
    assert (store.graphs("0123abcd")[KEY] / "model.onnx").read_bytes() == b"graph"
    assert told[-1].done_bytes == told[-1].total_bytes


def test_importing_twice_changes_nothing(bundle: Path, store: Store) -> None:
    assert import_bundle(bundle, store, quiet) == import_bundle(bundle, store, quiet)
    assert files_of(found(store) or Path()) == FILES


def test_the_same_models_make_the_same_bundle(bundle: Path, store: Store, tmp_path: Path) -> None:
    manifests, digest = import_bundle(bundle, store, quiet)
    folder = found(store)
    assert folder
    again = export(tmp_path / "c.tar", [Model(manifests[0], folder, ("", "v1"), store.graphs(KEY))], quiet)
    assert again == digest
    assert (tmp_path / "c.tar").read_bytes() == bundle.read_bytes()


def test_a_bundle_is_known_by_its_sha256(bundle: Path, store: Store) -> None:
    with pytest.raises(ChecksumMismatch, match="not the one that was expected"):
        import_bundle(bundle, store, quiet, sha256="0" * 64)
    _, digest = import_bundle(bundle, store, quiet)
    import_bundle(bundle, store, quiet, sha256=digest.upper())


def refused(bundle: Path, store: Store) -> str:
    with pytest.raises((ChecksumMismatch, ConfigError)) as failure:
        import_bundle(bundle, store, quiet)
    assert found(store) is None, "nothing of a refused bundle is served"
    assert not store.graphs("")
    assert not (store.root / "importing").exists()
    assert str(store.root.parent) not in str(failure.value)
    return str(failure.value)


def test_one_changed_byte_is_detected_wherever_it_is(bundle: Path, store: Store) -> None:
    data = bytearray(bundle.read_bytes())
    with tarfile.open(bundle) as tar:
        places = [member.offset_data for member in tar if member.name != "rerankd-bundle.json"]
    for place in places:
        data[place] ^= 1
        changed = bundle.with_name("changed.tar")
        changed.write_bytes(data)
        assert "checksum" in refused(changed, store)
        data[place] ^= 1


def test_a_bundle_that_breaks_off_is_refused(bundle: Path, store: Store) -> None:
    data = bundle.read_bytes()
    short = bundle.with_name("short.tar")
    for size in (0, 100, 700, len(data) // 2, len(data) - 10240):
        short.write_bytes(data[:size])
        refused(short, store)


def test_a_missing_an_added_and_a_renamed_file_are_detected(bundle: Path, store: Store) -> None:
    graph = f"prepared/{KEY}/model.onnx"
    assert "missing" in refused(rewritten(bundle, lambda n, d: None if n == graph else (n, d)), store)
    swap = {"models/0/config.json": "models/0/2_Dense/config.json"}
    assert "was changed" in refused(rewritten(bundle, lambda n, d: (swap.get(n, n), d)), store)
    assert "was changed" in refused(rewritten(bundle, lambda n, d: (n.replace("config", "evil"), d)), store)


@pytest.mark.parametrize(
    "evil", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil", "C:evil", "models/../../evil", "a//b", "."]
)
def test_no_path_leads_out_of_the_store(evil: str, bundle: Path, store: Store) -> None:
    def in_files(table: dict[str, Any]) -> None:
        table["models"][0]["files"][evil] = table["models"][0]["files"].pop("config.json")

    def in_graphs(table: dict[str, Any]) -> None:
        table["models"][0]["graphs"][evil] = table["models"][0]["graphs"].pop(KEY)

    def in_repository(table: dict[str, Any]) -> None:
        table["models"][0]["repository"] = evil

    def in_id(table: dict[str, Any]) -> None:
        table["models"][0]["id"] = evil

    def in_source(table: dict[str, Any]) -> None:
        table["models"][0]["source"] = evil

    for edit in (in_files, in_graphs, in_id, in_source, *([in_repository] if evil != "a//b" else [])):
        assert "it was changed" in refused(with_contents(bundle, edit), store)
    renamed = rewritten(bundle, lambda n, d: (f"models/0/{evil}" if n.endswith("0/config.json") else n, d))
    assert "was changed" in refused(renamed, store)
    assert not list(store.root.parent.rglob("evil*"))


def test_links_and_devices_are_refused(bundle: Path, store: Store) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        other = bundle.with_name("changed.tar")
        with tarfile.open(bundle) as old, tarfile.open(other, "w") as new:
            for member in old:
                if member.name.endswith("0/config.json"):
                    member.type, member.linkname, member.size = kind, "/etc/passwd", 0
                    new.addfile(member)
                else:
                    new.addfile(member, old.extractfile(member))
        assert "was changed" in refused(other, store)


def test_what_is_no_bundle_is_said(tmp_path: Path, bundle: Path, store: Store) -> None:
    (tmp_path / "text").write_text("hello")
    assert "is no bundle" in refused(tmp_path / "text", store)
    assert "there is no bundle" in refused(tmp_path / "nothing", store)
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(bundle.parent / "model" / "config.json", "config.json")
    assert "is no bundle" in refused(tmp_path / "other.tar", store)
    assert "a newer rerankd reads it" in refused(with_contents(bundle, lambda table: table.update(format=2)), store)
    assert "cannot be read" in refused(with_contents(bundle, lambda table: table.update(models=[{}])), store)


IMPORT = """
import os, signal, sys
from pathlib import Path
from rerankd.registry.bundle import import_bundle
from rerankd.registry.store import Store

def die(progress):
    if progress.done_bytes > 0:
        os.kill(os.getpid(), signal.SIGKILL)

import_bundle(Path(sys.argv[1]), Store(Path(sys.argv[2])), die)
"""


def test_an_import_that_is_killed_leaves_nothing_and_can_be_repeated(bundle: Path, store: Store) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT, str(bundle), str(store.root)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert found(store) is None
    import_bundle(bundle, store, quiet)
    assert files_of(found(store) or Path()) == FILES
    assert not (store.root / "importing").exists()


def test_an_export_that_fails_leaves_no_file(bundle: Path, store: Store) -> None:
    manifests, _ = import_bundle(bundle, store, quiet)
    folder = found(store)
    assert folder

    def fail(_: Progress) -> None:
        raise KeyboardInterrupt

    before = sorted(bundle.parent.iterdir())
    with pytest.raises(KeyboardInterrupt):
        export(bundle.with_name("new.tar"), [Model(manifests[0], folder, (), {})], fail)
    assert sorted(bundle.parent.iterdir()) == before
