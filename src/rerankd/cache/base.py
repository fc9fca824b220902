"""The cache contract, and the key that names a pair's score."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

KEY_BYTES = 16
"""How long a key is."""


def pair_key(fingerprint: str, query: str, document: str) -> bytes:
    """Name a pair's raw score. `fingerprint` is all that can change it: weights, precision, engine, template, limit.

    Each part is length-prefixed, so ("ab", "c") and ("a", "bc") never meet.
    """
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in (fingerprint, query, document):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class PairScore:
    """What is remembered of a pair: its raw score, its tokens for usage, and whether its document was cut."""

    raw: float
    tokens: int
    truncated: bool


class ScoreCache(Protocol):
    """Remembers pairs, or forgets them; it is never wrong and never fails a request."""

    async def get(self, keys: Sequence[bytes]) -> Sequence[PairScore | None]:
        """Return one entry per key, or None where it is not known."""
        ...

    async def put(self, scores: Mapping[bytes, PairScore]) -> None:
        """Remember pairs, as far as the bound allows."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class CacheFactory(Protocol):
    """What a cache module exports as `CACHE`; the module's name is the URL's scheme."""

    def open(self, url: str, *, max_bytes: int) -> ScoreCache:
        """Open a cache.

        Raises:
            ConfigError: the URL is not one this scheme understands.
        """
        ...


@runtime_checkable
class OutOfProcess(Protocol):
    """What a factory adds whose cache is elsewhere: this process's memory is then asked first."""

    out_of_process: bool
