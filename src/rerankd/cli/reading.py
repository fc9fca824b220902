"""Documents from a file or a pipe: plain lines, a JSON list, or JSON Lines."""

import codecs
import json
from pathlib import Path
from typing import Literal, TypeAlias, cast

from rerankd.errors import InvalidRequest
from rerankd.types import JsonValue

Format: TypeAlias = Literal["lines", "json", "jsonl"]

_BY_SUFFIX: dict[str, Format] = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "lines"}
_BY_FIRST_CHARACTER: dict[str, Format] = {"[": "json", "{": "jsonl", '"': "jsonl"}


def detect(name: str, text: str) -> Format:
    """Tell the format by the file's ending, else by the first character: "[", "{" and a quote begin JSON."""
    suffix = Path(name).suffix.lower()
    return _BY_SUFFIX.get(suffix) or _BY_FIRST_CHARACTER.get(text.lstrip()[:1], "lines")


def decode(data: bytes, encoding: str) -> str:
    """Return the text; a byte order mark decides over `encoding`.

    Raises:
        InvalidRequest: the bytes are in another encoding.
    """
    if data.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidRequest(
            f"line {line} of the documents is not {encoding}: name their encoding (--encoding gb18030, for example)"
        ) from error


def documents(text: str, form: Format) -> list[str]:
    """Return the documents in order. Blank lines are skipped; an empty text inside JSON is a document.

    Raises:
        InvalidRequest: the text is not of that form, or holds no document.
    """
    found = {"lines": _lines, "json": _json, "jsonl": _jsonl}[form](text)
    if not found:
        raise InvalidRequest("there are no documents: give one a line, a JSON list, or JSON Lines")
    return found


def _lines(text: str) -> list[str]:
    # Not splitlines(): a form feed or U+2028 inside a document does not end it.
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _json(text: str) -> list[str]:
    value = _parsed(text, "the documents")
    if not isinstance(value, list):
        raise InvalidRequest(
            f"the documents are no JSON list but {_shortened(value)} (--format lines reads plain text)"
        )
    return [_document(item, f"item {i}") for i, item in enumerate(value)]


def _jsonl(text: str) -> list[str]:
    numbered = enumerate(text.split("\n"), start=1)
    return [_document(_parsed(line, f"line {i}"), f"line {i}") for i, line in numbered if line.strip()]


def _parsed(text: str, where: str) -> JsonValue:
    try:
        return cast("JsonValue", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{where}: not JSON: {error} (--format lines reads plain text)") from error


def _document(value: JsonValue, where: str) -> str:
    text = value.get("text") if isinstance(value, dict) else value
    if isinstance(text, str):
        return text
    raise InvalidRequest(f'{where}: a document is a text or an object with a "text", not {_shortened(value)}')


def _shortened(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
