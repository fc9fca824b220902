"""Known scores: pairs whose score by a well-known model somebody published, and where it was read.

golden.toml holds `[pairs.NAME]`, a query and a document each, and for a card of the catalog as many `[[scores.ID]]` as
there are sources:

    of          {NAME = score, ...}
    scale       "logit": what the network outputs; "probability": after the sigmoid
    precision   what the scores were computed in
    tolerance   how far off a score may be in that precision, on that scale: generous, since what is to be caught is a
                missing head, prompt or segment id, and a model that is right must never be refused
    source      the address of the file they were read in, with its commit where there is one
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, cast

from rerankd.types import JsonValue

Scale = Literal["logit", "probability"]


@dataclass(frozen=True, slots=True)
class Golden:
    """A pair whose score is known."""

    query: str
    document: str
    score: float
    tolerance: float = 0.0
    scale: Scale = "logit"
    precision: str = "fp32"
    source: str = ""


@cache
def golden() -> Mapping[str, tuple[Golden, ...]]:
    """Return the known scores of every card that has some, by its id."""
    return read((resources.files("rerankd.registry") / "golden.toml").read_text("utf-8"))


def read(text: str) -> Mapping[str, tuple[Golden, ...]]:
    """Read known scores in TOML.

    Raises:
        KeyError: a score is of a pair that is not there, or a key is missing.
    """
    table = cast("Mapping[str, Mapping[str, JsonValue]]", tomllib.loads(text))
    pairs = cast("Mapping[str, Mapping[str, str]]", table["pairs"])
    scores = cast("Mapping[str, Sequence[Mapping[str, JsonValue]]]", table["scores"])
    return {id_: tuple(one for row in rows for one in _row(row, pairs)) for id_, rows in scores.items()}


def _row(row: Mapping[str, JsonValue], pairs: Mapping[str, Mapping[str, str]]) -> Sequence[Golden]:
    return [
        Golden(
            query=pairs[name]["query"],
            document=pairs[name]["document"],
            score=score,
            tolerance=float(cast("float", row["tolerance"])),
            scale=cast("Scale", row["scale"]),
            precision=str(row["precision"]),
            source=str(row["source"]),
        )
        for name, score in cast("Mapping[str, float]", row["of"]).items()
    ]
