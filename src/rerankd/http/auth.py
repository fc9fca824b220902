"""Who asks, and what the key that it shows opens."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from rerankd.errors import ConfigError, NotAllowed, NotAuthenticated
from rerankd.keys import file as keys_file
from rerankd.keys.file import KeyLines
from rerankd.keys.record import ORDINARY, SALT_BYTES, KeyRecord, chosen_key
from rerankd.keys.ring import KeyRing
from rerankd.settings import AuthSettings
from rerankd.types import Caller, Scope

_HOW = "send `Authorization: Bearer KEY` (or `api-key`, `x-api-key`)"


class Keys:
    """The keys in force, by their digests. Falsy where none are configured: then everybody may ask, but for admin."""

    def __init__(
        self, read: Callable[[], Sequence[KeyRecord]], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._read = read
        self._now = now
        self._ring = KeyRing(read())
        # Decided once: when the last key is revoked, the door is shut, not open.
        self._required = bool(self._ring.records)

    def __bool__(self) -> bool:
        return self._required

    def reload(self) -> int:
        """Read the keys again; return how many there are. Blocks on the disk.

        Raises:
            ConfigError: they cannot be read; those that were in force stay so.
        """
        self._ring = KeyRing(self._read())
        return len(self._ring.records)

    def caller(self, headers: Mapping[str, str], scope: Scope = Scope.RERANK) -> Caller:
        """Name the caller by its key.

        Raises:
            NotAuthenticated: keys are configured, and none was sent that is one of them and has not expired.
            NotAllowed: the key does not open `scope`; or `scope` is admin, and no keys are configured.
        """
        if not self._required:
            return _without_keys(scope)
        sent = [key for key in _sent(headers) if key]
        found = [record for record in map(self._ring.find, sent) if record is not None]
        valid = [record for record in found if not record.expired(self._now())]
        if not valid:
            if found:
                raise NotAuthenticated(f"the API key {found[0].name!r} has expired: ask for a new one")
            what = "this API key is not known here" if sent else "an API key is required"
            raise NotAuthenticated(f"{what}: {_HOW}")
        if scope not in valid[0].scopes:
            opens = ", ".join(sorted(valid[0].scopes))
            raise NotAllowed(f"the API key {valid[0].name!r} opens {opens}, and this needs {scope.value}")
        return Caller(valid[0].name, valid[0].scopes, anonymous=False, limits=valid[0].limits)


def load_keys(settings: AuthSettings) -> Keys:
    """Collect the keys of the settings and of the keys file.

    Raises:
        ConfigError: the file cannot be read or holds no key, or the limits of one cannot be understood.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    _refuse_none(settings, _from_file(settings))
    return Keys(lambda: _records(settings, salt))


def read_keys(settings: AuthSettings) -> list[str]:
    """Read the keys that stand somewhere in clear, those of the settings first.

    Raises:
        ConfigError: as `load_keys`.
    """
    lines = _from_file(settings)
    _refuse_none(settings, lines)
    return [*_in_settings(settings), *lines.clear]


def _records(settings: AuthSettings, salt: bytes) -> Sequence[KeyRecord]:
    lines = _from_file(settings)
    _check_limits(lines.records)
    everything = frozenset(Scope)
    chosen = [(key, ORDINARY) for key in (*_in_settings(settings), *lines.clear)]
    admins = [key.get_secret_value().strip() for key in settings.admin_keys]
    return [
        *(chosen_key(key, f"admin-{i}", salt, everything) for i, key in enumerate(admins, 1)),
        *(chosen_key(key, f"key-{i}", salt, scopes) for i, (key, scopes) in enumerate(chosen, 1)),
        *lines.records,
    ]


def _in_settings(settings: AuthSettings) -> list[str]:
    keys = [key.get_secret_value().strip() for key in settings.keys]
    if not all((*keys, *(key.get_secret_value().strip() for key in settings.admin_keys))):
        raise ConfigError("auth.keys holds an empty key: remove it, or set RERANKD_AUTH__KEYS to a real one")
    return keys


def _from_file(settings: AuthSettings) -> KeyLines:
    return keys_file.read(settings.keys_file) if settings.keys_file is not None else KeyLines()


def _check_limits(records: Sequence[KeyRecord]) -> None:
    """Refuse limits that are none now, not when their key comes."""
    if any(record.limits for record in records):
        from rerankd.service.quotas import read_quota  # a tenth of a second of a start

        for record in records:
            for text in record.limits:
                try:
                    read_quota(text)
                except ConfigError as error:
                    raise ConfigError(f"the API key {record.name!r}: {error}") from error


def _refuse_none(settings: AuthSettings, lines: KeyLines) -> None:
    """Refuse to begin with an empty file, which would leave the server open. While it runs, none means none."""
    if settings.keys_file is not None and not lines:
        name = settings.keys_file.name
        raise ConfigError(f"auth.keys_file {name!r} holds no key: `rerankd keys new NAME` writes one, or unset it")


def _without_keys(scope: Scope) -> Caller:
    if scope is Scope.ADMIN:
        # Never open, not even on loopback: any page in a browser on this machine can send requests there.
        raise NotAllowed(
            "this needs a key with the scope admin, and there are no keys: set auth.admin_keys or auth.keys_file"
        )
    return Caller()


def _sent(headers: Mapping[str, str]) -> list[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [bearer, headers.get("api-key", "").strip(), headers.get("x-api-key", "").strip()]
