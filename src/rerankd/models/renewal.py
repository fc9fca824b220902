"""Another revision of a model in place of the one in use: chosen, loaded beside it, judged, written down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rerankd.errors import RevisionRefused
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Loader, Report, downloading, graph_key, take_snapshot
from rerankd.registry import obtain, revisions
from rerankd.registry.resolve import Entry
from rerankd.registry.revisions import Revisions
from rerankd.registry.store import Store
from rerankd.sources.base import Access
from rerankd.types import ModelState

Scores = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores documents for a query, in their order."""

Ndcg = Callable[[Scores], float]
"""Measures a model on the user's judged queries: mean nDCG@10."""

How = Literal["updated", "rolled back", "unchanged"]


@dataclass(frozen=True, slots=True)
class Golden:
    """What a newer revision is judged by: its `ndcg` may be lower than that of the one in use by `margin` at most."""

    ndcg: Ndcg
    margin: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the revisions in use before and after ("" for a folder of one's own), nDCG@10 where measured."""

    model: str
    how: How
    before: str
    after: str
    ndcg_before: float | None = None
    ndcg_after: float | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """The steps, each blocking and to be run off the event loop; what only looks at memory is not.

    `choose` names the folder of the revision wanted, fetching it if it is not here. `keep` is how many replaced ones
    stay to go back to.
    """

    entry: Entry
    loader: Loader
    choose: Callable[[Report], Path]
    how: How
    keep: int
    golden: Golden | None = None

    def is_the_same(self, folder: Path, in_use: LoadedModel | None) -> bool:
        """Tell whether a snapshot is the one in use. A folder of one's own may hold other files than it did."""
        if self.entry.reference.source == "local":
            return False
        return folder == (in_use.folder if in_use else obtain.find(self.entry, self._access))

    def unchanged(self, folder: Path) -> Outcome:
        """Say that nothing was to be done."""
        name = revisions.snapshot_id(folder)
        return Outcome(self.entry.id, "unchanged", name, name)

    def load(self, folder: Path, report: Report) -> LoadedModel:
        """Make the revision ready, beside the one in use: read, converted, warmed up, its known scores compared."""
        return self.loader.load_from(self.entry, folder, report)

    def conclude(self, folder: Path, old: LoadedModel | None, new: LoadedModel, report: Report) -> Outcome:
        """Judge a revision that is ready, and write down that it is the one to use from now on.

        Raises:
            RevisionRefused: it ranks worse than the margin allows.
            ModelLoadError: it cannot be written down.
        """
        if old and old.info.fingerprint == new.info.fingerprint:
            return self.unchanged(folder)
        before = after = None
        if self.golden and old:
            report(ModelState.JUDGING)
            before, after = (self.golden.ndcg(_scores(model, report)) for model in (old, new))
            if after < before - self.golden.margin:
                raise RevisionRefused(
                    f"revision {revisions.snapshot_id(folder)[:12]} of {self.entry.id} ranks worse than the one in "
                    f"use: nDCG@10 {after:.4f} on the golden set, {before:.4f} before, and it may fall by "
                    f"{self.golden.margin:g}: the one in use stays (models.golden_margin allows more)"
                )
        was = self._adopt(folder, old, before, after)
        return Outcome(self.entry.id, self.how, was, revisions.snapshot_id(folder), before, after)

    def _adopt(self, folder: Path, old: LoadedModel | None, before: float | None, after: float | None) -> str:
        """Write down that the revision means this snapshot; return what it meant before."""
        place = revisions.of(self.entry, folder, self._access)
        was = revisions.snapshot_id(old.folder if old else None)
        if place is None:
            return was
        with place.place.locked(lambda: None):
            was = place.current or was
            place.adopt(self.how, revisions.snapshot_id(folder), was, ndcg_before=before, ndcg_after=after)
            if self.how == "updated":  # what was rolled back may be wanted again
                _prune(place, self.loader.store, self.keep)
        return was

    @property
    def _access(self) -> Access:
        return self.loader.reach


def renew_here(renewal: Renewal, report: Report) -> Outcome:
    """Do all of it in this process, where nobody is served: the store then has the new revision for the next start.

    Raises:
        ModelLoadError: as `Renewal.load` and `Renewal.conclude`; the old revision stays.
    """
    folder = renewal.choose(report)
    if renewal.is_the_same(folder, None):
        return renewal.unchanged(folder)
    found = obtain.find(renewal.entry, renewal.loader.reach)
    new = renewal.load(folder, report)
    old = renewal.load(found, report) if found and renewal.golden else None
    try:
        return renewal.conclude(folder, old, new, report)
    finally:
        for model in (new, old):
            if model:
                model.engine.close()


def update(entry: Entry, loader: Loader, *, golden: Golden | None, keep: int) -> Renewal:
    """Plan to use what the hub has now."""

    def choose(report: Report) -> Path:
        report(ModelState.RESOLVING)
        return revisions.newest(entry, loader.reach, downloading(report), prefer=loader.prefer)

    return Renewal(entry, loader, choose, "updated", keep, golden)


def rollback(entry: Entry, loader: Loader, *, keep: int) -> Renewal:
    """Plan to use what was in use before."""
    return Renewal(entry, loader, lambda _: revisions.previous(entry, loader.reach), revisions.ROLLED_BACK, keep)


def _scores(model: LoadedModel, report: Report) -> Scores:
    """Score with a model that nobody serves yet, one query after the other, long documents cut."""

    def score(query: str, documents: Sequence[str]) -> Sequence[float]:
        report(ModelState.JUDGING)  # ends here where the server is shutting down
        work = model.reader.read(query, documents)
        return [float(raw) for raw in work.score(model.engine.run(work.encodings))]

    return score


def _prune(place: Revisions, store: Store, keep: int) -> None:
    """Delete the snapshots that nobody can go back to any more, and the graphs made of them alone."""
    superseded = place.superseded(keep)
    doomed = {held.manifest.id for held in superseded}
    keys = {held.manifest.id: graph_key(take_snapshot(held.folder), store) for held in place.place.held()}
    used = {key for name, key in keys.items() if name not in doomed}
    for held in superseded:
        key = keys[held.manifest.id]
        if key not in used:
            store.forget(key)
        place.place.remove_snapshot(held.manifest.id)
