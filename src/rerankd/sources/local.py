"""A folder on this machine, served in place: nothing is copied."""

import os
from pathlib import Path

from rerankd.errors import DownloadFailed
from rerankd.sources import layout
from rerankd.sources.base import Access, Reference, Report


class _Local:
    def refer(self, name: str) -> Reference | None:
        separators = {os.sep, os.altsep or os.sep}
        starts_like_a_path = name.startswith((".", "~", *separators)) or Path(name).is_absolute()
        if starts_like_a_path or (any(s in name for s in separators) and Path(name).is_dir()):
            return Reference("local", name)
        return None

    def find(self, reference: Reference, access: Access) -> Path | None:
        del access
        folder = Path(reference.repository).expanduser()
        if not folder.is_dir():
            return None
        if (folder / "config.json").is_file():
            return folder
        return layout.snapshot_of(folder) or layout.transformer_of(folder) or folder

    def fetch(self, reference: Reference, access: Access, report: Report) -> Path:
        del report
        folder = Path(reference.repository).expanduser()
        found = self.find(reference, access)
        if not found:
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise DownloadFailed(f"model folder {folder.name!r} {what}: {_WANTED}")
        if found == folder and not (folder / "config.json").is_file():
            _refuse(folder)
        return found


_WANTED = "give the folder that holds config.json and the weights"


def _refuse(folder: Path) -> None:
    """Say which of the folder's own folders may be meant."""
    if (folder / "snapshots").is_dir():
        raise DownloadFailed(
            f"{folder.name!r} is a hub client's cache with no snapshot for `main`, or several without one: "
            "give one of the folders in its `snapshots`"
        )
    inside = sorted(each.parent.name for each in folder.glob("*/config.json"))
    if inside:
        raise DownloadFailed(f"model folder {folder.name!r} has no config.json, but its {inside[0]!r} has: give that")


SOURCE = _Local()
