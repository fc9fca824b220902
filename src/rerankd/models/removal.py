"""Taking a model's files off the disk: what was fetched or imported, and the graphs made of it."""

from rerankd.errors import DownloadFailed
from rerankd.models.loader import graph_key, take_snapshot
from rerankd.registry.resolve import Entry
from rerankd.registry.store import Store
from rerankd.sources.base import Access
from rerankd.sources.snapshots import FETCHED, Repository


def remove(entry: Entry, store: Store, access: Access) -> int:
    """Delete a model's files and the graphs made of them; return the bytes that are free now.

    Raises:
        DownloadFailed: it is not here, or is nothing that was fetched.
    """
    references = (entry.reference, *entry.alternatives)
    places = [Repository.of(reference, access.store) for reference in references if reference.source in FETCHED]
    here = [(place, held) for place in places for held in place.held()]
    if not here and not any(place.partial_bytes() for place in places):
        raise DownloadFailed(
            f"model {entry.id!r} has not been fetched to this store: there is nothing to remove (`rerankd list` shows "
            "what is here)"
        )
    freed = sum(store.forget(graph_key(take_snapshot(held.folder), store)) for _, held in here)
    return freed + sum(place.remove() for place in places)
