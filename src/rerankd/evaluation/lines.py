"""Text files line by line, packed with gzip or not, and what is wrong with a line by its number."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from rerankd.errors import InvalidRequest
from rerankd.types import JsonValue

_GZIP = b"\x1f\x8b"

Row = Mapping[str, JsonValue]


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers from 1; memory holds one at a time.

    Raises:
        InvalidRequest: the file cannot be read, is damaged, or is not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            packed = stream.read(len(_GZIP)) == _GZIP
        with gzip.open(file, "rb") if packed else file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{file.name} is not UTF-8: convert it first (iconv -f gb18030 -t utf-8)") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
        raise InvalidRequest(f"{file.name} cannot be read: {reason}") from error


def rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Yield the JSON objects of a JSON Lines file, with their line numbers.

    Raises:
        InvalidRequest: as `lines`, or a line is no JSON object.
    """
    for number, line in lines(file):
        try:
            row = cast("JsonValue", json.loads(line))
        except ValueError as error:
            raise InvalidRequest(f"line {number} of {file.name} is not JSON: {_shortened(line)}") from error
        if not isinstance(row, Mapping):
            raise InvalidRequest(f"line {number} of {file.name} is no JSON object: {_shortened(line)}")
        yield number, cast("Row", row)


def wrong(file: Path, number: int, what: str) -> InvalidRequest:
    """Say what is wrong with a line."""
    return InvalidRequest(f"line {number} of {file.name}: {what}")


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
