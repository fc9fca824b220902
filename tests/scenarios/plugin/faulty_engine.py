"""An engine in a package of its own that fails when it is told to, by files in a folder named FAULTS."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rerankd.engines.base import Array, Encoding, Engine, Graph, Plan
from rerankd.engines.onnx import ENGINE as ONNX
from rerankd.types import JsonValue

LONGEST_HANG_S = 6.0
TAKEN = ".taken"


@dataclass(frozen=True, slots=True)
class FaultyEngine:
    """onnxruntime, but for the runs that take a fault: each file `NAME.KIND` is one, for whichever process is first."""

    engine: Engine
    folder: Path

    @property
    def max_batch_tokens(self) -> int:
        return self.engine.max_batch_tokens

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        outputs = self.engine.run(batch)
        kind = self._take()
        if kind == "exception":
            raise ValueError("a secret of the engine")
        if kind == "memory":
            raise MemoryError
        if kind == "rows":
            return [*outputs, outputs[0]]
        if kind == "nothing":
            return []
        if kind == "hang":
            time.sleep(LONGEST_HANG_S)  # given up long before, and what it brings then is nobody's
            return [np.full_like(output, 1e9) for output in outputs]
        return outputs

    def close(self) -> None:
        self.engine.close()

    def _take(self) -> str:
        for name in sorted(os.listdir(self.folder)):  # noqa: PTH208  # twenty times faster, and it is in every run
            if not name.endswith(TAKEN):
                try:
                    (self.folder / name).rename(self.folder / (name + TAKEN))
                except FileNotFoundError:  # another process was first
                    continue
                return name.rpartition(".")[2]
        return ""


@dataclass(frozen=True, slots=True)
class FaultyEngineFactory:
    """Opens graphs as onnxruntime does."""

    def missing(self) -> str:
        return ONNX.missing()

    def plan(self, config: Mapping[str, JsonValue]) -> Plan | None:
        return ONNX.plan(config)

    def open(self, graph: Graph) -> Engine:
        return FaultyEngine(ONNX.open(graph), Path(os.environ["FAULTS"]))


ENGINE = FaultyEngineFactory()
