"""Reading a request's body: bounded in bytes and in time, and decoded so that no text in it can fail later."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NoReturn, cast

from pydantic_core import from_json
from starlette.requests import Request

from rerankd.errors import InvalidRequest, RequestTooLarge
from rerankd.types import JsonValue

_MIB = 1024 * 1024
_DRAIN_S = 5.0


async def read_body(request: Request, *, max_mb: float, timeout_s: float) -> bytes:
    """Read the whole body.

    Raises:
        RequestTooLarge: it is longer than `max_mb` MiB; what is too much is thrown away as it comes.
        InvalidRequest: it did not arrive in `timeout_s`.
        ClientDisconnect: the caller hung up.
    """
    limit = int(max_mb * _MIB)
    declared = request.headers.get("content-length", "")
    too_long = declared.isdigit() and len(declared) < 19 and int(declared) > limit
    if too_long and "expect" in request.headers:
        raise _too_large(max_mb)  # the caller waits for a go-ahead that it does not get
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(timeout_s), aclosing(request.stream()) as stream:
            size = 0
            async for chunk in stream:
                size += len(chunk)
                if too_long or size > limit:
                    await _drain(stream, limit)
                    raise _too_large(max_mb)
                chunks.append(chunk)
    except TimeoutError as error:
        raise InvalidRequest(f"the body did not arrive within {timeout_s:g} s: send it faster or in parts") from error
    return b"".join(chunks)


async def _drain(stream: AsyncGenerator[bytes], limit: int) -> None:
    """Read on for a while: a caller that is still sending sees a reset connection instead of the answer."""
    size = 0
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for chunk in stream:
                size += len(chunk)
                if size > 4 * limit:
                    return
    except TimeoutError:
        return


def _too_large(max_mb: float) -> RequestTooLarge:
    return RequestTooLarge(
        f"the body is larger than {max_mb:g} MiB: send fewer documents at once, or raise server.max_body_mb"
    )


def decode(body: bytes) -> JsonValue:
    """Decode JSON. Every string in the result is valid Unicode; a number can still be infinite (1e400).

    Half an emoji, which JavaScript's string functions leave behind, becomes U+FFFD.

    Raises:
        InvalidRequest: it is no JSON; the message says where.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise InvalidRequest('the body is empty: send JSON such as {"query": "…", "documents": ["…"]}')
    try:
        # "keys": else the decoder keeps the last 16,384 short texts of all callers in memory, for the next ones' sake.
        return cast("JsonValue", from_json(body, allow_inf_nan=False, cache_strings="keys"))
    except ValueError as error:
        if "surrogate" not in str(error) and "hex escape" not in str(error):
            raise InvalidRequest(f"the body is not valid JSON: {error}") from error
    return _decode_with_lone_surrogates(body)


def _decode_with_lone_surrogates(body: bytes) -> JsonValue:
    try:
        return _mended(cast("JsonValue", json.loads(body.decode(), parse_constant=_no_constant)))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidRequest(f"the body is not valid JSON: {reason}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _mended(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {cast("str", _mended(key)): _mended(item) for key, item in value.items()}
    return value
