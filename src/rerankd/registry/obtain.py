"""From an entry to its files: what is here already, else from the places that have it, one after the other."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from rerankd import plugins
from rerankd.errors import DownloadFailed
from rerankd.registry.resolve import Entry
from rerankd.sources.base import Access, Reference, Report, Source
from rerankd.sources.trying import no_address
from rerankd.types import Progress

logger = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0


def find(entry: Entry, access: Access) -> Path | None:
    """Return the folder of a model that is whole on this machine, wherever it came from; asks nobody."""
    folders = (_source(reference).find(reference, access) for reference in _references(entry))
    return next((folder for folder in folders if folder), None)


def obtain(entry: Entry, access: Access, report: Report, *, prefer: str = "") -> Path:
    """Return a model's folder, fetched if it is not here. `prefer` names the source that is asked first.

    Raises:
        DownloadFailed: no place delivers; the message names each address, its answer, and the ways out.
        ChecksumMismatch, UnsupportedModel: see `sources.base.Source.fetch`.
    """
    if folder := find(entry, access):
        return folder
    tried: list[tuple[str, str]] = []
    references = sorted(_references(entry), key=lambda reference: reference.source != prefer)
    for reference in references:
        try:
            return _source(reference).fetch(reference, access, logged(entry.id, report))
        except DownloadFailed as error:
            if not error.tried or len(references) == 1:
                raise
            tried += error.tried
            logger.warning("%s does not deliver %s", reference.source, entry.id)
    raise DownloadFailed(no_address(entry.id, tried), tried=tried)


def _references(entry: Entry) -> Sequence[Reference]:
    return (entry.reference, *entry.alternatives)


def _source(reference: Reference) -> Source:
    return cast("Source", plugins.load("sources", reference.source))


def logged(model: str, report: Report) -> Report:
    """Pass reports on, and say now and then in the log how far it is."""
    last = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_EVERY_S:
            last = time.monotonic()
            total = f" of {progress.total_bytes / 1e6:,.0f}" if progress.total_bytes else ""
            logger.info("fetching: %s%s MB", f"{progress.done_bytes / 1e6:,.0f}", total, extra={"model": model})
        report(progress)

    return tell
