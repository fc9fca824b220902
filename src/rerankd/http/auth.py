"""Who asks: API keys, compared in constant time."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path

from rerankd.errors import ConfigError, NotAuthenticated
from rerankd.settings import AuthSettings
from rerankd.types import Caller


class Keys:
    """The configured keys, kept as digests. Falsy when there are none: then everybody may ask."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Name the caller by the place of its key in the configuration.

        Raises:
            NotAuthenticated: keys are configured, and none was sent that is one of them.
        """
        if not self._digests:
            return Caller()
        sent = [key for key in _sent(headers) if key]
        for key in sent:
            # Every digest is compared, so that the time taken does not tell which one matched.
            matches = [hmac.compare_digest(_digest(key), known) for known in self._digests]
            if any(matches):
                return Caller(f"key-{matches.index(True) + 1}")
        what = "this API key is not known here" if sent else "an API key is required"
        raise NotAuthenticated(f"{what}: send `Authorization: Bearer KEY` (or `api-key`, `x-api-key`)")


def load_keys(settings: AuthSettings) -> Keys:
    """Collect the keys of the settings and of the keys file.

    Raises:
        ConfigError: the file cannot be read or holds no key.
    """
    return Keys(read_keys(settings))


def read_keys(settings: AuthSettings) -> list[str]:
    """Read the keys themselves, those of the settings first.

    Raises:
        ConfigError: as `load_keys`.
    """
    keys = [key.get_secret_value().strip() for key in settings.keys]
    if any(not key for key in keys):
        raise ConfigError("auth.keys holds an empty key: remove it, or set RERANKD_AUTH__KEYS to a real one")
    if settings.keys_file is not None:
        keys += _from_file(settings.keys_file)
    return keys


def _from_file(file: Path) -> list[str]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"auth.keys_file {file.name!r} cannot be read: {type(error).__name__}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise ConfigError(f"auth.keys_file {file.name!r} holds no key: write one a line, or unset it")
    return keys


def _sent(headers: Mapping[str, str]) -> list[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [bearer, headers.get("api-key", "").strip(), headers.get("x-api-key", "").strip()]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
