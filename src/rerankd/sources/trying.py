"""Asking one address after the other, and what to say when none delivers."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from rerankd.errors import ChecksumMismatch, DownloadFailed
from rerankd.sources.base import Access
from rerankd.sources.transfer import Broken, Passing

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSES_S = (0.3, 1.0)
_WAYS_OUT = (
    "Ways out: set a mirror that this machine reaches (models.mirrors, or HF_ENDPOINT); or give a folder that has the "
    "files (rerankd serve ./folder); or carry a bundle from a machine that has the model (rerankd bundle export there, "
    "rerankd bundle import here)."
)


def first_that_delivers(name: str, addresses: Sequence[str], fetch: Callable[[str], Path]) -> Path:
    """Return what the first address delivers; why it is not the one before is logged.

    Raises:
        DownloadFailed: none did; the message names each, what it answered, and the ways out.
        ChecksumMismatch: all that answered sent damaged files.
        UnsupportedModel: an address described the repository, and it holds no model that can be served.
    """
    tried: list[tuple[str, str]] = []
    damaged = 0
    for address in dict.fromkeys(addresses):
        shown = without_credentials(address)
        try:
            return fetch(address)
        except (Broken, ChecksumMismatch) as error:
            damaged += isinstance(error, ChecksumMismatch)
            tried.append((shown, str(error)))
            logger.warning("%s does not deliver %s: %s", shown, name, error)
    message = no_address(name, tried)
    if damaged == len(tried):
        raise ChecksumMismatch(message)
    raise DownloadFailed(message, tried=tried)


def patiently(ask: Callable[[], T]) -> T:
    """Ask again, twice, where an address is busy for the moment.

    Raises:
        Broken: it still is, or does not deliver.
    """
    for pause_s in _PAUSES_S:
        try:
            return ask()
        except Passing as error:
            logger.info("asking again in %g s: %s", pause_s, error)
            time.sleep(pause_s)
    return ask()


def no_address(name: str, tried: Sequence[tuple[str, str]]) -> str:
    """Say that none of the addresses delivered a model."""
    lines = [f"  {address}: {answer}" for address, answer in tried]
    return "\n".join([f"model {name!r} could not be fetched. Tried:", *lines, _WAYS_OUT])


def refuse_offline(name: str, access: Access) -> None:
    """Keep from reaching out.

    Raises:
        DownloadFailed: `offline` is on.
    """
    if access.offline:
        raise DownloadFailed(
            f"model {name!r} is not on this machine, and models.offline (or HF_HUB_OFFLINE) forbids to fetch it: "
            "import a bundle (rerankd bundle import FILE), give a folder (rerankd serve ./folder), or turn it off once "
            f"(RERANKD_MODELS__OFFLINE=false rerankd pull {name})"
        )


def without_credentials(address: str) -> str:
    """Return the address without a name and password that may stand in it."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
