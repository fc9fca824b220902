"""The store: whole or not at all, once, by one process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rerankd.errors import ModelLoadError
from rerankd.registry.store import Store


def test_a_model_is_prepared_once_and_found_again(tmp_path: Path) -> None:
    builds: list[Path] = []

    def build(folder: Path) -> None:
        builds.append(folder)
        (folder / "graph").write_text("whole")

    store = Store(tmp_path)
    first = store.prepared("key", build)
    assert Store(tmp_path).prepared("key", build) == first
    assert (first / "graph").read_text() == "whole"
    assert len(builds) == 1


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ModelLoadError("broken")

    with pytest.raises(ModelLoadError, match="broken"):
        Store(tmp_path).prepared("key", build)
    assert [entry.name for entry in (tmp_path / "prepared").iterdir() if entry.is_dir()] == []


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder))

    with pytest.raises(ModelLoadError, match=r"No space left on device; free some disk space") as failure:
        Store(tmp_path).prepared("key", build)
    assert str(tmp_path) not in str(failure.value)


SLOW_BUILD = """
import sys, time
from pathlib import Path
from rerankd.registry.store import Store

def build(folder):
    (folder / "half").write_text("half")
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "whole").write_text("whole")

Store(Path(sys.argv[1])).prepared("key", build)
"""


def test_a_process_killed_in_mid_build_leaves_no_half_model(tmp_path: Path) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD, str(tmp_path), "60"], stdout=subprocess.PIPE, text=True
    )
    with victim:
        assert victim.stdout
        assert victim.stdout.readline() == "building\n"
        os.kill(victim.pid, signal.SIGKILL)
    folder = Store(tmp_path).prepared("key", lambda folder: _write(folder / "whole"))
    assert [entry.name for entry in folder.iterdir()] == ["whole"]
    assert [entry.name for entry in folder.parent.iterdir() if entry.is_dir()] == ["key"]


def _write(file: Path) -> None:
    file.write_text("whole")


def test_two_processes_prepare_a_model_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW_BUILD, str(tmp_path), "0.5"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(printed) == "building\n"


def test_a_digest_follows_the_content(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = store.digest([file])
    assert store.digest([file]) == first
    file.write_bytes(b"two!")
    assert store.digest([file]) != first
    file.write_bytes(b"one")
    assert Store(tmp_path / "other").digest([file]) == first


def test_a_digest_needs_no_writable_store(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert len(Store(blocked).digest([blocked])) == 64
