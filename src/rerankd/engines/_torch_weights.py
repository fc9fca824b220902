"""A model's safetensors files as torch tensors: found by name, read one by one, straight to a device and precision."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open

from rerankd.errors import ModelLoadError, UnsupportedModel

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class TensorFiles:
    """The open files of one model, until `close`. Tensors are mapped, so only what is read takes memory."""

    def __init__(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        """Open every file and list its tensors.

        Raises:
            UnsupportedModel: there are no safetensors files.
            ModelLoadError: one is missing or damaged.
        """
        self._device, self._dtype = device, dtype
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        for file in _files(folder):
            try:
                opened = self._stack.enter_context(cast("Any", safe_open)(folder / file, framework="pt"))
            except (OSError, SafetensorError) as error:
                self._stack.close()
                raise ModelLoadError(
                    f"{file} is damaged or missing ({type(error).__name__}); fetch it again"
                ) from error
            self._files |= dict.fromkeys(cast("Sequence[str]", opened.keys()), opened)

    def close(self) -> None:
        """Unmap the files."""
        self._stack.close()
        self._files.clear()

    def prefix(self, name: str, candidates: Sequence[str]) -> str:
        """Which of the candidates stands before `name`.

        Raises:
            UnsupportedModel: none does.
        """
        for candidate in candidates:
            if candidate + name in self._files:
                return candidate
        raise UnsupportedModel(f"the weights have no {name!r}: they are not the model that config.json says")

    def has(self, name: str) -> bool:
        """Tell whether there is a tensor of this name."""
        return self._name(name) in self._files

    def labels(self, name: str) -> int:
        """How many rows a matrix has: a classifier's labels."""
        return int(self._tensor(name, slice(None)).shape[0])

    def read(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Read a tensor of a known shape.

        Raises:
            ModelLoadError: there is none of that name and shape.
        """
        found = self._tensor(name, slice(None))
        if tuple(found.shape) != shape:
            raise ModelLoadError(
                f"tensor {name!r} has the shape {tuple(found.shape)} and config.json says {shape}: "
                "the files do not belong together"
            )
        return found.to(self._device, self._dtype)

    def stack(self, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Read tensors and put them one below the other, so that one multiplication does for all."""
        return torch.cat([self.read(name, shape) for name, shape in zip(names, shapes, strict=True)])

    def rows(self, name: str, rows: Sequence[int]) -> torch.Tensor:
        """Read a few rows of a matrix, in fp32: shape `(rows, width)`. The rest of it never enters memory.

        Raises:
            ModelLoadError: there is no such tensor, or it has fewer rows.
        """
        try:
            found = [self._tensor(name, slice(row, row + 1)) for row in rows]
        except IndexError as error:
            raise ModelLoadError(f"tensor {name!r} has no row {max(rows)}: the tokenizer is another model's") from error
        return torch.cat(found).to(self._device, torch.float32)

    def _name(self, name: str) -> str:
        # Checkpoints converted from TensorFlow say gamma and beta, and transformers still reads them.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return old if name not in self._files and old in self._files else name

    def _tensor(self, name: str, rows: slice) -> torch.Tensor:
        name = self._name(name)
        if name not in self._files:
            raise ModelLoadError(f"the weights have no tensor {name!r}: fetch the model again")
        try:
            part = self._files[name].get_slice(name)
            if rows.stop is not None and rows.stop > part.get_shape()[0]:
                raise IndexError
            return cast("torch.Tensor", part[rows])
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(f"tensor {name!r} cannot be read ({type(error).__name__}); fetch it again") from error


def _files(folder: Path) -> Sequence[str]:
    if (folder / _SINGLE).is_file():
        return (_SINGLE,)
    if not (folder / _INDEX).is_file():
        raise UnsupportedModel(
            f"the model has no {_SINGLE}: save it once with save_pretrained(safe_serialization=True), "
            "or choose a revision of it that has safetensors weights"
        )
    try:
        index = cast("Mapping[str, Mapping[str, str]]", json.loads((folder / _INDEX).read_text("utf-8")))
        names = sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelLoadError(f"{_INDEX} cannot be read: {type(error).__name__}; fetch the model again") from error
    if any(Path(name).name != name for name in names):
        raise ModelLoadError(f"{_INDEX} names files outside the model's folder")
    return names
