"""The keys file: one key a line, as a JSON object with its digest; or, for secrets that others mount, in clear."""

import json
import os
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import cast

from filelock import FileLock, Timeout

from rerankd.errors import ConfigError
from rerankd.keys.record import KeyRecord
from rerankd.types import Scope

_LOCK_TIMEOUT_S = 10.0
_HEADING = (
    "# API keys of rerankd, one a line. Only digests stand here: a key cannot be read back.",
    "# `rerankd keys new NAME` adds one, `rerankd keys revoke NAME` removes it. A running server notices.",
)


@dataclass(frozen=True, slots=True)
class KeyLines:
    """What stands in a file: records, and keys in clear."""

    records: tuple[KeyRecord, ...] = ()
    clear: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.records or self.clear)


def read(file: Path) -> KeyLines:
    """Read a keys file.

    Raises:
        ConfigError: it cannot be read, or a line is damaged; the message names the line, not what stands in it.
    """
    return _parsed(_lines(file), file.name)


def add(file: Path, record: KeyRecord) -> None:
    """Write one more record; the file is made, readable for its owner only, where there is none.

    Raises:
        ConfigError: the name is taken, or the file cannot be read or written.
    """
    with _changing(file) as lines:
        if any(known.name == record.name for known in _parsed(lines, file.name).records):
            raise ConfigError(f"a key called {record.name!r} is there already: revoke it first, or choose another name")
        lines += [*(() if lines else _HEADING), _line(record)]


def remove(file: Path, name_or_id: str) -> KeyRecord:
    """Take a record out by its name or id; return it.

    Raises:
        ConfigError: there is none, or the file cannot be read or written.
    """
    with _changing(file, known=True) as lines:
        found = _find(lines, file.name, name_or_id)
        lines[:] = [line for line in lines if not line.startswith("{") or _record(line).id != found.id]
        return found


def limit(file: Path, name_or_id: str, limits: Sequence[str]) -> KeyRecord:
    """Give a key limits of its own, or with none of them those of all; return its record as it is now.

    Raises:
        ConfigError: there is no such key, or the file cannot be read or written.
    """
    with _changing(file, known=True) as lines:
        found = _find(lines, file.name, name_or_id)
        changed = replace(found, limits=tuple(limits))
        lines[:] = [_line(changed) if line.startswith("{") and _record(line).id == found.id else line for line in lines]
        return changed


def _find(lines: Iterable[str], file: str, name_or_id: str) -> KeyRecord:
    records = _parsed(lines, file).records
    found = next((record for record in records if name_or_id in {record.name, record.id}), None)
    if found is None:
        names = ", ".join(record.name for record in records) or "none"
        raise ConfigError(f"no key is called {name_or_id!r} (there are: {names})")
    return found


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"auth.keys_file {file.name!r} cannot be read: {type(error).__name__}") from error


def _parsed(lines: Iterable[str], name: str) -> KeyLines:
    records: list[KeyRecord] = []
    clear: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            try:
                records.append(_record(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                message = f"auth.keys_file {name!r}, line {number}: no key that `rerankd keys new` wrote; remove it"
                raise ConfigError(message) from error
        elif line and not line.startswith("#"):
            clear.append(line)
    return KeyLines(tuple(records), tuple(clear))


def _record(line: str) -> KeyRecord:
    fields = cast("dict[str, str]", json.loads(line))
    scopes = cast("Sequence[str]", fields["scopes"])
    limits = cast("object", fields.get("limits", []))
    if not isinstance(limits, list) or not all(isinstance(each, str) for each in cast("list[object]", limits)):
        raise TypeError("limits that are no list of texts")
    times = [datetime.fromisoformat(text) if (text := fields.get(at)) else None for at in ("created", "expires")]
    if any(time is not None and time.tzinfo is None for time in times):
        raise ValueError("a time without a zone")
    return KeyRecord(
        name=str(fields["name"]),
        digest=bytes.fromhex(fields["hmac_sha256"]),
        salt=bytes.fromhex(fields["salt"]),
        id=str(fields["id"]),
        scopes=frozenset(Scope(scope) for scope in scopes),
        created=times[0],
        expires=times[1],
        limits=tuple(cast("list[str]", limits)),
    )


def _line(record: KeyRecord) -> str:
    fields: dict[str, object] = {
        "name": record.name,
        "id": record.id,
        "scopes": sorted(record.scopes),
        "created": record.created.isoformat() if record.created else None,
        "expires": record.expires.isoformat() if record.expires else None,
        "salt": record.salt.hex(),
        "hmac_sha256": record.digest.hex(),
    }
    if record.limits:
        fields["limits"] = list(record.limits)
    return json.dumps(fields, ensure_ascii=False)


@contextmanager
def _changing(file: Path, *, known: bool = False) -> Generator[list[str]]:
    """Hand out the lines and write them back as one step: no other program's change is lost, no half file is seen.

    `known`: the file has to be there.
    """
    if known and not file.exists():
        raise ConfigError(f"there is no keys file {file.name!r}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=_LOCK_TIMEOUT_S):
            lines = _lines(file) if file.exists() else []
            yield lines
            _write(file, "".join(f"{line}\n" for line in lines))
    except Timeout as error:
        raise ConfigError(f"the keys file {file.name!r} is being changed by another program: try again") from error
    except OSError as error:
        raise ConfigError(f"the keys file {file.name!r} cannot be written: {error.strerror}") from error


def _write(file: Path, text: str) -> None:
    # mkstemp makes it readable for its owner only; a file that others were given to read stays so.
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists():
            Path(temporary).chmod(file.stat().st_mode & 0o777)
        Path(temporary).replace(file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
