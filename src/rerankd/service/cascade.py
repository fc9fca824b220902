"""Two models, one ranking: a fast one orders all documents, a large one scores as many of the best as time allows.

One scale, one order: what the large model has scored keeps its score and stands first. The others follow in the fast
model's order, and their scores are the lowest of the large model's times the fast model's probability: never above
what the large model has seen, and never out of order. It is an order, not a judgement; every answer tells which model
scored what.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rerankd.errors import InvalidRequest
from rerankd.types import Ranked

_FAST = "fast"


@dataclass(frozen=True, slots=True)
class Cascade:
    """How cascades run. `default` is what a request without a model means: "" or the served default alone.

    `documents` bounds how many the large model scores (0: as many as time allows); `deadline_s` is the time for the
    whole answer where a request does not say.
    """

    default: str = ""
    bundled: str = "rerankd-zh-en"
    documents: int = 0
    deadline_s: float = 5.0

    def stages(self, model: str) -> tuple[str, ...]:
        """Return the names in "fast>large", the one name otherwise. "fast" is the bundled model.

        Raises:
            InvalidRequest: there are more than two, or one is empty.
        """
        names = tuple(name.strip() for name in (model or self.default).split(">"))
        if len(names) > 2 or (len(names) == 2 and not all(names)):
            raise InvalidRequest(f"model {model!r} is no cascade: write FAST>LARGE, two models' names", field="model")
        return tuple(self.bundled if name.casefold() == _FAST and len(names) == 2 else name for name in names)


def merge(fine: Mapping[int, float], coarse: Mapping[int, float], *, probabilities: bool) -> tuple[Ranked, ...]:
    """Order documents: `fine` scores first, then the others by `coarse`, which are probabilities.

    `probabilities` tells the scale of the fine scores; on the scale of logits a factor is a difference.
    """
    first = [Ranked(index, fine[index]) for index in _by_score(fine)]
    rest = [index for index in _by_score(coarse) if index not in fine]
    if not first:
        return tuple(Ranked(index, coarse[index]) for index in rest)
    floor = first[-1].score
    return (*first, *(Ranked(index, _below(floor, coarse[index], probabilities=probabilities)) for index in rest))


def _by_score(scores: Mapping[int, float]) -> Sequence[int]:
    return sorted(scores, key=lambda index: (-scores[index], index))


def _below(floor: float, probability: float, *, probabilities: bool) -> float:
    if probabilities:
        return floor * probability
    return floor + math.log(max(probability, 1e-30))
