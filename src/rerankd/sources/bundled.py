"""The models that ship inside the package."""

from pathlib import Path

import rerankd
from rerankd.errors import DownloadFailed
from rerankd.sources.base import Reference


class _Bundled:
    def owns(self, name: str) -> bool:
        del name  # bundled models are reached through the catalog, never by their place
        return False

    def fetch(self, reference: Reference) -> Path:
        folder = Path(rerankd.__file__).parent / "bundled" / reference.repository
        if not (folder / "config.json").is_file():
            raise DownloadFailed(
                f"the bundled model {reference.repository!r} is missing from this installation: reinstall rerankd"
            )
        return folder


SOURCE = _Bundled()
