"""An ONNX graph under construction: nodes, small constants inside the file, weights streamed into a second one.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3. Written without the `onnx` package
(31 MB), which only the tests use, to check what is written here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rerankd.convert import wire

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md"""

_IR_VERSION = 8
_OPSET = 17
"""The first with LayerNormalization; known to every onnxruntime since 1.12."""
_MICROSOFT_OPSET = 1
_PAGE = 4096
"""Offsets are multiples of this, so that the weights can be mapped into memory instead of read."""
_EXTERNAL = 1

Attribute = int | float | str | Sequence[int]
Dimension = int | str
AnyArray = NDArray[np.generic]


class ElementType(IntEnum):
    """TensorProto.DataType, of which only these are used here."""

    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    INT32 = 6
    INT64 = 7


_ELEMENT_TYPES: Mapping[str, ElementType] = {
    "float32": ElementType.FLOAT,
    "uint8": ElementType.UINT8,
    "int8": ElementType.INT8,
    "int32": ElementType.INT32,
    "int64": ElementType.INT64,
}


@dataclass(slots=True)
class GraphBuilder:
    """Collects a graph; weights go to `data` as they come, so that no more than one is in memory at a time.

    `data_name` is the file name of `data` beside the graph's file.
    """

    data: BinaryIO
    data_name: str
    _nodes: list[bytes] = field(default_factory=list[bytes])
    _tensors: list[bytes] = field(default_factory=list[bytes])
    _inputs: list[bytes] = field(default_factory=list[bytes])
    _outputs: list[bytes] = field(default_factory=list[bytes])
    _counter: int = 0

    def input(self, name: str, element_type: ElementType, shape: Sequence[Dimension]) -> str:
        """Declare an input; a dimension given by name is dynamic."""
        self._inputs.append(wire.message(11, _value_info(name, element_type, shape)))
        return name

    def output(self, name: str, element_type: ElementType, shape: Sequence[Dimension] | None) -> None:
        """Declare that the value `name` is an output of the graph; a shape of None is left to be found."""
        self._outputs.append(wire.message(12, _value_info(name, element_type, shape)))

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        domain: str = "",
        output: str = "",
    ) -> str:
        """Add an operator with one output and return the output's name. An input "" is one left out."""
        return self.nodes(operator, inputs, attributes, domain=domain, outputs=(output or self._name(operator),))[0]

    def nodes(
        self,
        operator: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        domain: str = "",
        outputs: Sequence[str],
    ) -> Sequence[str]:
        """Add an operator with the outputs named."""
        parts = [wire.text(1, name) for name in inputs]
        parts += [wire.text(2, name) for name in outputs]
        parts += [wire.text(3, self._name(f"node_{operator}")), wire.text(4, operator)]
        parts += [wire.message(5, _attribute(name, value)) for name, value in (attributes or {}).items()]
        parts += [wire.text(7, domain)] if domain else []
        self._nodes.append(wire.message(1, b"".join(parts)))
        return outputs

    def constant(self, values: AnyArray, name: str = "") -> str:
        """Add a small tensor inside the graph's own file, where shape inference can see it."""
        name = name or self._name("constant")
        tensor = _tensor_head(name, values.shape, values.dtype) + wire.message(9, _little_endian(values).tobytes())
        self._tensors.append(wire.message(5, tensor))
        return name

    def weight(self, name: str, shape: Sequence[int], blocks: Iterable[AnyArray]) -> str:
        """Stream a tensor, given in consecutive blocks of one type, into the data file.

        Raises:
            ValueError: the blocks do not add up to `shape`, or there are none.
        """
        offset = self.data.tell() + -self.data.tell() % _PAGE
        self.data.write(bytes(offset - self.data.tell()))
        dtype: np.dtype[np.generic] | None = None
        elements = 0
        for block in blocks:
            dtype = block.dtype
            elements += block.size
            self.data.write(_little_endian(np.ascontiguousarray(block)).data.cast("B"))
        if dtype is None or elements != int(np.prod(shape)):
            raise ValueError(f"{name}: {elements} elements do not fill the shape {tuple(shape)}")
        location = {"location": self.data_name, "offset": str(offset), "length": str(elements * dtype.itemsize)}
        entries = [wire.message(13, wire.text(1, key) + wire.text(2, value)) for key, value in location.items()]
        tensor = _tensor_head(name, shape, dtype) + b"".join(entries) + wire.integer(14, _EXTERNAL)
        self._tensors.append(wire.message(5, tensor))
        return name

    def write(self, path: Path) -> None:
        """Write the graph's file. The data file is the caller's to close."""
        graph = [*self._nodes, wire.text(2, "rerankd"), *self._tensors, *self._inputs, *self._outputs]
        opsets = [
            wire.message(8, wire.integer(2, _OPSET)),
            wire.message(8, wire.text(1, MICROSOFT) + wire.integer(2, _MICROSOFT_OPSET)),
        ]
        head = wire.integer(1, _IR_VERSION) + wire.text(2, "rerankd")
        path.write_bytes(head + wire.message(7, b"".join(graph)) + b"".join(opsets))

    def _name(self, stem: str) -> str:
        self._counter += 1
        return f"{stem}_{self._counter}"


def _little_endian(values: AnyArray) -> AnyArray:
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def _tensor_head(name: str, shape: Sequence[int], dtype: np.dtype[np.generic]) -> bytes:
    return wire.integers(1, shape) + wire.integer(2, _ELEMENT_TYPES[dtype.name]) + wire.text(8, name)


def _value_info(name: str, element_type: ElementType, shape: Sequence[Dimension] | None) -> bytes:
    if shape is None:
        return wire.text(1, name) + wire.message(2, wire.message(1, wire.integer(1, element_type)))
    sizes = [wire.text(2, size) if isinstance(size, str) else wire.integer(1, size) for size in shape]
    dimensions = b"".join(wire.message(1, size) for size in sizes)
    tensor = wire.integer(1, element_type) + wire.message(2, dimensions)
    return wire.text(1, name) + wire.message(2, wire.message(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    """AttributeProto: the value's own field, then its type, which repeats what the field says."""
    head = wire.text(1, name)
    if isinstance(value, str):
        return head + wire.text(4, value) + wire.integer(20, 3)
    if isinstance(value, float):
        return head + wire.real(2, value) + wire.integer(20, 1)
    if isinstance(value, int):
        return head + wire.integer(3, value) + wire.integer(20, 2)
    return head + b"".join(wire.integer(8, item) for item in value) + wire.integer(20, 7)
