import struct

from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto

from rerankd.convert import wire


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_reads_back_in_the_real_library(value: int) -> None:
    # AttributeProto.i is field 3, an int64.
    assert AttributeProto.FromString(wire.integer(3, value)).i == value


@given(st.lists(st.integers(0, 2**40)))
def test_packed_integers_read_back_in_the_real_library(values: list[int]) -> None:
    assert list(TensorProto.FromString(wire.integers(1, values)).dims) == values


@given(st.text())
def test_a_text_reads_back_in_the_real_library(value: str) -> None:
    assert TensorProto.FromString(wire.text(8, value)).name == value


@given(st.floats(width=32, allow_nan=False))
def test_a_float_reads_back_in_the_real_library(value: float) -> None:
    assert AttributeProto.FromString(wire.real(2, value)).f == value


def test_a_known_message_has_the_known_bytes() -> None:
    # The example of the encoding guide: field 1 = 150 is 08 96 01.
    assert wire.integer(1, 150) == bytes([0x08, 0x96, 0x01])
    assert wire.real(2, 1.0) == bytes([0x15]) + struct.pack("<f", 1.0)
