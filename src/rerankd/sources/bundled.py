"""The models that ship inside the package."""

from pathlib import Path

import rerankd
from rerankd.errors import DownloadFailed
from rerankd.sources.base import Access, Reference, Report


class _Bundled:
    def refer(self, name: str) -> Reference | None:
        del name  # bundled models are reached through the catalog, never by their place
        return None

    def find(self, reference: Reference, access: Access) -> Path | None:
        del access
        folder = Path(rerankd.__file__).parent / "bundled" / reference.repository
        return folder if (folder / "config.json").is_file() else None

    def fetch(self, reference: Reference, access: Access, report: Report) -> Path:
        del report
        folder = self.find(reference, access)
        if not folder:
            raise DownloadFailed(
                f"the bundled model {reference.repository!r} is missing from this installation: reinstall rerankd"
            )
        return folder


SOURCE = _Bundled()
