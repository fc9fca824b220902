"""torch on the CPU or a CUDA device, straight from a model's safetensors files: encoders without padding, and language
models that compute a request's common prefix once. An extra: rerankd[torch].

One forward pass runs at a time and takes all of torch's threads (or the device); workers that come meanwhile wait.
A batch that does not fit in memory is halved and run again, and later batches are asked for smaller.
"""

import ctypes
import json
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast

from rerankd.engines._torch_kinds import DECODERS, ENCODERS
from rerankd.engines.base import Array, Encoding, Engine, Graph, Plan
from rerankd.errors import EngineFailure, ModelLoadError, UnsupportedModel
from rerankd.types import JsonValue

if TYPE_CHECKING:
    import torch

    from rerankd.engines._torch_network import Network, Piece
    from rerankd.engines._torch_prefixes import PrefixStates

_CPU_BATCH_TOKENS = 512
"""Enough rows to fill the cores; more would only make others wait longer for their turn."""
_CUDA_BATCH_TOKENS = 16_384
_LEAST_BATCH_TOKENS = 64
_CPU_PREFIX_BYTES = 256 << 20
_CUDA_PREFIX_BYTES = 2 << 30
_PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")


class TorchEngine:
    """A network on a device; see `engines.base.Engine`."""

    def __init__(
        self, network: "Network", device: "torch.device", prefixes: "PrefixStates", *, batch_tokens: int
    ) -> None:
        self._network: Network | None = network
        self._device = device
        self._batch_tokens = batch_tokens
        self._lock = Lock()
        self._threads = 0
        self.prefixes = prefixes

    @property
    def max_batch_tokens(self) -> int:
        """Less after a batch did not fit."""
        return self._batch_tokens

    def spread(self, threads: int) -> bool:
        """Let a pass on the CPU take so many threads."""
        if self._device.type != "cpu":
            return False
        self._threads = threads
        return True

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        """Run the whole batch in one pass, without padding.

        Raises:
            EngineFailure: the network did not run, a single sequence does not fit in memory, or the engine is closed.
        """
        import torch

        network = self._network
        if network is None:
            raise EngineFailure("the engine is closed: nothing can run on it any more")
        filled = [encoding for encoding in batch if encoding.tokens]
        if len(filled) != len(batch):
            raise EngineFailure("a sequence without tokens cannot be run")
        with self._lock, torch.inference_mode():
            with _threads(self._threads):
                outputs: Sequence[torch.Tensor] = self._run(network, batch) if batch else ()
            # Numbers leave in fp32 whatever the network computes in.
            return [cast("Array", output.float().cpu().numpy()) for output in outputs]

    def close(self) -> None:
        """Let go of weights and states; the device's memory is given back."""
        import torch

        with self._lock:
            self._network = None
            self.prefixes.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, network: "Network", batch: Sequence[Encoding]) -> Sequence["torch.Tensor"]:
        try:
            return network.run([self._piece(network, encoding) for encoding in batch])
        except (RuntimeError, IndexError) as error:
            if not _out_of_memory(error):
                raise EngineFailure(f"torch could not run {len(batch)} sequence(s) ({type(error).__name__})") from error
            failure = error
        self._shrink(batch)
        if len(batch) == 1:
            raise EngineFailure(
                f"a sequence of {batch[0].tokens} tokens does not fit in the memory of {self._device.type!r}: "
                "lower models.max_tokens"
            ) from failure
        del failure  # its traceback holds the tensors that did not fit
        middle = len(batch) // 2
        return [*self._run(network, batch[:middle]), *self._run(network, batch[middle:])]

    def _shrink(self, batch: Sequence[Encoding]) -> None:
        import torch

        self.prefixes.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._batch_tokens = max(_LEAST_BATCH_TOKENS, min(self._batch_tokens, sum(one.cost for one in batch)) // 2)

    def _piece(self, network: "Network", encoding: Encoding) -> "Piece":
        import torch

        from rerankd.engines._torch_network import Piece

        ids, types = (torch.from_numpy(part).to(self._device) for part in (encoding.ids, encoding.type_ids))
        prefix = encoding.prefix
        if prefix is None or not network.shares_prefixes or not 0 < prefix.tokens < encoding.tokens:
            return Piece(ids, types)
        states = self.prefixes.get(prefix, lambda: network.states(ids[: prefix.tokens]))
        return Piece(ids[prefix.tokens :], types[prefix.tokens :], states)


class TorchEngineFactory:
    """Opens folders with `config.json` and safetensors files."""

    def missing(self) -> str:
        """Torch is an extra."""
        return "" if find_spec("torch") else "torch is not installed: pip install 'rerankd[torch]'"

    def plan(self, config: Mapping[str, JsonValue]) -> Plan | None:
        """On CUDA half precision, as the weights were saved (bf16) or else fp16; on the CPU fp32."""
        if config.get("model_type") not in ENCODERS and config.get("model_type") not in DECODERS:
            return None
        if not _cuda():
            return Plan("fp32", accelerated=False)
        saved = config.get("dtype") or config.get("torch_dtype")
        return Plan("bf16" if saved == "bfloat16" else "fp16", accelerated=True)

    def open(self, graph: Graph) -> Engine:
        """Read the weights onto the device.

        Raises:
            UnsupportedModel: an ONNX file, a precision torch does not compute in, or a model that is not built.
            ModelLoadError: the files are damaged, or memory does not suffice.
        """
        import torch

        from rerankd.engines._torch_prefixes import PrefixStates

        if graph.kind != "weights":
            raise UnsupportedModel("the torch engine runs a model's own weights, and there is only an ONNX file")
        if graph.precision not in _PRECISIONS:
            raise UnsupportedModel(
                f"the torch engine does not compute in {graph.precision!r}: choose {', '.join(_PRECISIONS)}"
            )
        device = torch.device("cuda" if _cuda() else "cpu")
        try:
            network = _open(graph, device, getattr(torch, _PRECISIONS[graph.precision]))
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise ModelLoadError(f"torch cannot read the weights ({type(error).__name__})") from error
            raise ModelLoadError(
                f"the weights do not fit in the memory of {device.type!r}: choose a smaller model or half precision"
            ) from error
        cuda = device.type == "cuda"
        prefixes = PrefixStates(_CUDA_PREFIX_BYTES if cuda else _CPU_PREFIX_BYTES)
        return TorchEngine(network, device, prefixes, batch_tokens=_CUDA_BATCH_TOKENS if cuda else _CPU_BATCH_TOKENS)


ENGINE = TorchEngineFactory()


def _open(graph: Graph, device: "torch.device", dtype: "torch.dtype") -> "Network":
    from rerankd.engines._torch_decoder import open_decoder
    from rerankd.engines._torch_encoder import open_encoder
    from rerankd.engines._torch_weights import TensorFiles

    config = _config(graph.path)
    files = TensorFiles(graph.path, device=device, dtype=dtype)
    try:
        if config.get("model_type") in DECODERS:
            return open_decoder(config, files, graph.answers)
        return open_encoder(config, files)
    finally:
        files.close()


def _config(folder: Path) -> Mapping[str, JsonValue]:
    try:
        return cast("Mapping[str, JsonValue]", json.loads((folder / "config.json").read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"config.json cannot be read: {type(error).__name__}; fetch the model again") from error


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _CPU_OUT_OF_MEMORY)


@contextmanager
def _threads(number: int) -> Generator[None]:
    """Let the calling thread compute on so many threads (0: as many as it does): torch counts them per caller."""
    import torch

    usual = torch.get_num_threads() if number else 0
    if number == usual:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


@cache
def _cuda() -> bool:
    """Whether there is a CUDA device. torch takes seconds to import, so the driver is asked for first."""
    if find_spec("torch") is None:
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()
