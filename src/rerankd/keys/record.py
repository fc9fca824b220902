"""What is kept of an API key: everything but the key.

A key is 256 random bits, so its digest needs no slow hash (docs/decisions/008): HMAC-SHA256 under a salt of its own.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from rerankd.types import Scope

SALT_BYTES = 16
_SECRET_BYTES = 32
_FORM = re.compile(r"rk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")

ORDINARY = frozenset({Scope.RERANK, Scope.METRICS})
"""What a key opens that says nothing about scopes."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key by its digest. `id` is the part of the key that may be shown; "" where somebody chose the key himself.

    `created` and `expires` are times with a zone; None is unknown, and never. `limits` hold for this key instead of
    those of `limits.per_key` that count the same.
    """

    name: str
    digest: bytes
    salt: bytes
    id: str = ""
    scopes: frozenset[Scope] = ORDINARY
    created: datetime | None = None
    expires: datetime | None = None
    limits: tuple[str, ...] = ()

    def expired(self, now: datetime) -> bool:
        """Whether it no longer opens anything."""
        return self.expires is not None and now >= self.expires


def new_key(
    name: str,
    *,
    scopes: Iterable[Scope],
    created: datetime,
    expires: datetime | None = None,
    limits: Iterable[str] = (),
) -> tuple[str, KeyRecord]:
    """Make a key; return it, for the one time that it is shown, and its record."""
    id_ = secrets.token_hex(6)
    key = f"rk_{id_}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    salt = secrets.token_bytes(SALT_BYTES)
    return key, KeyRecord(name, digest(key, salt), salt, id_, frozenset(scopes), created, expires, tuple(limits))


def chosen_key(key: str, name: str, salt: bytes, scopes: frozenset[Scope] = ORDINARY) -> KeyRecord:
    """Make the record of a key that stands in clear in the settings or in the keys file."""
    return KeyRecord(name, digest(key, salt), salt, scopes=scopes)


def digest(key: str, salt: bytes) -> bytes:
    """Return 32 bytes that tell nothing about the key."""
    return hmac.digest(salt, key.encode("utf-8", "surrogateescape"), hashlib.sha256)


def id_of(key: str) -> str:
    """Return the public part of a key that `new_key` made; "" of any other text."""
    found = _FORM.fullmatch(key)
    return found[1] if found else ""
