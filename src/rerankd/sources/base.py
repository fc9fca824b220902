"""The source contract: a reference to files on disk. A source never reads weights and never runs code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reference:
    """Which files: a source's name, the repository or path in its own words, and a revision where it has any."""

    source: str
    repository: str
    revision: str = ""


class Source(Protocol):
    """What a source module exports as `SOURCE`."""

    def owns(self, name: str) -> bool:
        """Tell from the text alone whether a model's name is meant for this source ("./folder" for local)."""
        ...

    def fetch(self, reference: Reference) -> Path:
        """Return a folder that holds the model's files, fetching what is missing. May take long; may be repeated.

        Raises:
            DownloadFailed: the files cannot be had; the message says why and what to do.
        """
        ...
