"""Bundles: models in one tar file, for machines without a network.

    rerankd-bundle.json      first: what is in it, with the size and sha256 of every file
    models/0/...             the files of the first model
    prepared/KEY/...         graphs converted from its weights

Whatever is not exactly what the first file says is refused before anything of it is used. The sha256 of that first file
names the whole bundle: whoever compares it with what the exporter printed knows that nobody changed anything.
"""

import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from filelock import FileLock, Timeout

from rerankd import __version__
from rerankd.errors import ChecksumMismatch, ConfigError, DownloadFailed
from rerankd.registry.revisions import Revisions
from rerankd.registry.store import Store
from rerankd.sources.base import Report
from rerankd.sources.selection import is_safe
from rerankd.sources.snapshots import FETCHED, Digest, Manifest, Repository, unwritable
from rerankd.types import Progress

_CONTENTS = "rerankd-bundle.json"
_FORMAT = 1
_LARGEST_CONTENTS = 16 << 20
_CHUNK = 1 << 20
_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_ID = re.compile(r"\w[\w.-]*")
_LOCK_TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True)
class Model:
    """A model to carry: what it is, its folder, the revisions that mean it, the graphs made of it by their keys."""

    manifest: Manifest
    folder: Path
    revisions: tuple[str, ...]
    graphs: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class _Listed:
    """A model as a bundle lists it."""

    manifest: Manifest
    revisions: tuple[str, ...]
    graphs: Mapping[str, Mapping[str, Digest]]


def export(file: Path, models: Sequence[Model], report: Report) -> str:
    """Write a bundle and return its sha256 in hex. The file appears when it is whole.

    Raises:
        DownloadFailed: it cannot be written.
    """
    contents, members = _contents(models)
    total = sum(path.stat().st_size for _, path in members)
    try:
        handle = tempfile.NamedTemporaryFile(dir=file.parent, prefix=f"{file.name}.", delete=False)  # noqa: SIM115
        try:
            with handle, tarfile.open(fileobj=handle, mode="w", format=tarfile.PAX_FORMAT) as tar:
                tar.addfile(_member(_CONTENTS, len(contents)), io.BytesIO(contents))
                done = 0
                for name, path in members:
                    with path.open("rb") as stream:
                        tar.addfile(_member(name, path.stat().st_size), stream)
                    done += path.stat().st_size
                    report(Progress(done, total))
            Path(handle.name).chmod(0o644)
            Path(handle.name).replace(file)
        finally:
            Path(handle.name).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadFailed(f"the bundle cannot be written: {error.strerror}") from error
    return hashlib.sha256(contents).hexdigest()


def import_bundle(file: Path, store: Store, report: Report, *, sha256: str = "") -> tuple[list[Manifest], str]:
    """Check a bundle and put its models into the store; return them and the bundle's sha256.

    Everything is checked before the first model appears. `sha256`, where given, is what the bundle's must be.

    Raises:
        ConfigError: the file is no bundle.
        ChecksumMismatch: it is not what it says, or not the one that is expected.
        DownloadFailed: the store cannot be written.
    """
    try:
        with _open(file) as tar:
            contents = _first(tar, file.name)
            digest = hashlib.sha256(contents).hexdigest()
            if sha256 and sha256.lower() != digest:
                raise ChecksumMismatch(f"the bundle {file.name!r} has sha256 {digest}, not the one that was expected")
            listed = _read(contents, file.name)
            with _staging(store.root) as staging:
                _unpack(tar, _expected(listed), staging, report)
                for i, model in enumerate(listed):
                    _put(model, staging / "models" / str(i), staging / "prepared", store)
    except OSError as error:
        raise unwritable(error) from error
    return [model.manifest for model in listed], digest


def _contents(models: Sequence[Model]) -> tuple[bytes, list[tuple[str, Path]]]:
    """List everything: the first file's bytes, and the others with their names in the bundle."""
    members: list[tuple[str, Path]] = []
    tables: list[dict[str, Any]] = []
    for i, model in enumerate(models):
        members += [(f"models/{i}/{name}", model.folder / name) for name in sorted(model.manifest.files)]
        graphs: dict[str, dict[str, Any]] = {}
        for key, folder in sorted(model.graphs.items()):
            files = sorted(path for path in folder.iterdir() if path.is_file())
            graphs[key] = {path.name: asdict(digest_of(path)) for path in files}
            members += [(f"prepared/{key}/{path.name}", path) for path in files]
        tables.append({**asdict(model.manifest), "revisions": list(model.revisions), "graphs": graphs})
    whole = {"format": _FORMAT, "rerankd": __version__, "models": tables}
    unique = dict(members)  # two models made of the same weights share a graph
    return json.dumps(whole, ensure_ascii=False, indent=1, sort_keys=True).encode(), list(unique.items())


def digest_of(path: Path) -> Digest:
    """Return a file's size and sha256."""
    with path.open("rb") as stream:
        return Digest(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


@contextmanager
def _open(file: Path) -> Generator[tarfile.TarFile]:
    try:
        # Read once, from front to end, uncompressed: nothing in it can unfold to more than it takes on disk.
        tar = tarfile.open(file, mode="r|")  # noqa: SIM115
    except FileNotFoundError as error:
        raise ConfigError(f"there is no bundle {file.name!r}") from error
    except tarfile.TarError as error:
        raise ConfigError(f"{file.name!r} is no bundle (rerankd bundle export writes one)") from error
    with tar:
        yield tar


def _first(tar: tarfile.TarFile, name: str) -> bytes:
    first = _next(tar)
    if first is None or first.name != _CONTENTS or not first.isreg() or first.size > _LARGEST_CONTENTS:
        raise ConfigError(
            f"{name!r} is no bundle: it does not begin with {_CONTENTS} (rerankd bundle export writes it)"
        )
    read: list[bytes] = []
    _copy(cast("IO[bytes]", tar.extractfile(first)), read.append, lambda _: None)
    return b"".join(read)


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except tarfile.TarError as error:
        raise ChecksumMismatch("the bundle is damaged: it breaks off, or is no tar file from some point on") from error


def _read(contents: bytes, name: str) -> list[_Listed]:
    """Read the first file; every name in it is one that stays where it is put."""
    try:
        whole = json.loads(contents)
        if whole["format"] != _FORMAT:
            raise ConfigError(f"the bundle {name!r} is of format {whole['format']!r}: a newer rerankd reads it")
        models = [_listed(table) for table in whole["models"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChecksumMismatch(f"the bundle {name!r} is damaged: its list of contents cannot be read") from error
    for model in models:
        manifest = model.manifest
        names = [*manifest.files, *(file for files in model.graphs.values() for file in files)]
        fits = manifest.source in FETCHED and _REPOSITORY.fullmatch(manifest.repository) and _ID.fullmatch(manifest.id)
        inner = all(is_safe(part) for part in (*names, manifest.repository, manifest.id, *model.graphs))
        if not fits or not inner or any("/" in key for key in model.graphs):
            raise ChecksumMismatch(f"the bundle {name!r} names files or models that no export writes: it was changed")
    return models


def _listed(table: Mapping[str, Any]) -> _Listed:
    graphs = {
        str(key): {str(name): Digest(int(file["size"]), str(file["sha256"])) for name, file in files.items()}
        for key, files in table["graphs"].items()
    }
    revisions = tuple(str(revision) for revision in table["revisions"])
    return _Listed(Manifest.from_json(json.dumps(table)), revisions, graphs)


def _expected(models: Sequence[_Listed]) -> dict[str, Digest]:
    """Map every member's name to what it must be."""
    expected: dict[str, Digest] = {}
    for i, model in enumerate(models):
        expected |= {f"models/{i}/{name}": digest for name, digest in model.manifest.files.items()}
        for key, files in model.graphs.items():
            expected |= {f"prepared/{key}/{name}": digest for name, digest in files.items()}
    return expected


@contextmanager
def _staging(root: Path) -> Generator[Path]:
    """Lend an empty folder beside the models; what killed imports have left goes."""
    folder = root / "importing"
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=_LOCK_TIMEOUT_S):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout as error:
        raise DownloadFailed("another process has been importing a bundle for an hour: stop it") from error


def _unpack(tar: tarfile.TarFile, expected: Mapping[str, Digest], folder: Path, report: Report) -> None:
    """Write every member that is expected, checking it on the way."""
    total, done = sum(digest.size for digest in expected.values()), 0
    free = shutil.disk_usage(folder).free
    if total > free:
        raise DownloadFailed(f"the bundle needs {total / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free")
    missing = dict(expected)
    while member := _next(tar):
        wanted = missing.pop(member.name, None)
        if wanted is None or not member.isreg() or member.size != wanted.size:
            raise ChecksumMismatch(f"the bundle was changed: {member.name!r} is not what its list of contents says")
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = cast("IO[bytes]", tar.extractfile(member))
        begun = done
        with target.open("xb") as out:
            digest = _copy(stream, out.write, lambda size, begun=begun: report(Progress(begun + size, total)))
        done += member.size
        if digest != wanted.sha256:
            raise ChecksumMismatch(f"the bundle is damaged or was changed: {member.name!r} has another checksum")
    if missing:
        raise ChecksumMismatch(f"the bundle is not whole: {min(missing)!r} is missing")


def _copy(stream: IO[bytes], write: Callable[[bytes], object], tell: Callable[[int], None]) -> str:
    digest, size = hashlib.sha256(), 0
    try:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            write(chunk)
            size += len(chunk)
            tell(size)
    except tarfile.TarError as error:
        raise ChecksumMismatch("the bundle is damaged: it breaks off") from error
    return digest.hexdigest()


def _put(model: _Listed, files: Path, graphs: Path, store: Store) -> None:
    """Make one checked model appear: graphs first, then its files, then the name that finds them."""
    for key in model.graphs:
        if (graphs / key).is_dir():
            store.adopt(key, graphs / key)
    place = Repository(store.root, model.manifest.source, model.manifest.repository)
    half = files.with_name(f"{files.name}.whole")
    half.mkdir()
    files.replace(half / place.name)
    with place.locked(lambda: None):
        place.adopt(half, model.manifest)
        for revision in model.revisions:
            known = Revisions(place, revision)
            if known.current in {"", model.manifest.id}:
                place.remember(revision, model.manifest.id)
            else:
                known.adopt("imported", model.manifest.id)
