"""Where fetched models lie: each revision once, whole or not at all, found again without asking anybody.

models/SOURCE/ORG--NAME/snapshots/ID/NAME/...        the files
models/SOURCE/ORG--NAME/snapshots/ID/manifest.json   what they are: sizes, digests, where from
models/SOURCE/ORG--NAME/refs/REVISION                the ID that a revision meant when it was fetched
models/SOURCE/ORG--NAME/partial/ID/...               a download that is not done
models/SOURCE/ORG--NAME/history.json                 what revisions have meant (see registry.revisions)
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from rerankd.errors import DownloadFailed
from rerankd.sources.base import Access, Reference, Report
from rerankd.types import Progress

FETCHED = frozenset({"huggingface", "modelscope", "bundle"})
"""The sources whose models lie in the store."""

_DEFAULT = "@default"
_POLL_S = 0.5
_STALLED_S = 600.0


@dataclass(frozen=True, slots=True)
class Digest:
    """One file as it was when it was verified: bytes and sha256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is: whose, which (`id`), every file, the address that delivered it."""

    source: str
    repository: str
    id: str
    files: Mapping[str, Digest]
    address: str = ""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files.values())

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Manifest":
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        table = json.loads(text)
        files = {str(name): Digest(int(file["size"]), str(file["sha256"])) for name, file in table["files"].items()}
        return Manifest(str(table["source"]), str(table["repository"]), str(table["id"]), files, str(table["address"]))


@dataclass(frozen=True, slots=True)
class Held:
    """One snapshot that is here: its folder, its manifest, and the revisions that mean it ("" is the newest)."""

    folder: Path
    manifest: Manifest
    revisions: tuple[str, ...]


class Repository:
    """One repository's place in the store. Every method may be called by many processes at once."""

    def __init__(self, store: Path, source: str, repository: str) -> None:
        self.name = repository.rsplit("/", 1)[-1]
        self._root = store / "models" / source / repository.replace("/", "--")
        self._source = source

    @classmethod
    def of(cls, reference: Reference, store: Path) -> "Repository":
        """Return the place of a reference's repository."""
        return cls(store, reference.source, reference.repository)

    def find(self, revision: str) -> Path | None:
        """Return the folder of the snapshot a revision means, if it was fetched."""
        known = self.meant(revision)
        if known and self.folder(known).is_dir():
            return self.folder(known)
        whole = self.folder(revision) if revision and "/" not in revision else None
        return whole if whole and whole.is_dir() else None

    def meant(self, revision: str) -> str:
        """Return the snapshot that a revision was last written down to mean; "" where it was not."""
        with contextlib.suppress(OSError):
            return self._ref(revision).read_text("utf-8").strip()
        return ""

    def folder(self, snapshot_id: str) -> Path:
        """Name the folder that a snapshot's files lie in."""
        return self._root / "snapshots" / snapshot_id / self.name

    def snapshot_id(self, folder: Path) -> str:
        """Name the snapshot that a folder holds, here or in a cache of the hub's client."""
        return folder.parent.name if folder.parent.parent == self._root / "snapshots" else folder.name

    def partial(self, snapshot_id: str) -> Path:
        """Make and return the folder in which a snapshot's files gather."""
        folder = self._root / "partial" / snapshot_id / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, manifest: Manifest) -> Path:
        """Make a gathered snapshot appear, whole, in one rename; what else was half-done in this repository goes."""
        self.adopt(self.partial(manifest.id).parent, manifest)
        shutil.rmtree(self._root / "partial", ignore_errors=True)
        return self.folder(manifest.id)

    def adopt(self, half: Path, manifest: Manifest) -> None:
        """Make `half`, which holds the snapshot's files in a folder called like the repository, appear here."""
        (half / "manifest.json").write_text(manifest.to_json(), "utf-8")
        whole = self.folder(manifest.id).parent
        whole.parent.mkdir(parents=True, exist_ok=True)
        if whole.exists():
            shutil.rmtree(half)
        else:
            half.replace(whole)

    def remember(self, revision: str, snapshot_id: str) -> None:
        """Write down that a revision means this snapshot."""
        _write(self._ref(revision), snapshot_id)

    @property
    def history(self) -> Path:
        """The file that says what revisions have meant; see `registry.revisions`."""
        return self._root / "history.json"

    def write_history(self, text: str) -> None:
        """Replace that file."""
        _write(self.history, text)

    def held(self) -> Iterator[Held]:
        """Describe every whole snapshot of this repository."""
        refs = {self._revision(ref): ref.read_text("utf-8").strip() for ref in self._root.glob("refs/*")
                if not ref.name.startswith("tmp")}  # fmt: skip
        for note in sorted(self._root.glob("snapshots/*/manifest.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                manifest = Manifest.from_json(note.read_text("utf-8"))
                revisions = tuple(sorted(revision for revision, known in refs.items() if known == manifest.id))
                yield Held(note.parent / self.name, manifest, revisions)

    def remove_snapshot(self, snapshot_id: str) -> int:
        """Delete one snapshot; return the bytes that are free now."""
        whole = self.folder(snapshot_id).parent
        freed = sum(file.lstat().st_size for file in whole.rglob("*") if file.is_file())
        doomed = Path(tempfile.mkdtemp(prefix=".removed-", dir=self._root.parent))
        with contextlib.suppress(FileNotFoundError):
            whole.replace(doomed / "snapshot")
        shutil.rmtree(doomed, ignore_errors=True)
        return freed

    def remove(self) -> int:
        """Delete every snapshot, and what is half-done; return the bytes that are free now."""
        freed = sum(file.lstat().st_size for file in self._root.rglob("*") if file.is_file())
        doomed = Path(tempfile.mkdtemp(prefix=".removed-", dir=self._root.parent))
        for part in ("refs", "snapshots", "partial", "history.json"):  # refs first: what they name must be whole
            with contextlib.suppress(FileNotFoundError):
                (self._root / part).replace(doomed / part)
        shutil.rmtree(doomed, ignore_errors=True)
        return freed

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[], None]) -> Generator[None]:
        """Hold the repository against other processes. `waiting` is called twice a second while another holds it.

        Raises:
            DownloadFailed: the other process has not written a byte for ten minutes, or the store cannot be written.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._root / "lock")
            self._acquire(lock, waiting)
        except OSError as error:
            raise unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def _acquire(self, lock: FileLock, waiting: Callable[[], None]) -> None:
        seen, since = -1, time.monotonic()
        while True:
            try:
                lock.acquire(timeout=_POLL_S)
            except Timeout as error:
                waiting()
                size = self.partial_bytes()
                if size != seen:
                    seen, since = size, time.monotonic()
                elif time.monotonic() - since > _STALLED_S:
                    raise DownloadFailed(
                        f"another process has been fetching {self.name!r} and has not gone on for ten minutes: stop it"
                    ) from error
            else:
                return

    def partial_bytes(self) -> int:
        """Count what has gathered so far."""
        with contextlib.suppress(OSError):  # files come and go meanwhile
            return sum(file.stat().st_size for file in (self._root / "partial").rglob("*") if file.is_file())
        return 0

    def _ref(self, revision: str) -> Path:
        return self._root / "refs" / (quote(revision, safe="") or _DEFAULT)

    @staticmethod
    def _revision(ref: Path) -> str:
        return "" if ref.name == _DEFAULT else unquote(ref.name)


Bring = Callable[[Repository], Path]
"""Fetches what a reference means into its place, unless it is there; called while the place is locked."""


def fetched_once(
    reference: Reference, access: Access, report: Report, find: Callable[[], Path | None], bring: Bring
) -> Path:
    """Return what `find` finds, else what `bring` brings, and write down that the revision means it.

    Two processes that want the same do it once: the second waits, hears how far the first is, and finds it.

    Raises:
        DownloadFailed: see `Repository.locked`; and what `bring` raises.
    """
    place = Repository.of(reference, access.store)
    with place.locked(lambda: report(Progress(place.partial_bytes(), 0))):
        if found := find():  # by the process we waited for
            return found
        folder = bring(place)
        place.remember(reference.revision, place.snapshot_id(folder))
        return folder


def fetched_beside(reference: Reference, access: Access, report: Report, bring: Bring) -> Path:
    """Return what `bring` brings; what the revision means on this machine stays as it is.

    Raises:
        DownloadFailed: as `fetched_once`.
    """
    place = Repository.of(reference, access.store)
    with place.locked(lambda: report(Progress(place.partial_bytes(), 0))):
        return bring(place)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(temporary).replace(file)


def repositories(store: Path) -> Iterator[Repository]:
    """Return the place of every repository that something of is here."""
    for folder in sorted((store / "models").glob("*/*")):
        if folder.is_dir() and not folder.name.startswith("."):
            yield Repository(store, folder.parent.name, folder.name.replace("--", "/", 1))


def held(store: Path) -> Iterator[Held]:
    """Describe every whole snapshot in a store."""
    for repository in repositories(store):
        yield from repository.held()


def unwritable(error: OSError) -> DownloadFailed:
    """Say what keeps the store from being written, without its path."""
    return DownloadFailed(
        f"the model cannot be stored: {error.strerror or 'the store cannot be written'}; free some disk space or set "
        "models.store to a writable folder"
    )
