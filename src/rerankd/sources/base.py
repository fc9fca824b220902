"""The source contract: a reference to files on disk. A source never reads weights and never runs code."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from rerankd.types import Progress


@dataclass(frozen=True, slots=True)
class Reference:
    """Which files: a source's name, the repository or path in its own words, and a revision where it has any."""

    source: str
    repository: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """How sources reach out, and where they keep what they fetch.

    `store` is the folder for fetched models. With `offline` nothing is fetched: what is here is served. The hub is
    asked at `hf_endpoint`, then at each of `mirrors`; mirrors are shown the token only with `mirrors_get_token`.
    `hf_cache` is the folder of the hub's own client, where models that other programs fetched are found.
    `timeout_s` is how long an address may be silent.
    """

    store: Path
    offline: bool = False
    hf_endpoint: str = "https://huggingface.co"
    mirrors: tuple[str, ...] = ()
    hf_token: str = field(default="", repr=False)
    mirrors_get_token: bool = False
    hf_cache: Path | None = None
    modelscope_endpoint: str = "https://modelscope.cn"
    modelscope_token: str = field(default="", repr=False)
    timeout_s: float = 10.0


Report = Callable[[Progress], None]
"""Hears how far a download is, in the thread that called `fetch`. What it raises ends the download."""


class Source(Protocol):
    """What a source module exports as `SOURCE`."""

    def refer(self, name: str) -> Reference | None:
        """Read a model's name as a person writes it; None when the text alone shows that it means another source."""
        ...

    def find(self, reference: Reference, access: Access) -> Path | None:
        """Return the folder of a model that is whole on this machine; None when it is not. Reaches out to nobody."""
        ...

    def fetch(self, reference: Reference, access: Access, report: Report) -> Path:
        """Return a folder that holds the model's files, fetching what is missing. May take long; may be repeated.

        Raises:
            DownloadFailed: the files cannot be had; the message says why and what to do.
            ChecksumMismatch: what arrives is not what the hub says it is.
        """
        ...


@runtime_checkable
class Renewable(Protocol):
    """What a source adds whose revisions can mean something newer tomorrow."""

    def newest(self, reference: Reference, access: Access, report: Report) -> Path:
        """Return the folder of what the revision means at the hub now, fetched beside what is here.

        What the revision means on this machine stays as it is.

        Raises:
            DownloadFailed, ChecksumMismatch: see `Source.fetch`.
        """
        ...
