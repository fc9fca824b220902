"""A model's weights on disk, read one tensor (or a few rows) at a time from its safetensors files.

Format: https://huggingface.co/docs/safetensors/index#format. Read by hand because the package has no bfloat16 without
torch, and because a memory map of the whole file would count towards the process's memory.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rerankd.errors import ModelLoadError, UnsupportedModel

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_BLOCK_BYTES = 16 << 20
_MAX_HEADER_BYTES = 100 << 20
_WIDTHS: Mapping[str, int] = {"F32": 4, "F16": 2, "BF16": 2}

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies: its file, its stored type, its shape and the position of its first byte."""

    file: Path
    stored: str
    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Every tensor of a model by name."""

    tensors: Mapping[str, Tensor]

    def has(self, name: str) -> bool:
        """Tell whether a tensor of this full name exists."""
        return self._find(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self._tensor(name).shape

    def read(self, name: str) -> Floats:
        """Read a whole tensor as float32.

        Raises:
            ModelLoadError: there is none of that name, or its file is cut short.
        """
        tensor = self._tensor(name)
        return _read(tensor, name, 0, _count(tensor.shape)).reshape(tensor.shape)

    def blocks(self, name: str) -> Iterator[Floats]:
        """Read a matrix as float32 in blocks of some rows each: for tensors too big to hold."""
        tensor = self._tensor(name)
        row = _count(tensor.shape[1:])
        rows = max(1, _BLOCK_BYTES // (4 * row))
        for first in range(0, tensor.shape[0], rows):
            count = min(rows, tensor.shape[0] - first)
            yield _read(tensor, name, first * row, count * row).reshape(count, *tensor.shape[1:])

    def _find(self, name: str) -> Tensor | None:
        # Checkpoints converted from TensorFlow say gamma and beta, and transformers still reads them.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return self.tensors.get(name) or self.tensors.get(old)

    def _tensor(self, name: str) -> Tensor:
        tensor = self._find(name)
        if tensor is None:
            raise ModelLoadError(
                f"the weights have no tensor {name!r}: the file is not the model that config.json says"
            )
        return tensor


def available(files: frozenset[str]) -> bool:
    """Tell from the file names whether there are weights this module reads."""
    return SINGLE in files or INDEX in files


def open_weights(folder: Path, files: frozenset[str]) -> Weights:
    """Read the names, shapes and places of all tensors.

    Raises:
        UnsupportedModel: there are no safetensors files.
        ModelLoadError: a file is damaged.
    """
    if not available(files):
        raise UnsupportedModel(
            "the model has no model.safetensors: save it once with save_pretrained(safe_serialization=True), "
            "or choose a revision of it that has safetensors weights"
        )
    tensors: dict[str, Tensor] = {}
    for name in (SINGLE,) if SINGLE in files else _shards(folder / INDEX):
        tensors |= _header(folder / name)
    return Weights(tensors)


def open_part(folder: Path, files: frozenset[str], part: str) -> Mapping[str, Tensor]:
    """Read the names, shapes and places of the tensors in a folder within the model's.

    Raises:
        UnsupportedModel: it has no safetensors file.
        ModelLoadError: the file is damaged.
    """
    name = f"{part}/{SINGLE}"
    if name not in files:
        raise UnsupportedModel(
            f"the model has no {name}: save it once with save_pretrained(safe_serialization=True), "
            "or choose a revision of it that has safetensors weights"
        )
    return _header(folder / name)


def find_prefix(weights: Weights, table: str, prefixes: Sequence[str], what: str) -> str:
    """Which of the prefixes the name of the word table has; `what` is the kind of model, for the message.

    Raises:
        UnsupportedModel: none of them, or several.
    """
    found = [prefix for prefix in prefixes if weights.has(prefix + table)]
    if len(found) != 1:
        raise UnsupportedModel(f"the weights have no {table!r}: this is no {what}")
    return found[0]


def _shards(index: Path) -> tuple[str, ...]:
    try:
        places = cast("dict[str, dict[str, str]]", json.loads(index.read_text("utf-8")))["weight_map"].values()
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelLoadError(f"{INDEX} cannot be read: {type(error).__name__}; fetch the model again") from error
    names = tuple(sorted(set(places)))
    if any(Path(name).name != name for name in names):
        raise ModelLoadError(f"{INDEX} names files outside the model's folder")
    return names


def _header(file: Path) -> dict[str, Tensor]:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > min(_MAX_HEADER_BYTES, file.stat().st_size):
                raise ModelLoadError(f"{file.name} is damaged: its header is longer than the file; fetch it again")
            header = cast("dict[str, dict[str, object]]", json.loads(stream.read(length)))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{file.name} cannot be read: {type(error).__name__}; fetch the model again") from error
    header.pop("__metadata__", None)
    try:
        return {
            name: Tensor(
                file=file,
                stored=cast("str", entry["dtype"]),
                shape=tuple(cast("list[int]", entry["shape"])),
                start=8 + length + cast("list[int]", entry["data_offsets"])[0],
            )
            for name, entry in header.items()
        }
    except (KeyError, TypeError, IndexError) as error:
        raise ModelLoadError(f"{file.name} is damaged: its header is malformed; fetch it again") from error


def _read(tensor: Tensor, name: str, first: int, count: int) -> Floats:
    width = _WIDTHS.get(tensor.stored)
    if width is None:
        raise UnsupportedModel(f"tensor {name!r} is stored as {tensor.stored}: only F32, F16 and BF16 can be read")
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start + first * width)
        raw = stream.read(count * width)
    if len(raw) != count * width:
        raise ModelLoadError(f"{tensor.file.name} is cut short at tensor {name!r}; fetch it again")
    if tensor.stored == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, "<f4" if tensor.stored == "F32" else "<f2").astype(np.float32)


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
