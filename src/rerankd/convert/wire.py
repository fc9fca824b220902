"""Protocol buffers, the little of it that writing an ONNX file takes: varints, floats, length-delimited fields.

Encoding: https://protobuf.dev/programming-guides/encoding/. A message is the concatenation of its fields, so every
function here returns bytes and a message is built by joining them.
"""

import struct
from collections.abc import Iterable

_VARINT = 0
_LENGTH_DELIMITED = 2
_FIXED32 = 5
_UINT64_MASK = (1 << 64) - 1


def varint(value: int) -> bytes:
    """Encode an integer of at most 64 bits; a negative one as its two's complement, as proto3's int64 does."""
    value &= _UINT64_MASK
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number: int, value: int) -> bytes:
    """Field `number` holding an int32, int64 or enum."""
    return varint(number << 3 | _VARINT) + varint(value)


def real(number: int, value: float) -> bytes:
    """Field `number` holding a 32-bit float."""
    return varint(number << 3 | _FIXED32) + struct.pack("<f", value)


def message(number: int, value: bytes) -> bytes:
    """Field `number` holding bytes or an encoded message."""
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(value)) + value


def text(number: int, value: str) -> bytes:
    """Field `number` holding a string."""
    return message(number, value.encode())


def integers(number: int, values: Iterable[int]) -> bytes:
    """Repeated field `number` of int64, packed."""
    return message(number, b"".join(varint(value) for value in values))
