"""What a training run is asked to do, and what it tells on the way."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Tell: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

Precision: TypeAlias = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers of a run. The same plan, data and machine give the same model, interrupted or not.

    `negatives` go with each relevant document of a step; `queries` lists make a step. Every `check_steps` steps the
    held-out queries are judged, and after `patience` checks without a better result training stops. `soft_weight` is
    the share of a teacher's opinion where there is one.
    """

    seed: int = 1
    epochs: int = 3
    queries: int = 16
    negatives: int = 4
    rate: float = 5e-5
    max_tokens: int = 256
    check_steps: int = 50
    patience: int = 4
    soft_weight: float = 0.5
    precision: Precision = "fp32"
    device: str = "cpu"

    def as_json(self) -> dict[str, str | int | float]:
        """Return the numbers by name."""
        return asdict(self)


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
    del what, done, total


@dataclass(frozen=True, slots=True)
class Check:
    """A judgement of the held-out queries on the way: nDCG@10 after so many steps."""

    step: int
    ndcg: float


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run went: every check, the step whose weights were kept, and whether it stopped before its time."""

    checks: tuple[Check, ...]
    best_step: int
    steps: int
    stopped_early: bool
