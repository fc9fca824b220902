"""The folder where prepared models lie: each made once, whole or not at all, and reused by every process."""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import platformdirs
from filelock import FileLock, Timeout

from rerankd.errors import ModelLoadError

_LOCK_TIMEOUT_S = 3600
_CHUNK = 1 << 20


class Store:
    """Prepared models, one folder per key. Safe between processes; a process killed in the middle leaves no half."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path(platformdirs.user_cache_dir("rerankd"))

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def prepared(self, key: str, build: Callable[[Path], None]) -> Path:
        """Return the folder of `key`, made by `build(empty folder)` if it is not there. Blocks while another makes it.

        Raises:
            ModelLoadError: the folder cannot be written, or another process has held the lock for an hour.
        """
        folder = self._root / "prepared" / key
        if folder.is_dir():
            return folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock", timeout=_LOCK_TIMEOUT_S):
                if not folder.is_dir():
                    self._build(folder, build)
        except Timeout as error:
            raise ModelLoadError("another process has been preparing this model for an hour: stop it") from error
        except OSError as error:
            raise ModelLoadError(
                f"the model cannot be prepared: {error.strerror or 'the store cannot be written'}; "
                "free some disk space or set models.store to a writable folder"
            ) from error
        return folder

    def adopt(self, key: str, whole: Path) -> None:
        """Take a folder that was prepared elsewhere, unless there is one already."""
        self.prepared(key, lambda half: _move_into(half, whole))

    def graphs(self, key: str) -> dict[str, Path]:
        """Return the prepared folders whose key begins with `key`."""
        folders = (self._root / "prepared").glob(f"{glob.escape(key)}*")
        return {each.name: each for each in sorted(folders) if each.is_dir() and ".tmp-" not in each.name}

    def forget(self, key: str) -> int:
        """Delete the prepared folders whose key begins with `key`; return the bytes that are free now."""
        freed = 0
        for folder in self.graphs(key).values():
            freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            doomed = folder.with_name(f"{folder.name}.tmp-removed")  # out of sight in one step, then in pieces
            folder.replace(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
        return freed

    def digest(self, files: Sequence[Path]) -> str:
        """Name the content of files (sha256, hex, over names and bytes), remembered by size and time of change."""
        whole = hashlib.sha256()
        for file in files:
            whole.update(file.name.encode() + b"\0" + bytes.fromhex(self._digest_of(file)))
        return whole.hexdigest()

    def _build(self, folder: Path, build: Callable[[Path], None]) -> None:
        for stale in folder.parent.glob(f"{folder.name}.tmp-*"):  # we hold the lock: its maker was killed
            shutil.rmtree(stale, ignore_errors=True)
        half = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent))
        try:
            build(half)
            half.replace(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def _digest_of(self, file: Path) -> str:
        stat = file.stat()
        stamp = [str(file.resolve()), stat.st_size, stat.st_mtime_ns]
        note = self._root / "digests" / (hashlib.sha256(json.dumps(stamp).encode()).hexdigest() + ".json")
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(cast("dict[str, str]", json.loads(note.read_text("utf-8")))["sha256"])
        digest = _sha256(file)
        with contextlib.suppress(OSError):  # a read-only store costs time, nothing else
            _write_atomically(note, json.dumps({"sha256": digest}))
        return digest


def _move_into(folder: Path, whole: Path) -> None:
    for file in whole.iterdir():
        file.replace(folder / file.name)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write_atomically(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(temporary).replace(file)
