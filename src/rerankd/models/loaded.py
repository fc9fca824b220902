"""A model that is ready: files read, network loaded, warmed up."""

from dataclasses import dataclass
from pathlib import Path

from rerankd.engines.base import Engine
from rerankd.families.base import Reader
from rerankd.types import ModelInfo


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """What it takes to score pairs. `info.fingerprint` names all that can change a score; `folder` holds its files.

    `memory_bytes` is what the network's weights take, as they lie on disk.
    """

    info: ModelInfo
    reader: Reader
    engine: Engine
    folder: Path | None = None
    memory_bytes: int = 0
