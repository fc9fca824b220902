"""Reading what clients really send: null for absent, "true" for true, "3" for 3, a lone string for a list.

Field types for the dialects' wire models, and the sentences that say what was wrong with a value.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from rerankd.errors import EmptyDocuments, InvalidRequest
from rerankd.types import Document, JsonObject, JsonValue, Lane

Wire = TypeVar("Wire", bound=BaseModel)

_SHORT = 80
_WHOLE = re.compile(r"\s*[+-]?\d{1,18}(\.0*)?\s*")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_A_DOCUMENT = "must be a string or an object with `text`"


def read(wire: type[Wire], body: JsonValue) -> Wire:
    """Read a body by its wire model; null counts as absent.

    Raises:
        InvalidRequest: it does not fit; the message names the first field at fault, and its value.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequest(f"the body must be a JSON object, got {show(body)}")
    present = {key: value for key, value in cast("JsonObject", body).items() if value is not None}
    try:
        return wire.model_validate(present)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = _where(problem["loc"])
        if problem["type"] == "missing":
            raise InvalidRequest(f"`{where}` is required", field=where) from error
        got = show(cast("JsonValue", problem["input"]))
        raise InvalidRequest(f"`{where}` {problem['msg']}, got {got}", field=where) from error


def show(value: JsonValue) -> str:
    """Describe a value in at most about 80 characters."""
    if isinstance(value, str):
        return _cut(json.dumps(value[: _SHORT + 1], ensure_ascii=False))
    if isinstance(value, Mapping):
        keys = ", ".join(list(cast("JsonObject", value))[:10])
        return _cut(f"an object with the keys {keys}") if keys else "an empty object"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return _cut(json.dumps(value)) if abs(value or 0) < 1e80 else "a number that is too large"


def documents_from(
    raw: Sequence[JsonValue], rank_fields: Sequence[str] = (), *, field: str = "documents"
) -> tuple[Document, ...]:
    """Read candidates: strings, `{"text"}`, `{"content": [{"type": "text", "text"}]}`, or objects with `rank_fields`.

    Raises:
        EmptyDocuments: there are none.
        InvalidRequest: one is none of these; the message names its place.
    """
    if not raw:
        raise EmptyDocuments(field)
    return tuple(_document(item, rank_fields, f"{field}[{i}]") for i, item in enumerate(raw))


def count_from(wanted: Mapping[str, int | None]) -> int | None:
    """Settle how many to return from the names clients use for it; 0 and absent mean all.

    Raises:
        InvalidRequest: two names were sent with different values.
    """
    sent = {name: value for name, value in wanted.items() if value is not None}
    if len(set(sent.values())) > 1:
        parts = " and ".join(f"`{name}` = {value}" for name, value in sent.items())
        raise InvalidRequest(f"{parts} contradict each other: send one of them", field=next(iter(sent)))
    return next(iter(sent.values()), None) or None


def _document(item: JsonValue, rank_fields: Sequence[str], where: str) -> Document:
    if isinstance(item, str):
        return Document(item)
    if not isinstance(item, Mapping):
        raise InvalidRequest(f"`{where}` {_A_DOCUMENT}, got {show(item)}", field=where)
    fields = _writable(cast("JsonObject", item), where)
    if rank_fields:
        return Document(_joined(fields, rank_fields, where), fields)
    if isinstance(fields.get("text"), str):
        return Document(cast("str", fields["text"]), fields)
    if fields.get("content") is not None:
        return Document(_content(fields["content"], f"{where}.content"))
    raise InvalidRequest(f"`{where}` {_A_DOCUMENT}, got {show(fields)}", field=where)


def _writable(fields: JsonObject, where: str) -> JsonObject:
    """Refuse what could not be given back: JSON can spell numbers (1e400) that no float holds."""
    try:
        json.dumps(fields, allow_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"`{where}` holds a number that is too large", field=where) from error
    return fields


def _joined(fields: JsonObject, rank_fields: Sequence[str], where: str) -> str:
    values = [fields[name] for name in rank_fields if fields.get(name) is not None]
    if not values:
        names = ", ".join(rank_fields)
        message = f"`{where}` has none of the `rank_fields` ({_cut(names)}), got {show(fields)}"
        raise InvalidRequest(message, field=where)
    return "\n".join(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)


def _content(content: JsonValue, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise InvalidRequest(f"`{where}` must be a list of parts, got {show(content)}", field=where)
    return "\n".join(_part(part, f"{where}[{i}]") for i, part in enumerate(content))


def _part(part: JsonValue, where: str) -> str:
    text = cast("JsonObject", part).get("text") if isinstance(part, Mapping) else None
    if not isinstance(text, str):
        raise InvalidRequest(
            f'`{where}` must be {{"type": "text", "text": …}}: only text can be ranked here, got {show(part)}',
            field=where,
        )
    return text


def _where(loc: Sequence[int | str]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def _must(requirement: str) -> PydanticCustomError:
    return PydanticCustomError("rerankd", "{requirement}", {"requirement": requirement})


def _count(value: object) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _must("must be a whole number of 0 or more")
    if value < 0:
        raise _must("must be 0 or more")
    return min(value, 2**62)


def _seconds(value: object) -> float:
    try:
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise _must("must be a number of seconds above 0")
    return seconds


def _priority(value: object) -> Lane:
    if isinstance(value, str) and value in set(Lane):
        return Lane(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Lane.BACKGROUND if value > 0 else Lane.INTERACTIVE
    raise _must("must be interactive, background, or a whole number, of which those above 0 are background")


def _flag(value: object) -> bool:
    key = str(value).strip().lower() if isinstance(value, str | int) else ""
    if key not in _FLAGS:
        raise _must("must be true or false")
    return _FLAGS[key]


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        value = cast("JsonObject", value).get("text")
    if not isinstance(value, str):
        raise _must("must be a string")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise _must("must be a string")
    return value


def _names(value: object) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in cast("list[object]", names)):
        raise _must("must be a list of strings")
    return cast("list[str]", names)


def _documents(value: object) -> list[object]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        # vLLM takes {"content": [part, …]}, one document a part; anything else is one document.
        parts = cast("JsonObject", value).get("content")
        return [*parts] if isinstance(parts, list) else [cast("object", value)]
    if not isinstance(value, list):
        raise _must("must be a list of strings")
    return cast("list[object]", value)


_STRING_OR_OBJECT: dict[str, object] = {
    "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}],
}

Count = Annotated[
    int | None,
    BeforeValidator(_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}),
]
"""A number of 0 or more; "3" and 3.0 will do."""
Seconds = Annotated[
    float | None,
    BeforeValidator(_seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}),
]
"""A number of seconds above 0; "2.5" will do."""
Priority = Annotated[
    Lane,
    BeforeValidator(_priority),
    WithJsonSchema({"anyOf": [{"type": "string", "enum": [lane.value for lane in Lane]}, {"type": "integer"}]}),
]
"""A lane's name, or vLLM's number."""
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
"""A boolean; "true", "false", "1", "0", 1 and 0 will do."""
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string"})]
"""A string, or an object with `text`."""
Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string"})]
"""A string and nothing else."""
Names = Annotated[list[str], BeforeValidator(_names), WithJsonSchema({"type": "array", "items": {"type": "string"}})]
"""A list of strings; a lone string is a list of one."""
Documents = Annotated[
    list[object],
    BeforeValidator(_documents),
    WithJsonSchema({"type": "array", "minItems": 1, "items": _STRING_OR_OBJECT}),
]
"""Candidates as they came, for `documents_from`; a lone string is a list of one."""
