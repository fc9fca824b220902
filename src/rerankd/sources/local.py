"""A folder on this machine, served in place: nothing is copied."""

import os
from pathlib import Path

from rerankd.errors import DownloadFailed
from rerankd.sources.base import Reference


class _Local:
    def owns(self, name: str) -> bool:
        separators = {os.sep, os.altsep or os.sep}
        starts_like_a_path = name.startswith((".", "~", *separators)) or Path(name).is_absolute()
        return starts_like_a_path or (any(s in name for s in separators) and Path(name).is_dir())

    def fetch(self, reference: Reference) -> Path:
        folder = Path(reference.repository).expanduser()
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise DownloadFailed(
                f"model folder {folder.name!r} {what}: give the folder that holds config.json and the weights"
            )
        return folder


SOURCE = _Local()
