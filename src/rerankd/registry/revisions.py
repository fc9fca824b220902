"""Which revision of a model is in use on this machine, which were before, and what a hub has now.

A revision ("" is the hub's main branch) means one snapshot; `history.json` beside the snapshots says what it meant
before. The history is written first: a change that was killed in between is one that has not happened.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from rerankd import plugins
from rerankd.errors import ConfigError, DownloadFailed
from rerankd.registry import obtain
from rerankd.registry.resolve import Entry
from rerankd.sources import layout
from rerankd.sources.base import Access, Reference, Renewable, Report, Source
from rerankd.sources.snapshots import FETCHED, Held, Repository, unwritable

_REMEMBERED = 100
ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of what a revision means: snapshots before and after, how, when (UTC), nDCG@10 where measured."""

    how: str
    before: str
    after: str
    at: str
    ndcg_before: float | None = None
    ndcg_after: float | None = None
    revision: str = ""


class Revisions:
    """What one revision of one repository means here. Changes are made while its place is locked by the caller."""

    def __init__(self, place: Repository, revision: str) -> None:
        self.place = place
        self._revision = revision

    @property
    def current(self) -> str:
        """The snapshot in use; "" where the store does not say."""
        return self.place.meant(self._revision)

    def history(self) -> list[Change]:
        """Return the changes that have happened, the oldest first."""
        changes = [change for change in self._written() if change.revision == self._revision]
        if changes and changes[-1].before == self.current and changes[-1].after != self.current:
            changes.pop()  # it was written down and then killed
        return changes

    def replaced(self) -> list[str]:
        """Return the snapshots that updates have replaced and nobody has gone back to; the last one is next."""
        stack: list[str] = []
        for change in self.history():
            if change.how == ROLLED_BACK:
                del stack[-1:]
            else:
                stack.append(change.before)
        return stack

    def adopt(
        self, how: str, snapshot: str, before: str = "", *, ndcg_before: float | None = None,
        ndcg_after: float | None = None,
    ) -> None:  # fmt: skip
        """Let the revision mean another snapshot. `before` is what was in use where the store does not say.

        Raises:
            DownloadFailed: the store cannot be written.
        """
        was = self.current or before
        kept = [change for change in self._written() if change.revision != self._revision] + self.history()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        changes = [*kept, Change(how, was, snapshot, now, ndcg_before, ndcg_after, self._revision)][-_REMEMBERED:]
        try:
            self.place.write_history(json.dumps([asdict(change) for change in changes], indent=1))
            self.place.remember(self._revision, snapshot)
        except OSError as error:
            raise unwritable(error) from error

    def superseded(self, keep: int) -> list[Held]:
        """Return the snapshots that no revision means and that are not among the last `keep` that were replaced."""
        wanted = {name for name in self.replaced()[-keep:] if name} if keep else set[str]()
        return [held for held in self.place.held() if not held.revisions and held.manifest.id not in wanted]

    def _written(self) -> list[Change]:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return [Change(**change) for change in json.loads(self.place.history.read_text("utf-8"))]
        return []


def snapshot_id(folder: Path | None) -> str:
    """Name the snapshot that a folder is of a store or of the hub client's cache; "" where it is of neither."""
    if folder is None:
        return ""
    if (folder.parent / "manifest.json").is_file() and folder.parent.parent.name == "snapshots":
        return folder.parent.name
    return folder.name if folder.parent.name == "snapshots" else ""


def in_use(entry: Entry, access: Access) -> tuple[Reference, Path] | None:
    """Return the place among an entry's that a model's files come from on this machine, and their folder."""
    for reference in (entry.reference, *entry.alternatives):
        if folder := _source(reference).find(reference, access):
            return reference, folder
    return None


def of(entry: Entry, folder: Path, access: Access) -> Revisions | None:
    """Return the revision that a folder would be adopted for; None for a folder of one's own."""
    for reference in (entry.reference, *entry.alternatives):
        place = Repository.of(reference, access.store)
        if reference.source in FETCHED and _lies_there(folder, reference, place, access):
            return Revisions(place, reference.revision)
    return None


def newest(entry: Entry, access: Access, report: Report, *, prefer: str = "") -> Path:
    """Return the folder of what the hub has now, fetched beside what is here; what is in use stays in use.

    A folder of one's own, a bundle's model and the bundled one are what they are now.

    Raises:
        DownloadFailed, ChecksumMismatch: see `Source.fetch`; or nothing may be fetched.
    """
    found = in_use(entry, access)
    if found is None:
        return obtain.obtain(entry, access, report, prefer=prefer)
    reference, folder = found
    source = _source(reference)
    if not isinstance(source, Renewable):
        return folder
    if access.offline:
        raise DownloadFailed(
            f"whether there is a newer revision of {entry.id!r} cannot be asked: models.offline (or HF_HUB_OFFLINE) "
            "forbids it. Import a newer bundle (rerankd bundle import FILE), or turn it off once "
            f"(RERANKD_MODELS__OFFLINE=false rerankd update {entry.id})"
        )
    return source.newest(reference, access, obtain.logged(entry.id, report))


def previous(entry: Entry, access: Access) -> Path:
    """Return the folder of the snapshot that was in use before the one that is.

    Raises:
        ConfigError: there is none, or it is no longer here.
    """
    found = in_use(entry, access)
    if not found or found[0].source not in FETCHED:
        raise ConfigError(f"there is nothing to go back to: {entry.id!r} was not fetched to this store")
    reference = found[0]
    place = Repository.of(reference, access.store)
    replaced = Revisions(place, reference.revision).replaced()
    if not replaced:
        raise ConfigError(f"there is nothing to go back to: {entry.id!r} has never been updated here")
    ours = place.folder(replaced[-1])
    cached = layout.cached(reference.repository, replaced[-1], access.hf_cache) if access.hf_cache else None
    folder = ours if replaced[-1] and ours.is_dir() else cached
    if folder is None:
        raise ConfigError(
            f"revision {replaced[-1][:12]} of {entry.id!r} is no longer here: models.keep_revisions says how many stay"
        )
    return folder


def history(entry: Entry, access: Access) -> Sequence[Change]:
    """Return what has happened to the revision in use, the oldest change first."""
    found = in_use(entry, access)
    if not found or found[0].source not in FETCHED:
        return ()
    return Revisions(Repository.of(found[0], access.store), found[0].revision).history()


def _lies_there(folder: Path, reference: Reference, place: Repository, access: Access) -> bool:
    name = snapshot_id(folder)
    if not name:
        return False
    cached = layout.cached(reference.repository, name, access.hf_cache) if access.hf_cache else None
    return folder in (place.folder(name), cached)


def _source(reference: Reference) -> Source:
    return cast("Source", plugins.load("sources", reference.source))
