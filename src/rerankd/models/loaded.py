"""A model that is ready: files read, network loaded, warmed up."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rerankd.engines.base import Array, Engine
from rerankd.families.base import Reader
from rerankd.registry.options import Activation
from rerankd.scheduler.batching import UNBOUNDED, Bound
from rerankd.types import ModelInfo, ScoreType


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """What it takes to score pairs. `info.fingerprint` names all that can change a raw score.

    `folder` holds its files; `memory_bytes` is what the network's weights take, as they lie on disk. `activation` is
    what the user has set in place of the model's own ("" keeps that); it gets raw / temperature + bias.
    `bound` is how much of the machine it may take.
    """

    info: ModelInfo
    reader: Reader
    engine: Engine
    folder: Path | None = None
    memory_bytes: int = 0
    activation: Activation = ""
    temperature: float = 1.0
    bias: float = 0.0
    bound: Bound = UNBOUNDED

    def activate(self, raw_scores: Array) -> Array:
        """Turn raw scores into scores, shape kept."""
        if (self.temperature, self.bias) != (1.0, 0.0):
            raw_scores = np.asarray(raw_scores / self.temperature + self.bias, np.float32)
        match self.activation:
            case "none":
                return raw_scores
            case "sigmoid" if self.reader.score_type is not ScoreType.PROBABILITY:
                return np.asarray(1 / (1 + np.exp(-raw_scores)), np.float32)
            case _:
                return self.reader.activate(raw_scores)


def score_type(own: ScoreType, activation: Activation) -> ScoreType:
    """What scores mean once the activation that was set is applied."""
    return {"none": ScoreType.LOGIT, "sigmoid": ScoreType.PROBABILITY}.get(activation, own)


def derivation(kind: ScoreType, temperature: float, bias: float) -> str:
    """Say how a score comes from what the network outputs, such as "sigmoid(raw / 1.5 - 0.2)"."""
    inner = "raw" if temperature == 1.0 else f"raw / {temperature:g}"
    if bias:
        inner += f" {'+' if bias > 0 else '-'} {abs(bias):g}"
    return f"sigmoid({inner})" if kind is ScoreType.PROBABILITY else inner
