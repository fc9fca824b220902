"""Models of one's own that came in a bundle: `bundle:NAME`. Those of a hub keep their names."""

from pathlib import Path

from rerankd.errors import DownloadFailed
from rerankd.sources.base import Access, Reference, Report
from rerankd.sources.selection import is_safe
from rerankd.sources.snapshots import Repository

_PREFIX = "bundle:"


class _Bundle:
    def refer(self, name: str) -> Reference | None:
        bare = name.removeprefix(_PREFIX)
        return Reference("bundle", bare) if name.startswith(_PREFIX) and is_safe(bare) and "/" not in bare else None

    def find(self, reference: Reference, access: Access) -> Path | None:
        return Repository.of(reference, access.store).find("")

    def fetch(self, reference: Reference, access: Access, report: Report) -> Path:
        del report
        found = self.find(reference, access)
        if not found:
            raise DownloadFailed(
                f"no model {reference.repository!r} has been imported from a bundle here: rerankd bundle import FILE"
            )
        return found


SOURCE = _Bundle()
