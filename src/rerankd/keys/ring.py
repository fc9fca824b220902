"""Whose key it is, found in a time that tells nothing about the keys."""

import hmac
import secrets
from collections.abc import Iterable

from rerankd.keys.record import SALT_BYTES, KeyRecord, digest, id_of

_NOBODY = KeyRecord("", secrets.token_bytes(32), secrets.token_bytes(SALT_BYTES))


class KeyRing:
    """Many keys. A made key is found by its public part, at the cost of one digest however many there are.

    Keys that somebody chose have no such part: each is compared, under one salt, so with one more digest.
    """

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self.records = tuple(records)
        self._made = {record.id: record for record in self.records if record.id}
        self._chosen = [record for record in self.records if not record.id]

    def find(self, key: str) -> KeyRecord | None:
        """Return the record of a key, expired or not; None where it is none of these."""
        # Every comparison is made, whatever the first ones say: the time taken is the same for any text.
        made = self._made.get(id_of(key), _NOBODY)
        found = made if hmac.compare_digest(digest(key, made.salt), made.digest) else None
        digests = {salt: digest(key, salt) for salt in {record.salt for record in self._chosen}}
        for record in self._chosen:
            if hmac.compare_digest(digests[record.salt], record.digest) and found is None:
                found = record
        return found
