"""Open a model folder the way the server does, and score with it, without a server around it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerankd.engines.base import Array, Engine, Graph
from rerankd.engines.onnx import ENGINE
from rerankd.families.base import Reader, Snapshot
from rerankd.families.late_interaction import FAMILY
from rerankd.training.calibration import Calibration

_CACHE_BYTES = 2**30  # a development set's passages stand in the lists of many queries


def snapshot(folder: Path) -> Snapshot:
    """Describe a folder of model files."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return Snapshot(folder, config, frozenset(file.name for file in folder.iterdir() if file.is_file()))


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model ready to score, on one thread."""

    reader: Reader
    engine: Engine
    calibration: Calibration

    def raw_scores(self, query: str, documents: Sequence[str]) -> Array:
        """Return raw scores of shape `(documents,)`: logits of a probability, once the model is calibrated."""
        work = self.reader.read(query, documents)
        return work.score(self.engine.run(work.encodings))


def open_scorer(folder: Path, graph: Graph | None = None) -> Scorer:
    """Open a bundled model's folder; `graph` runs another network in the place of its own."""
    described = snapshot(folder)
    reader = FAMILY.open(described, max_tokens=None, cache_bytes=_CACHE_BYTES)
    section: Any = described.config["late_interaction"]
    calibration = Calibration(**section["calibration"])
    return Scorer(reader, ENGINE.open(graph or Graph(folder / "model.onnx", "int8")), calibration)
